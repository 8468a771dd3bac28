"""Decodes JSON bodies within limits, and finds duplicate keys in objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from kubelite.api.errors import BadRequest
from kubelite.api.machinery.document_size import check_json
from kubelite.api.machinery.json_errors import syntax_error
from kubelite.api.machinery.paths import FieldPath, Notes
from kubelite.limits import DOCUMENT_DEPTH, DUPLICATE_FIELDS

DEPTH_LIMIT = DOCUMENT_DEPTH.value
DUPLICATES_LIMIT = DUPLICATE_FIELDS.value
_SUMMARY_BYTES = 30


class Reading(NamedTuple):
    """The value of a body, and one sentence for each duplicate key (its last value counts).

    `cost_bytes` is what a pass over the value costs, in bytes of JSON.
    """

    value: Any
    duplicates: tuple[str, ...] = ()
    cost_bytes: int = 0


EMPTY = Reading(None)


Refuse = Callable[[bytes, str], BadRequest]  # makes the error of a body from the reason


def expecting(kind: str) -> Refuse:
    """Return what makes the error of a body that should be an object, of which not even the kind can be decoded."""
    wanted = f" (must be of type {kind})" if kind else ""

    def refusal(body: bytes, reason: str) -> BadRequest:
        return BadRequest(
            f"the object provided is unrecognized{wanted}: couldn't get version/kind; {reason} "
            f"({_summary(body)})"
        )

    return refusal


_anything = expecting("")


def read_json(body: bytes, *, refuse: Refuse = _anything, find_duplicates: bool = False) -> Reading:
    """Decode a body; `refuse` words the error.

    Raises:
        BadRequest: The body is not JSON, or nested too deep.
        RequestEntityTooLarge: Its values would take too much memory.
    """
    check_json(body)
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refuse(body, f"json parse error: {syntax_error(body)}") from error
    except RecursionError as error:
        raise refuse(body, "json parse error: exceeded max depth") from error
    if body.count(b"{") + body.count(b"[") > DEPTH_LIMIT and is_too_deep(value):
        raise refuse(body, "json parse error: exceeded max depth")
    return Reading(value, duplicate_fields(body, value) if find_duplicates else ())


def is_too_deep(value: Any) -> bool:
    """Return whether objects and arrays are nested deeper than `DEPTH_LIMIT`."""
    level = [value]
    for _ in range(DEPTH_LIMIT + 1):
        inner: list[Any] = []
        for item in level:
            if item.__class__ is dict:
                inner.extend(item.values())
            elif item.__class__ is list:
                inner.extend(item)
        if not inner:
            return False
        level = inner
    DOCUMENT_DEPTH.reached()
    return True


def duplicate_fields(body: bytes, value: Any) -> tuple[str, ...]:
    """Return one sentence for each duplicate key in an object of `body`, which decoded to `value`.

    Nearly all bodies are settled by encoding the value again and comparing the number of keys, at half the cost of
    decoding with a hook.
    """
    keys_written = body.count(b'":')
    is_sure = not any(spelling in body for spelling in _MISCOUNTED)
    if is_sure and keys_written == msgspec.json.encode(value).count(b'":'):
        return ()
    found = Notes(DUPLICATE_FIELDS)
    _find_duplicates(json.loads(body, object_pairs_hook=_Pairs, parse_int=str), None, found)
    return tuple(found.texts)


# These make the count of keys unreliable: space before a colon, and an escaped quote, which encodes differently.
_MISCOUNTED = (b" :", b"\t:", b"\n:", b"\r:", b"\\u0022")


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs, duplicate keys included."""


def _find_duplicates(value: Any, path: FieldPath | None, found: Notes) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, item in value:
            address = FieldPath(path, name)
            if name in seen:
                found.add('duplicate field "{}"', address)
            seen.add(name)
            if item.__class__ is not str:
                _find_duplicates(item, address, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if item.__class__ is not str:
                _find_duplicates(item, FieldPath(path, index), found)


def _summary(body: bytes) -> str:
    """Print the beginning of a body as Kubernetes does: as text if it looks like JSON, else in hexadecimal."""
    if not body:
        return "<empty>"
    start = body[:_SUMMARY_BYTES]
    shown = start.decode(errors="replace") if body.startswith(b"{") else start.hex()
    return f"{shown} ..." if len(body) > _SUMMARY_BYTES else shown
