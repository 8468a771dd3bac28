"""What is wrong with a field, in Kubernetes' words: constructors of `Cause` and of the 422 that collects them."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kubelite.api.errors import Cause, Invalid

IMMUTABLE = "field is immutable"

_encode = msgspec.json.Encoder().encode
_ESCAPED = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\t": "\\t",
    "\r": "\\r",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\v": "\\v",
    "\ufeff": "\\ufeff",
}


def quoted(text: str) -> str:
    """Quote a text as Go's %q does."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_escaped(letter) for letter in text) + '"'


def _escaped(letter: str) -> str:
    if known := _ESCAPED.get(letter):
        return known
    if letter.isprintable():
        return letter
    point = ord(letter)
    if point < 0x80:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def shown(value: Any) -> str:
    """Print a value as error messages do: texts quoted, numbers and booleans plain, the rest as JSON."""
    if isinstance(value, str):
        return quoted(value)
    return _encode(value).decode()


def _detailed(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def required(path: str, detail: str = "") -> Cause:
    """The field must have a value."""
    return Cause(path, "FieldValueRequired", _detailed("Required value", detail))


def invalid(path: str, value: Any, detail: str = "") -> Cause:
    """The value breaks a rule."""
    return Cause(path, "FieldValueInvalid", _detailed(f"Invalid value: {shown(value)}", detail))


def type_invalid(path: str, value: Any, detail: str = "") -> Cause:
    """The value is of another type than the schema says."""
    return Cause(path, "FieldValueTypeInvalid", _detailed(f"Invalid value: {shown(value)}", detail))


def unsupported(path: str, value: Any, supported: Iterable[str] = ()) -> Cause:
    """The value is none of those supported; they are listed in the order given."""
    names = ", ".join(quoted(name) for name in supported)
    return Cause(
        path,
        "FieldValueNotSupported",
        _detailed(
            f"Unsupported value: {shown(value)}", f"supported values: {names}" if names else ""
        ),
    )


def duplicate(path: str, value: Any) -> Cause:
    """The value is there twice where it must be unique."""
    return Cause(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def forbidden(path: str, detail: str = "") -> Cause:
    """The field may not be set here."""
    return Cause(path, "FieldValueForbidden", _detailed("Forbidden", detail))


def not_found(path: str, value: Any) -> Cause:
    """The value names something that is not there."""
    return Cause(path, "FieldValueNotFound", f"Not found: {shown(value)}")


def too_long(path: str, limit: int) -> Cause:
    """The text has more than `limit` bytes."""
    unit = "byte" if limit == 1 else "bytes"
    return Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} {unit}")


def too_long_characters(path: str, limit: int) -> Cause:
    """The text has more than `limit` characters."""
    unit = "character" if limit == 1 else "characters"
    return Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} {unit}")


def too_many(path: str, count: int, limit: int) -> Cause:
    """The list has more than `limit` items."""
    unit = "item" if limit == 1 else "items"
    return Cause(path, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} {unit}")


def findings(path: str, value: Any, found: Iterable[str]) -> list[Cause]:
    """Turn what a format check found into causes of one field."""
    return [invalid(path, value, finding) for finding in found]


def invalid_object(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Invalid:
    """Build the 422 answer that tells all causes at once."""
    named = f"{kind}.{group}" if group else kind
    message = f"{named} {quoted(name)} is invalid"
    lines = list(dict.fromkeys(f"{cause.path}: {cause.message}" for cause in causes))
    if len(lines) == 1:
        message += ": " + lines[0]
    elif lines:
        message += ": [" + ", ".join(lines) + "]"
    return Invalid(message, group=group, kind=kind, name=name, causes=causes)
