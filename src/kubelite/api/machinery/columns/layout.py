"""The table layout of a kind: its columns, and how their cells are computed from an object's JSON."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.selectors import label_selector
from kubelite.api.machinery.times import age

JSON = Mapping[str, Any]
Cells = list[Any]
NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"
_EMPTY: JSON = {}


class Column(Struct, frozen=True):
    """One TableColumnDefinition; priority 1 is shown by `-o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def to_wire(self) -> dict[str, Any]:
        """Return the definition as JSON."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


class Layout(Struct, frozen=True):
    """The columns of a kind, the function that fills them, and the conditions of a row."""

    columns: tuple[Column, ...]
    cells: Callable[[JSON, datetime], Cells]
    conditions: Callable[[JSON], list[dict[str, str]]] | None = None


def columns(text: str) -> tuple[Column, ...]:
    """Parse columns from a line such as ``Name | Ready:integer | IP+``; a plus marks the wide ones."""
    found = []
    for word in text.split("|"):
        name, _, kind = word.strip().partition(":")
        wide = name.endswith("+")
        name = name.removesuffix("+")
        form = "name" if name == "Name" else ""
        found.append(Column(name, kind or "string", form, int(wide)))
    return tuple(found)


def name_of(thing: JSON) -> str:
    """Return the object's name."""
    name: str = (thing.get("metadata") or _EMPTY).get("name", "")
    return name


def age_of(thing: JSON, now: datetime) -> str:
    """Return the object's age as text."""
    return age((thing.get("metadata") or _EMPTY).get("creationTimestamp"), now)


def part(thing: JSON, *path: str) -> JSON:
    """Return the dict at a path; an empty one if a step is absent."""
    for key in path:
        thing = thing.get(key) or _EMPTY
    return thing


def items(thing: JSON, name: str) -> list[Any]:
    """Return the list of a field; an empty one if it is absent."""
    return thing.get(name) or []


def format_labels(labels: JSON | None) -> str:
    """Print labels as ``a=b,c=d``."""
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels)) if labels else NONE


def format_selector(selector: JSON | None) -> str:
    """Print a LabelSelector."""
    if not selector:
        return NONE
    try:
        return str(label_selector(selector)) or NONE
    except BadRequest:
        return "<error>"


def containers(spec: JSON) -> tuple[str, str]:
    """Print the names and the images of a pod spec's containers."""
    found = items(spec, "containers")
    names = ",".join(container.get("name", "") for container in found)
    return names, ",".join(container.get("image", "") for container in found)


def shortened(values: Iterable[str], limit: int = 3, empty: str = UNSET) -> str:
    """Join at most `limit` values and append the count of the rest."""
    found = list(values)
    if not found:
        return empty
    text = ",".join(found[:limit])
    return f"{text} + {len(found) - limit} more..." if len(found) > limit else text


def condition_is_true(status: JSON, kind: str) -> bool:
    """Return whether the condition of a type has the status True."""
    return any(
        each.get("type") == kind and each.get("status") == "True"
        for each in items(status, "conditions")
    )
