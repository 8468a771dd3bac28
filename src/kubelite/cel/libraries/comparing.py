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
        if kind in _COMPOSITE:
            return self._composite(value)
        return (kind, value) if kind is bool or isinstance(value, OpaqueValue | Type) else value

    def _composite(self, value: Value) -> Hashable:
        known = self._known.get(id(value))
        if known is None:
            parts = self._parts(value)
            is_equal = not any(isinstance(part, _Unequal) for part in parts)
            known = _UNEQUAL
            if is_equal:
                whole = (type(value), frozenset(parts) if isinstance(value, dict) else parts)
                known = (type(value), self._numbers.setdefault(whole, len(self._numbers)))
            self._known[id(value)] = known
        return _Unequal() if known is _UNEQUAL else known

    def _parts(self, value: Value) -> tuple[Hashable, ...]:
        if isinstance(value, Optional):
            return (value.has_value, self(value.value))
        if isinstance(value, list):
            return tuple(map(self, value))
        pairs = [(self(name), self(each)) for name, each in value.items()]
        unequal = next((each for _, each in pairs if isinstance(each, _Unequal)), None)
        return tuple(pairs) if unequal is None else (unequal,)


class _Unequal:
    """Equal to nothing but itself."""


_UNEQUAL: Final = _Unequal()
_SIMPLE: Final = frozenset({int, UInt, str, bytes, type(None), Duration, Timestamp})
_COMPOSITE: Final = frozenset({list, dict, Optional})
