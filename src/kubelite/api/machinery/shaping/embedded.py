"""What an embedded resource must have: the type and metadata of an API object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kubelite.api.errors import Cause
from kubelite.api.machinery.causes import invalid, required
from kubelite.api.machinery.names import dns_1035_label

JSON = dict[str, Any]

# Returns the causes of an object's metadata, with paths from the object on. The rules belong to the registry.
MetadataRules = Callable[[JSON], Sequence[Cause]]


def no_rules(_value: JSON) -> Sequence[Cause]:
    """Metadata may be anything of the right type."""
    return ()


def embedded_causes(value: JSON, path: str, rules: MetadataRules) -> Iterator[Cause]:
    """Yield why an object is no embedded resource."""
    yield from _type_causes(value, path, "apiVersion", _version_problem)
    yield from _type_causes(value, path, "kind", _kind_problem)
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        named = metadata if metadata.get("name") else {**metadata, "name": "fakename"}
        for cause in rules({**value, "metadata": named}):
            yield Cause(f"{path}.{cause.path}", cause.reason, cause.message)


def _type_causes(
    value: JSON, path: str, name: str, problem: Callable[[str], str]
) -> Iterator[Cause]:
    at = f"{path}.{name}"
    if name not in value:
        yield required(at)
    elif not isinstance(value[name], str):
        yield invalid(at, value[name], "must be a string")
    elif not value[name]:
        yield invalid(at, "", "must not be empty")
    elif found := problem(value[name]):
        yield invalid(at, value[name], found)


def _version_problem(text: str) -> str:
    return f"unexpected GroupVersion string: {text}" if text.count("/") > 1 else ""


def _kind_problem(text: str) -> str:
    found = dns_1035_label(text.lower())
    if not found:
        return ""
    return "may have mixed case, but should otherwise match: " + ",".join(found)
