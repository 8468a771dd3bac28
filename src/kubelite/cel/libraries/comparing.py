"""Order and sets of values, as lists and sets need them."""

from collections.abc import Callable, Hashable, Iterable
from typing import Final

from kubelite.cel import arithmetic, operators
from kubelite.cel.libraries.bounds import check_values
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

    Raises EvaluationFailed past `CEL_VALUES` values within values.
    """

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, value: Value) -> Hashable:
        """Return the key of a value; that of NaN is equal to no other."""
        self._count += 1
        if not self._count & 0x3FF:
            check_values(self._count)
        kind = type(value)
        if kind in _SIMPLE:
            return value  # type: ignore[no-any-return] # one of the types above
        if kind is float:
            return value if value == value else _Unequal()
        make = _MAKERS.get(kind)
        if make is not None:
            return make(self, value)
        return (kind, value) if isinstance(value, OpaqueValue | Type) else value


class _Unequal:
    """Equal to nothing but itself."""


_SIMPLE: Final = frozenset({int, UInt, str, bytes, type(None), Duration, Timestamp})


def _of_list(key: Keys, value: list[Value]) -> Hashable:
    return (list, tuple(map(key, value)))


def _of_map(key: Keys, value: dict[Value, Value]) -> Hashable:
    return (dict, frozenset((key(name), key(each)) for name, each in value.items()))


def _of_optional(key: Keys, value: Optional) -> Hashable:
    return (Optional, value.has_value, key(value.value))


_MAKERS: Final[dict[type, Callable[[Keys, Value], Hashable]]] = {
    bool: lambda _key, value: (bool, value),
    list: _of_list,
    dict: _of_map,
    Optional: _of_optional,
}


def key_set(values: Iterable[Value]) -> frozenset[Hashable]:
    """Return the keys of values."""
    return frozenset(map(Keys(), values))
