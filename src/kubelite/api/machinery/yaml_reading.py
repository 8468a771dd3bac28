"""Decodes YAML bodies as Go's YAML library does, within limits, and finds keys that stand twice in one mapping.

PyYAML's C parser makes the events; scalars are resolved here, because YAML 1.1 as PyYAML reads it has dates and
base-60 numbers that Kubernetes does not have. An alias is a copy, so that objects may be changed in place.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from kubelite.api.machinery.json_reading import DEPTH_LIMIT, DUPLICATES_LIMIT, Reading, unrecognized

ALIASED_NODES_LIMIT = 50_000  # made by following aliases

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    **{
        name: True
        for word in ("y", "yes", "true", "on")
        for name in (word, word.title(), word.upper())
    },
    **{
        name: False
        for word in ("n", "no", "false", "off")
        for name in (word, word.title(), word.upper())
    },
}
_INTEGER = re.compile(
    r"([-+]?)(?:(0x[0-9a-fA-F_]+)|(0b[01_]+)|0o?([0-7_]+)|([0-9][0-9_]*))"
).fullmatch
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?").fullmatch
_WHOLE_LIMIT = 1e21  # from here on Go's JSON writes an exponent
_TEXT = "tag:yaml.org,2002:str"


class Unreadable(Exception):
    """The document cannot be turned into JSON."""


def read_yaml(body: bytes, *, kind: str = "", find_duplicates: bool = False) -> Reading:
    """Decode the first document of a body; `kind` is named in the error as what was expected.

    Takes 0.25 ms per KB: call it in a thread for large bodies.

    Raises:
        BadRequest: It is no YAML, nested too deep, or its aliases multiply too much.
    """
    try:
        reader = _Reader(body)
        value = reader.document()
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise unrecognized(body, kind, f"yaml: {line}{error.problem}") from error
    except (yaml.YAMLError, Unreadable, UnicodeDecodeError) as error:
        raise unrecognized(body, kind, f"yaml: {error}") from error
    return Reading(value, tuple(reader.duplicates) if find_duplicates else ())


class _Reader:
    """Builds values from the parser's events.

    The parser's own tree builder is not used: it recurses in C without a limit and so can be made to crash.
    """

    def __init__(self, body: bytes) -> None:
        self.duplicates: list[str] = []
        self._events = yaml.CSafeLoader(body)
        self._anchors: dict[str, Any] = {}
        self._aliased = 0

    def document(self) -> Any:
        """Return the value of the first document; None where there is none."""
        events = self._events
        try:
            events.get_event()  # of the stream
            if events.check_event(yaml.StreamEndEvent):
                return None
            events.get_event()  # of the document
            return self._value(events.get_event(), 0)
        finally:
            events.dispose()

    def _value(self, event: Any, depth: int) -> Any:
        if depth > DEPTH_LIMIT:
            raise Unreadable("exceeded max depth")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            made: Any = scalar(event)
        else:
            if event.anchor:
                self._anchors[event.anchor] = _OPEN
            made = (
                self._sequence(depth)
                if isinstance(event, yaml.SequenceStartEvent)
                else self._mapping(depth)
            )
        if event.anchor:
            self._anchors[event.anchor] = made
        return made

    def _alias(self, event: Any) -> Any:
        name = event.anchor
        if name not in self._anchors:
            raise Unreadable(f"unknown anchor '{name}' referenced")
        if self._anchors[name] is _OPEN:
            raise Unreadable(f"anchor '{name}' value contains itself")
        return self._copy(self._anchors[name])

    def _copy(self, value: Any) -> Any:
        self._aliased += 1
        if self._aliased > ALIASED_NODES_LIMIT:
            raise Unreadable("document contains excessive aliasing")
        if isinstance(value, dict):
            return {name: self._copy(item) for name, item in value.items()}
        return [self._copy(item) for item in value] if isinstance(value, list) else value

    def _sequence(self, depth: int) -> list[Any]:
        made = []
        while not isinstance(event := self._events.get_event(), yaml.SequenceEndEvent):
            made.append(self._value(event, depth + 1))
        return made

    def _event(self) -> Any:
        return self._events.get_event()

    def _mapping(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(key := self._event(), yaml.MappingEndEvent):
            is_merge = isinstance(key, yaml.ScalarEvent) and key.value == "<<" and not key.style
            name = _key(self._value(key, depth + 1))
            value = self._value(self._events.get_event(), depth + 1)
            if is_merge:
                _merge(value, merged)
                continue
            if name in made and len(self.duplicates) < DUPLICATES_LIMIT:
                line = key.start_mark.line + 1
                self.duplicates.append(f'line {line}: key "{name}" already set in map')
            made[name] = value
        return {**merged, **made} if merged else made


_OPEN = object()  # stands for a value that is being read


def _merge(value: Any, merged: dict[str, Any]) -> None:
    for source in reversed(value if isinstance(value, list) else [value]):
        if not isinstance(source, dict):
            raise Unreadable("map merge requires map or sequence of maps as the value")
        merged.update(source)


def _key(value: Any) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int() | float():
            return str(value)
        case _:
            raise Unreadable("invalid map key: it is no scalar")


def scalar(event: Any) -> Any:
    """Resolve a scalar: null, a boolean, a number or a text."""
    text: str = event.value
    if event.tag == _TEXT or (event.style and not event.tag):
        return text
    return plain(text)


def plain(text: str) -> Any:
    """Resolve an unquoted scalar without a tag."""
    if text in _NULLS:
        return None
    if (boolean := _BOOLEANS.get(text)) is not None:
        return boolean
    if text[0] not in "-+.0123456789":
        return text
    if matched := _INTEGER(text):
        return _integer(text, matched)
    if _FLOAT(text):
        return _float(text)
    return text


def _float(text: str) -> float | str:
    """Return a number as Go writes it to JSON: whole ones lose their point, so that 1e3 is an integer."""
    number = float(text)
    if math.isinf(number):
        return text
    return int(number) if number.is_integer() and abs(number) < _WHOLE_LIMIT else number


def _integer(text: str, matched: re.Match[str]) -> int | float | str:
    sign, hexadecimal, binary, octal, decimal = matched.groups()
    digits, base = next(
        (digits, base)
        for digits, base in ((hexadecimal, 16), (binary, 2), (octal, 8), (decimal, 10))
        if digits is not None
    )
    try:
        number = int(digits.replace("_", ""), base)
    except ValueError:
        return text
    if base != 10 and number.bit_length() > 64:
        return text  # as Go; and Python cannot write a number of very many digits
    return -number if sign == "-" else number
