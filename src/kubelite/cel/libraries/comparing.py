"""Order of values, and keys that are equal where values are."""

from collections.abc import Hashable
from typing import Final

from kubelite.cel import arithmetic, operators
from kubelite.cel.types import Type
from kubelite.cel.values import (
    Duration,
    EvaluationFailed,
    OpaqueValue,
    Optional,
    Rows,
    SetList,
    Timestamp,
    UInt,
    Value,
)

COMPARABLE: Final = frozenset({int, UInt, float, str, bytes, bool, Duration, Timestamp})


def compare(left: Value, right: Value) -> int | None:
    """Return -1, 0 or 1; None where there is no order: between types, and with NaN."""
    try:
        return arithmetic.compare(operators.LESS, left, right)
    except EvaluationFailed:
        return None


class Keys:
    """Makes keys of values that are equal where the values are, so that membership takes one look-up.

    A list or map is walked over once, however many others hold it: its key is a number, the same for equal ones.
    """

    def __init__(self) -> None:
        self._known: dict[int, Hashable] = {}  # by identity; the values live as long as the call
        self._numbers: dict[Hashable, int] = {}

    def __call__(self, value: Value) -> Hashable:
        """Return the key of a value; that of NaN, and of what holds it, is equal to no other."""
        kind = type(value)
        if kind in _SIMPLE:
            return value  # type: ignore[no-any-return] # one of the types above
        if kind is float:
            return value if value == value else _Unequal()
        if isinstance(value, SetList):
            kind = list
        elif kind is Rows:
            kind = dict
        if kind not in _COMPOSITE:
            return (kind, value) if kind is bool or isinstance(value, OpaqueValue | Type) else value
        known = self._known.get(id(value))
        if known is None:
            # One frame of Python's stack a level, since values nest deeply.
            if kind is list:
                parts = tuple(map(self, value))
            elif kind is dict:
                parts = (*map(self, value), *map(self, value.values()))
            else:
                parts = (value.has_value, self(value.value))
            known = self._known[id(value)] = self._numbered(kind, parts)
        return _Unequal() if known is _UNEQUAL else known

    def _numbered(self, kind: type, parts: tuple[Hashable, ...]) -> Hashable:
        if any(isinstance(part, _Unequal) for part in parts):
            return _UNEQUAL
        whole: Hashable = parts
        if kind is dict:
            count = len(parts) // 2
            whole = frozenset(zip(parts[:count], parts[count:], strict=True))
        return kind, self._numbers.setdefault((kind, whole), len(self._numbers))


class _Unequal:
    """Equal to nothing but itself."""


_UNEQUAL: Final = _Unequal()
_SIMPLE: Final = frozenset({int, UInt, str, bytes, type(None), Duration, Timestamp})
_COMPOSITE: Final = frozenset({list, dict, Optional})
