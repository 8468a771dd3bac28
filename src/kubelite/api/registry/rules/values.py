"""Checks of single values for the rules of many kinds; each appends its causes to a list."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kubelite.api.machinery import causes, names

JSON = Mapping[str, Any]
Out = causes.Causes
NameCheck = Callable[[str], tuple[str, ...]]

EMPTY: JSON = {}
NONNEGATIVE = "must be greater than or equal to 0"
INT32_MAX = 2147483647


def part(thing: JSON, *path: str) -> JSON:
    """Return the dict at a path, an empty one if any part is absent."""
    for key in path:
        thing = thing.get(key) or EMPTY
    return thing


def items(thing: JSON, name: str) -> list[Any]:
    """Return the list of a field, an empty one if it is absent."""
    return thing.get(name) or []


def format_check(out: Out, path: str, value: str, check: NameCheck) -> None:
    """Append the causes of a format check."""
    for finding in check(value):
        out.append(causes.invalid(path, value, finding))


def required_format(out: Out, path: str, value: str | None, check: NameCheck) -> None:
    """Require a value and check its format."""
    if not value:
        out.append(causes.required(path))
    else:
        format_check(out, path, value, check)


def required(out: Out, thing: JSON, path: str, *fields: str) -> None:
    """Require non-empty fields."""
    for field in fields:
        if not thing.get(field):
            out.append(causes.required(f"{path}.{field}"))


def one_of(
    out: Out, path: str, value: str | None, supported: Iterable[str], *, must: bool = True
) -> None:
    """Require one of the supported values; an absent value is a cause only with `must`."""
    if not value:
        if must:
            out.append(causes.required(path))
    elif value not in supported:
        out.append(causes.unsupported(path, value, supported))


def nonnegative(out: Out, thing: JSON, path: str, *fields: str) -> None:
    """Reject negative numbers."""
    for field in fields:
        value = thing.get(field)
        if value is not None and value < 0:
            out.append(causes.invalid(f"{path}.{field}", value, NONNEGATIVE))


def in_range(out: Out, path: str, value: int | None, low: int, high: int) -> None:
    """Require a number within bounds."""
    if value is not None and not low <= value <= high:
        out.append(causes.invalid(path, value, names.out_of_range(low, high)))


def port_or_name(out: Out, path: str, port: int | str | None) -> None:
    """Check a port number or name."""
    if isinstance(port, str):
        format_check(out, path, port, names.port_name)
    else:
        for finding in names.port_number(port or 0):
            out.append(causes.invalid(path, port or 0, finding))


def immutable(out: Out, path: str, new: Any, old: Any) -> None:
    """Reject a change of an immutable value; absent, null and empty are equal."""
    if new != old and (new or old):
        out.append(causes.invalid(path, new, causes.IMMUTABLE))


def no_backsteps(out: Out, path: str, value: str) -> None:
    """Reject a file path with a ``..`` segment."""
    if ".." in value and ".." in value.split("/"):
        out.append(causes.invalid(path, value, "must not contain '..'"))


def descending_path(out: Out, path: str, value: str) -> None:
    """Require a relative file path without ``..``, which stays below its root."""
    if value.startswith("/"):
        out.append(causes.invalid(path, value, "must be a relative path"))
    no_backsteps(out, path, value)


def unreserved_path(out: Out, path: str, value: str) -> None:
    """Require a relative path without ``..`` whose first name does not begin with two dots."""
    descending_path(out, path, value)
    if value.startswith("..") and not value.startswith("../"):
        out.append(causes.invalid(path, value, "must not start with '..'"))


def duplicates(out: Out, path: str, values: Iterable[Any]) -> None:
    """Reject a value seen before."""
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            out.append(causes.duplicate(f"{path}[{index}]", value))
        seen.add(value)


def decoded_size(text: str) -> int:
    """Return the decoded length of a base64 text, in bytes."""
    return len(text) * 3 // 4 - text[-2:].count("=")
