"""What a node of an OpenAPI schema says about types and formats."""

from __future__ import annotations

from typing import Any

from kubelite.api.machinery.shaping.compile_openapi import INT_OR_STRING
from kubelite.api.machinery.shaping.formats import is_known

JSON = dict[str, Any]

_GO_FORMATS = {int: "int64", float: "float64"}  # what Kubernetes calls a value's own format
_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}
_JSON_INTEGER_MAX = 2**53 - 1  # beyond it Kubernetes takes no float for an integer
_CLOSE = 1e-9  # relative distance to an integer at which Kubernetes takes a float for one


def types_of(node: JSON) -> tuple[str, ...]:
    """Return the types that a node's values may have; () allows all."""
    if node.get(INT_OR_STRING) is True:
        return ("integer", "string")
    type_ = node.get("type")
    return (type_,) if type_ else ()


def format_of(node: JSON) -> str:
    """Return the format of a node; "" if it has none that is known for its type."""
    format_: str = node.get("format") or ""
    if not format_:
        return ""
    types = types_of(node)
    match types[0] if len(types) == 1 else "":
        case "integer":
            return format_ if format_ in ("int32", "int64") else ""
        case "number":
            return format_ if format_ in ("float", "double") else ""
        case "string" | "":
            return format_ if is_known(format_) else ""
        case _:
            return ""


def is_integral(number: float) -> bool:
    """Return whether Kubernetes takes a float for an integer: exactly, or very nearly if it is positive."""
    if not -_JSON_INTEGER_MAX <= number <= _JSON_INTEGER_MAX:
        return False
    whole = float(int(number))
    if whole == number:
        return True
    return number > 0 and abs(number - whole) / (number + whole) < _CLOSE


def mistyped(types: tuple[str, ...], format_: str, value: Any) -> tuple[str, str] | None:
    """Return the type that a value should have and the one it has, as messages name them; None if it is right.

    A format makes the rule odd, as it is in Kubernetes: a list passes for a text that has a format.
    """
    kind = value.__class__
    found = _TYPES[kind]
    fits = (
        found in types
        or (kind is float and "integer" in types and is_integral(value))
        or (kind is int and "number" in types)
    )
    if format_:
        is_text = kind is str or kind is list
        if not is_text and not fits and _GO_FORMATS.get(kind, "") != format_:
            return format_, _GO_FORMATS.get(kind, "")
        if is_text and "number" not in types and "integer" not in types:
            return None
    return None if fits or not (types or format_) else (",".join(types), found)
