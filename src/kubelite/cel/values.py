"""The values of CEL, and what can be asked of any of them.

bool is `bool`, int `int` (64 bits, checked by the operators), uint `UInt`, double `float`, string `str`, bytes `bytes`,
null `None`, list `list`, map and object `dict`. Those that Python lacks are declared here; a library's own types derive
from `OpaqueValue`. A value is never changed once an expression has seen it: objects are evaluated where they lie.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final

from msgspec import Struct

from kubelite.cel import types
from kubelite.cel.types import Type

Value = Any  # one of the types above; checked when an overload is chosen

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1
UINT_MAX: Final = (1 << 64) - 1


class EvaluationFailed(Exception):
    """An expression has no value; `text` is worded as cel-go does."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class UInt(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{int(self)}u"


class Timestamp(Struct, frozen=True, eq=False):
    """An instant: nanoseconds since 1970 in UTC, and the offset in seconds that its text shows; that compares not."""

    nanoseconds: int
    offset: int = 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and self.nanoseconds == other.nanoseconds

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.nanoseconds)

    def __lt__(self, other: "Timestamp") -> bool:
        return self.nanoseconds < other.nanoseconds


class Duration(Struct, frozen=True, order=True):
    """A span of time; `nanoseconds` fit in 64 bits with a sign."""

    nanoseconds: int


class Optional(Struct, frozen=True):
    """A value that may be absent."""

    value: Value = None
    has_value: bool = True


NONE: Final = Optional(None, False)


class OpaqueValue:
    """The parent of values whose types libraries declare.

    `==` and `hash` are those of CEL. `size` is what `size()` would count, for costs; None where a value has none.
    """

    __slots__ = ()
    cel_type: ClassVar[Type]
    has_unit_equality_cost: ClassVar[bool] = True  # comparing two costs 1, whatever their sizes

    @property
    def size(self) -> int | None:
        """Return the size that costs are counted by."""
        return None


_TYPES: dict[type, Type] = {
    bool: types.BOOL,
    int: types.INT,
    UInt: types.UINT,
    float: types.DOUBLE,
    str: types.STRING,
    bytes: types.BYTES,
    type(None): types.NULL,
    list: types.LIST,
    dict: types.MAP,
    Timestamp: types.TIMESTAMP,
    Duration: types.DURATION,
    Optional: types.OPTIONAL,
    Type: types.TYPE,
}


def type_of(value: Value) -> Type:
    """Return the type of a value at run time; parameters are erased."""
    found = _TYPES.get(type(value))
    if found is not None:
        return found
    if isinstance(value, OpaqueValue):
        return value.cel_type
    return next((known for cls, known in _TYPES.items() if isinstance(value, cls)), types.DYN)


_SIZED: Final = frozenset({str, bytes, list, dict})
_NUMBERS: Final = frozenset({int, UInt, float})


def size_of(value: Value) -> int:
    """Return the size by which costs are counted: characters, bytes, elements, entries; 1 of anything else."""
    if type(value) in _SIZED:
        return len(value)
    if isinstance(value, Optional):
        return size_of(value.value) if value.has_value else 1
    if isinstance(value, OpaqueValue):
        size = value.size
        return 1 if size is None else size
    return len(value) if isinstance(value, dict | list) else 1


class _Comparison:
    """The containers that one comparison has met.

    What an expression makes may share its parts, a list twice in a list and that twice in the next one, so that a walk
    would take for ever. After many steps, those that were found equal are remembered.
    """

    __slots__ = ("equals", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.equals: set[tuple[int, int]] = set()  # by identity; all of them live until the end

    def equal(self, left: Value, right: Value) -> bool:
        """Return whether two values within two containers are equal."""
        self.steps += 1
        if self.steps < _STEPS_FREE:
            return equal(left, right, self)
        pair = id(left), id(right)
        if pair in self.equals:
            return True
        if not equal(left, right, self):
            return False
        self.equals.add(pair)
        return True


_STEPS_FREE: Final = 10_000


class SetList(list[Value]):
    """A list whose order does not count (``x-kubernetes-list-type: set``); a sum adds what is not there yet."""

    __slots__ = ()

    def key(self, element: Value) -> Hashable:
        """Return what tells an element from others; equal elements have equal keys."""
        return _frozen(element)

    def of(self, elements: Iterable[Value]) -> "SetList":
        """Return another list of this kind."""
        return type(self)(elements)

    def equals(self, other: list[Value], comparison: _Comparison) -> bool:
        """Return whether another list has the same elements."""
        if len(self) != len(other):
            return False
        mine = {self.key(element): element for element in self}
        return all(
            (key := self.key(element)) in mine and comparison.equal(mine[key], element)
            for element in other
        )

    def joined(self, other: list[Value]) -> "SetList":
        """Return the list with those elements of another one behind it whose keys it has not."""
        by_key = {self.key(element): element for element in self}
        by_key.update((self.key(element), element) for element in other)
        return self.of(by_key.values())


class MapList(SetList):
    """A list whose elements some of their fields tell apart (``x-kubernetes-list-type: map``).

    Its order does not count. A sum takes the elements of the other list in the places of those with the same keys.
    """

    __slots__ = ("fields",)

    def __init__(self, elements: Iterable[Value], fields: Sequence[str]) -> None:
        super().__init__(elements)
        self.fields = fields

    def key(self, element: Value) -> Hashable:
        if not isinstance(element, dict):
            return object()
        return tuple(_frozen(element.get(name)) for name in self.fields)

    def of(self, elements: Iterable[Value]) -> "SetList":
        return MapList(elements, self.fields)


def _frozen(value: Value) -> Hashable:
    """Return something hashable that is equal for equal values; bools are no numbers."""
    if isinstance(value, list):
        return (list, *map(_frozen, value))
    if isinstance(value, dict):
        return dict, frozenset((_frozen(key), _frozen(each)) for key, each in value.items())
    if type(value) is Optional:
        return Optional, value.has_value, _frozen(value.value)
    return (bool, value) if type(value) is bool else value


def equal(left: Value, right: Value, comparison: _Comparison | None = None) -> bool:
    """Return whether two values are equal in CEL: numbers by value across their types, all else within its type."""
    kind = type(left)
    other = type(right)
    if kind is other:
        if kind is list:
            return len(left) == len(right) and _equal_lists(left, right, comparison)
        if kind is dict:
            return _equal_maps(left, right, comparison)
        if kind is Optional:
            return left.has_value is right.has_value and equal(left.value, right.value, comparison)
        if kind not in _SPECIAL:
            return bool(left == right)
    elif kind in _NUMBERS and other in _NUMBERS:
        if (
            kind is float or other is float
        ):  # compared as doubles: integers past 53 bits lose their last digits
            return float(left) == float(right)
        return bool(left == right)
    elif isinstance(left, OpaqueValue) or kind is Type:
        return bool(left == right)
    return _equal_containers(left, right, comparison)


def _equal_containers(left: Value, right: Value, comparison: _Comparison | None) -> bool:
    """Return whether two values are equal of which one is a list or map of a kind of its own."""
    if isinstance(left, dict):
        return isinstance(right, dict) and _equal_maps(left, right, comparison)
    if not (isinstance(left, list) and isinstance(right, list)):
        return False
    if isinstance(left, SetList):  # the left one decides
        return left.equals(right, comparison or _Comparison())
    return len(left) == len(right) and _equal_lists(left, right, comparison)


_PLAIN: Final = frozenset({str, int, bool, bytes, type(None), UInt})


def _equal_lists(left: list[Value], right: list[Value], comparison: _Comparison | None) -> bool:
    for one, other in zip(left, right, strict=True):
        kind = type(one)
        if kind in _PLAIN and kind is type(other):
            if one != other:
                return False
        else:
            comparison = comparison or _Comparison()
            if not comparison.equal(one, other):
                return False
    return True


def _equal_maps(
    left: dict[Value, Value], right: dict[Value, Value], comparison: _Comparison | None
) -> bool:
    if len(left) != len(right):
        return False
    for key, value in left.items():
        found = right.get(key, _MISSING)
        kind = type(value)
        if kind in _PLAIN and kind is type(found):
            if value != found:
                return False
        elif found is _MISSING:
            return False
        else:
            comparison = comparison or _Comparison()
            if not comparison.equal(value, found):
                return False
        if type(key) is not str and (type(key) is bool) != _has_bool_key(right, key):
            return False
    return True


class MixedMap(dict[Value, Value]):
    """A map whose keys Python would confuse or refuse: bools beside numbers, and lists and maps.

    Bools lie under keys of their own; what is no key in Python either is equal to no other key.
    """

    def __init__(self, entries: Iterable[tuple[Value, Value]]) -> None:
        super().__init__()
        for key, value in entries:
            super().__setitem__(_inner(key), value)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_inner(key))

    def __getitem__(self, key: Value) -> Value:
        return super().__getitem__(_inner(key))

    def __iter__(self) -> Iterator[Value]:
        return (key.key if type(key) is _Inner else key for key in super().__iter__())

    def get(self, key: Value, default: Value = None) -> Value:
        return super().get(_inner(key), default)

    def keys(self) -> Any:
        return list(self)

    def items(self) -> Any:
        return list(zip(self, super().values(), strict=True))


class Rows(dict[Value, Value]):
    """A map whose every key leads to a value: an empty map where it has no entry.

    It has a key for `has()` and for a lookup, but only those of its entries for `in`, for loops and for its size.
    """

    def __missing__(self, key: Value) -> Value:
        return {}


_SPECIAL: Final = frozenset({MapList, Rows, SetList})


class _Inner:
    """What a key of another map is wrapped in."""

    __slots__ = ("key",)

    def __init__(self, key: Value) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Inner) and type(self.key) is bool and self.key is other.key

    def __hash__(self) -> int:
        return hash(self.key) if type(self.key) is bool else id(self)


def _inner(key: Value) -> Value:
    if type(key) is bool or isinstance(key, list | dict):
        return _Inner(key)
    return key


def map_of_entries(entries: Sequence[tuple[Value, Value]]) -> dict[Value, Value]:
    """Return a map of entries, of which the last of a key counts."""
    bools = sum(type(key) is bool for key, _ in entries)
    if (not bools or bools == len(entries)) and not any(
        isinstance(key, list | dict) for key, _ in entries
    ):
        return dict(entries)
    return MixedMap(entries)


_MISSING: Final = object()


def _has_bool_key(entries: dict[Value, Value], key: Value) -> bool:
    """Return whether the key equal to `key` is a bool; Python has True and 1 as one key."""
    return key in (0, 1) and any(
        entry is True or entry is False for entry in entries if entry == key
    )
