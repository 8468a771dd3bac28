"""Constructors of `Cause`, what is wrong with a field, in Kubernetes' wording, and of the 422 that collects them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from kubelite.api.errors import Cause, Invalid
from kubelite.limits import CAUSES, CAUSES_TEXT, SHOWN_VALUE

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
    """Print a value for an error message: texts quoted, numbers and booleans plain, the rest as JSON.

    Text and work are bounded by `limits.SHOWN_VALUE`: the rest of a longer value is not visited.
    """
    if isinstance(value, str):
        return quoted(cut(value))
    if isinstance(value, dict | list):
        return cut("".join(_pieces(value)))
    return cut(_written(value))


def cut(text: str) -> str:
    """Return the beginning of a text, with an ellipsis if the text is longer than the bound."""
    if len(text) <= SHOWN_VALUE.value:
        return text
    SHOWN_VALUE.reached()
    return text[: SHOWN_VALUE.value] + "..."


def _pieces(value: Any) -> Iterator[str]:
    """Yield the JSON of a value in pieces, until it is longer than the bound of an error message."""
    written = 0
    pending: list[Any] = [iter((("", value),))]  # the rest of each open container
    closing = [""]
    while pending and written <= SHOWN_VALUE.value:
        prefix, item = next(pending[-1], (None, None))
        if prefix is None:
            pending.pop()
            piece = closing.pop()
        elif isinstance(item, dict):
            piece = prefix + "{"
            pending.append(_members(item))
            closing.append("}")
        elif isinstance(item, list):
            piece = prefix + "["
            pending.append(("," if index else "", each) for index, each in enumerate(item))
            closing.append("]")
        else:
            piece = prefix + _in_json(item)
        written += len(piece)
        yield piece


def _members(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    separator = ""
    for name, item in value.items():
        yield f"{separator}{_in_json(name)}:", item
        separator = ","


_UNSAFE = re.compile("[<>&\u2028\u2029]").sub


def _in_json(scalar: Any) -> str:
    """Write a scalar as Go does within JSON, which may end up in a page."""
    text = _written(scalar)
    if isinstance(scalar, str):
        return _UNSAFE(lambda sign: f"\\u{ord(sign[0]):04x}", text)
    return text


def _written(scalar: Any) -> str:
    if isinstance(scalar, str) and len(scalar) > SHOWN_VALUE.value:
        scalar = scalar[: SHOWN_VALUE.value + 1]
    try:
        return _encode(scalar).decode()
    except ValueError:  # an integer of thousands of digits
        return "..."


def _detailed(text: str, detail: str) -> str:
    return f"{text}: {detail}" if detail else text


def required(path: str, detail: str = "") -> Cause:
    """The field must have a value."""
    return Cause(path, "FieldValueRequired", _detailed("Required value", detail))


def invalid(path: str, value: Any, detail: str = "") -> Cause:
    """The value breaks a rule."""
    return Cause(path, "FieldValueInvalid", _detailed(f"Invalid value: {shown(value)}", detail))


def mistyped(path: str, value: Any, detail: str) -> Cause:
    """The value does not have the type of the field."""
    return Cause(path, "FieldValueTypeInvalid", f"Invalid value: {shown(value)}: {detail}")


def unsupported(path: str, value: Any, supported: Iterable[str] = ()) -> Cause:
    """The value is not supported; the supported ones are listed in the order given."""
    names = ", ".join(quoted(name) for name in supported)
    return Cause(
        path,
        "FieldValueNotSupported",
        _detailed(
            f"Unsupported value: {shown(value)}", f"supported values: {names}" if names else ""
        ),
    )


def duplicate(path: str, value: Any) -> Cause:
    """The value is a duplicate where it must be unique."""
    return Cause(path, "FieldValueDuplicate", f"Duplicate value: {shown(value)}")


def forbidden(path: str, detail: str = "") -> Cause:
    """The field may not be set here."""
    return Cause(path, "FieldValueForbidden", _detailed("Forbidden", detail))


def not_found(path: str, value: Any) -> Cause:
    """The value names something that does not exist."""
    return Cause(path, "FieldValueNotFound", f"Not found: {shown(value)}")


def too_long(path: str, limit: int) -> Cause:
    """The text has more than `limit` bytes."""
    unit = "byte" if limit == 1 else "bytes"
    return Cause(path, "FieldValueTooLong", f"Too long: may not be more than {limit} {unit}")


def too_many(path: str, count: int, limit: int) -> Cause:
    """The list has more than `limit` items."""
    unit = "item" if limit == 1 else "items"
    return Cause(path, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} {unit}")


def findings(path: str, value: Any, found: Iterable[str]) -> list[Cause]:
    """Convert the findings of a format check to causes of one field."""
    return [invalid(path, value, finding) for finding in found]


def unchecked() -> Cause:
    """Return the cause that ends an incomplete list, worded as Kubernetes does for custom resources."""
    return Cause(
        "<nil>",
        "FieldValueInvalid",
        "Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation",
    )


class Causes(list[Cause]):
    """A list of causes, at most as many as one response takes.

    Raises:
        TooManyCauses: When one more is added. It ends the validation, so that an object of 100,000 mistakes costs no
        more than one of `limits.CAUSES`.
    """

    def __init__(self, causes: Iterable[Cause] = ()) -> None:
        super().__init__()
        self._characters = 0
        self.extend(causes)

    def append(self, cause: Cause) -> None:
        """Add a cause."""
        self._characters += len(cause.path) + len(cause.message)
        if self._characters > CAUSES_TEXT.value and self:
            CAUSES_TEXT.reached()
            raise TooManyCauses(self)
        if len(self) >= CAUSES.value:
            CAUSES.reached()
            raise TooManyCauses(self)
        super().append(cause)

    def extend(self, causes: Iterable[Cause]) -> None:
        """Add causes."""
        for cause in causes:
            self.append(cause)

    def __iadd__(self, causes: Iterable[Cause]) -> "Causes":  # type: ignore[override] # takes what extend takes
        self.extend(causes)
        return self

    def __add__(self, causes: Iterable[Cause]) -> "Causes":  # type: ignore[override] # takes what extend takes
        return Causes((*self, *causes))


class TooManyCauses(Exception):
    """The list has as many causes as one response takes; `found` are those."""

    def __init__(self, found: Sequence[Cause]) -> None:
        super().__init__("some validation rules were not checked")
        self.found = found


def bounded(causes: Iterable[Cause]) -> list[Cause]:
    """Return as many causes as one response takes; if there are more, one further cause says so."""
    try:
        return list(Causes(causes))
    except TooManyCauses as error:
        return [*error.found, unchecked()]


def invalid_object(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Invalid:
    """Return the 422 error with all causes, within the bounds of a response."""
    causes = bounded(causes)
    named = f"{kind}.{group}" if group else kind
    name = cut(name)
    message = f"{named} {quoted(name)} is invalid"
    lines = list(dict.fromkeys(f"{cause.path}: {cause.message}" for cause in causes))
    if len(lines) == 1:
        message += ": " + lines[0]
    elif lines:
        message += ": [" + ", ".join(lines) + "]"
    return Invalid(message, group=group, kind=kind, name=name, causes=causes)
