"""Type checks of applied configurations: unknown fields, wrong types, list elements without their keys.

Kubernetes rejects such a configuration before it reads the object, whatever `fieldValidation` says. Each finding
begins with its path in the form of server-side apply: ``.spec.containers[name="c"].image``. Null fits every type.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.field_sets import KeyMissing, bracketed, element_key, is_keyed
from kubelite.api.machinery.schema import Schema
from kubelite.limits import CAUSES

NAMES_SHOWN = 20  # fields of a misplaced object that a finding names; values are left out, since they may be secret
_TWICE = "duplicate entries for key"
_SCALARS = (str, int, float)  # bool is an int
_GO_NAMES = {
    str: "string",
    bool: "bool",
    int: "int64",
    float: "float64",
    dict: "map[string]interface {}",
    list: "[]interface {}",
}


def find_mistyped(schema: Schema, config: Any) -> list[str]:
    """Return the findings about a configuration, at most `limits.CAUSES`."""
    found = list(islice(_of_value(schema, config, "", free=False), CAUSES.value + 1))
    if len(found) > CAUSES.value:
        CAUSES.reached()
        found[-1] = "and more"
    return found


def is_mistyped(schema: Schema, item: Any) -> bool:
    """Return whether an object has values that its schema does not describe; list elements may have equal keys."""
    findings = _of_value(schema, item, "", free=False)
    return any(_TWICE not in each for each in findings)


def _of_value(schema: Schema, value: Any, path: str, *, free: bool) -> Iterator[str]:
    """Yield findings; `free`: an enclosing object keeps unknown fields, so all below it do."""
    if value is None or schema.loose:
        return
    free = free or schema.preserve
    match schema.type:
        case "object" | "map":
            if isinstance(value, dict):
                yield from _of_object(schema, value, path, free=free)
            else:
                yield _finding(path, f"expected map, got {_shown(value)}")
        case "array":
            if isinstance(value, list):
                yield from _of_list(schema, value, path, free=free)
            else:
                yield _finding(path, f"expected list, got {_shown(value)}")
        case "any" | "int-or-string" | "quantity":
            return  # may have more than one type; decoding checks it
        case _:
            if problem := _of_scalar(schema, value):
                yield _finding(path, problem)


def _of_object(schema: Schema, value: dict[str, Any], path: str, *, free: bool) -> Iterator[str]:
    fields, rest = schema.fields, schema.items
    closed = bool(fields) and rest is None and not free
    for name, child in value.items():
        node = fields.get(name) or rest
        at = f"{path}.{name}"
        if node is not None:
            yield from _of_value(node, child, at, free=free)
        elif closed and not (schema.embedded and name in ("apiVersion", "kind", "metadata")):
            yield _finding(at, "field not declared in schema")


def _of_list(schema: Schema, value: list[Any], path: str, *, free: bool) -> Iterator[str]:
    assert schema.items is not None
    keyed, seen = is_keyed(schema), set()
    for index, item in enumerate(value):
        step = f"[{index}]"
        if keyed:
            try:
                key = element_key(schema, item)
            except KeyMissing as error:
                yield _finding(path, f"element {index}: {error}")
                return
            step = bracketed(key)
            if key in seen:
                yield _finding(path, f"{_TWICE} {step}")
            seen.add(key)
        yield from _of_value(schema.items, item, path + step, free=free)


def _of_scalar(schema: Schema, value: Any) -> str:
    match schema.type:
        case "integer" | "number":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return f"expected numeric (int or float), got {_GO_NAMES[type(value)]}"
        case "boolean":
            if not isinstance(value, bool):
                return f"expected boolean, got {_shown(value)}"
        case "string" if schema.format in ("", "byte"):
            if not isinstance(value, str):
                return f"expected string, got &value.valueUnstructured{{Value:{_content(value)}}}"
        case _:
            if not isinstance(value, _SCALARS):
                return f"expected any scalar, got {_shown(value)}"
    return ""


def _finding(path: str, problem: str) -> str:
    return f"{cut(path)}: {problem}" if path else problem


def _shown(value: Any) -> str:
    return f"&{{{_content(value)}}}"


def _content(value: Any) -> str:
    """Print a misplaced value as Go does, but only the names of fields, since values may be secret."""
    if isinstance(value, dict):
        names = " ".join(f"{cut(name)}:..." for name in islice(value, NAMES_SHOWN))
        return f"map[{names}{' ...' if len(value) > NAMES_SHOWN else ''}]"
    if isinstance(value, list):
        return "[...]" if value else "[]"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return cut(str(value))
    except ValueError:  # an integer of thousands of digits
        return "..."
