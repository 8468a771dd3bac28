"""Decodes YAML bodies as Go's YAML library does, within limits, and finds duplicate keys in mappings.

PyYAML's C parser yields the events. Scalars are resolved here, because PyYAML's YAML 1.1 has dates and base-60 numbers
that Kubernetes does not have. An alias is decoded as a copy, so that objects may be changed in place.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from kubelite.api.errors import RequestEntityTooLarge
from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.document_size import Meter, text_size, too_large
from kubelite.api.machinery.json_reading import (
    DEPTH_LIMIT,
    DUPLICATES_LIMIT,
    Reading,
    Refuse,
    expecting,
)
from kubelite.limits import REQUEST_BODY

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
_INTEGERS = range(-(2**63), 2**64)  # of Go; a larger decimal is a float, any other a text
DIGITS_MAX = 400  # longer texts are no integers: Go has none so long, and Python raises
_WHOLE_LIMIT = 1e21  # from here on Go's JSON has an exponent
_TEXT = "tag:yaml.org,2002:str"


_anything = expecting("")


class Unreadable(Exception):
    """The document cannot be converted to JSON."""


def read_yaml(body: bytes, *, refuse: Refuse = _anything, find_duplicates: bool = False) -> Reading:
    """Decode the first document of a body; `refuse` words the error.

    Takes 0.25 ms per KB: call it in a thread for large bodies.

    Raises:
        BadRequest: It is no YAML, nested too deep, or its aliases multiply too much: as JSON it would be no
            request that is taken, or take too much memory.
        RequestEntityTooLarge: Its values would take too much memory, without any alias.
    """
    try:
        reader = _Reader(body)
        value = reader.document()
    except yaml.MarkedYAMLError as error:
        raise refuse(body, f"yaml: {_line(error)}{error.problem}") from error
    except (yaml.YAMLError, Unreadable, UnicodeDecodeError) as error:
        raise refuse(body, f"yaml: {error}") from error
    return Reading(value, tuple(reader.duplicates) if find_duplicates else ())


def _line(error: yaml.MarkedYAMLError) -> str:
    """Name the line of an error as Go's reader does: the first one never, and counted from 0 by the parser."""
    marks = (error.problem_mark, error.context_mark)
    line = next((mark.line for mark in marks if mark is not None and mark.line), 0)
    is_scanner = isinstance(error, yaml.scanner.ScannerError)
    return f"line {line + is_scanner}: " if line else ""


class _Reader:
    """Builds values from the parser's events.

    The parser's own tree builder recurses in C without a limit, so that a body could crash the process; it is not
    used.
    """

    def __init__(self, body: bytes) -> None:
        self.duplicates: list[str] = []
        self._aliases = 0
        self._events = yaml.CSafeLoader(body)
        self._anchors: dict[str, Any] = {}
        self._meter = Meter()
        self._left = REQUEST_BODY.value  # bytes of JSON that the document may still become

    def document(self) -> Any:
        """Return the value of the first document; None if there is none."""
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
            return self._alias(event, depth)
        if isinstance(event, yaml.ScalarEvent):
            made: Any = scalar(event)
            self._charge(made)
        else:
            self._charge(None)
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

    def _alias(self, event: Any, depth: int) -> Any:
        name = event.anchor
        if name not in self._anchors:
            raise Unreadable(f"unknown anchor '{cut(name)}' referenced")
        if self._anchors[name] is _OPEN:
            raise Unreadable(f"anchor '{cut(name)}' value contains itself")
        self._aliases += 1
        return self._copy(self._anchors[name], depth)

    def _copy(self, value: Any, depth: int) -> Any:
        if depth > DEPTH_LIMIT:
            raise Unreadable("exceeded max depth")
        self._charge(value)
        if isinstance(value, dict):
            made = {}
            for name, item in value.items():
                self._charge(name)
                made[name] = self._copy(item, depth + 1)
            return made
        if isinstance(value, list):
            return [self._copy(item, depth + 1) for item in value]
        return value

    def _charge(self, value: Any) -> None:
        """Charge a value without its content: its memory, and its bytes in JSON with a comma or colon."""
        size = text_size(value) if value.__class__ is str else 0
        self._left -= size + 3
        try:
            self._meter.charge(size)
            if self._left < 0:
                raise too_large()
        except RequestEntityTooLarge as error:
            if not self._aliases:
                raise
            raise Unreadable("document contains excessive aliasing") from error

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
                self.duplicates.append(f'line {line}: key "{cut(name)}" already set in map')
            made[name] = value
        return {**merged, **made} if merged else made


_OPEN = object()  # marks a value that is being decoded


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
        number = int(digits.replace("_", "")[:DIGITS_MAX], base)
    except ValueError:  # underscores alone
        return text
    number = -number if sign == "-" else number
    if len(digits) <= DIGITS_MAX and number in _INTEGERS:
        return number
    return _float(text) if base == 10 and _FLOAT(text) else text
