"""Gives a decoded body of a built-in kind the shape of its type, in one pass and in place.

What Go's decoder and encoder do to an object on its way through the real server happens here at once: types are
checked, quantities and dates get their canonical spelling, nulls and zero values that would not be written vanish,
fields that are always written appear, static defaults are filled in, and unknown fields are dropped and reported. The
pass is compiled to closures per node, which know no paths: when one of them finds fault, a slow walk finds where.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Mapping, Sequence
from threading import RLock, local
from typing import Any, Final

import msgspec
from msgspec import UNSET

from kubelite.api.errors import BadRequest, Cause
from kubelite.api.kinds.model import GroupVersionKind, Model
from kubelite.api.machinery.document_size import json_cost, too_large
from kubelite.api.machinery.mismatch import find_mismatch
from kubelite.api.machinery.prune import prune
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.schema import Schema, compile_struct
from kubelite.api.machinery.shaping.shape import Inspection
from kubelite.api.machinery.times import format_micro_time, format_time, parse_time
from kubelite.api.machinery.work_cost import shape_cost
from kubelite.limits import DOCUMENT
from kubelite.remembered import remembered


class Mismatch(Exception):
    """A value does not have the type of its field."""


class _UnknownField(Exception):
    """An object has a field that its type does not have."""


class _Dropped:
    """Marks a value that is not written."""


_DROPPED: Final = _Dropped()
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)

_filling = local()  # `left`: bytes of defaults that this thread may still add to the current value

Reader = Callable[[Any], Any]  # returns the value to write; the same object if nothing changes
Maker = Callable[[], Any]


Defaulter = Callable[
    [dict[str, Any]], None
]  # sets defaults that depend on other fields, in place; idempotent


class GoShape:
    """The form of a built-in kind: that of its type, with the defaults of its defaulting function.

    Constant defaults of single fields are notes of the types. The function has those that depend on other fields, and
    keeps in sync what Kubernetes' conversions do: old and new names of one fact.
    """

    def __init__(self, type_: type[Model], defaults: Defaulter | None = None) -> None:
        self._type = type_
        self._defaults = defaults

    @property
    def schema(self) -> Schema:
        """The schema tree, compiled on first use."""
        return compile_struct(self._type)

    def receive(self, body: dict[str, Any]) -> tuple[str, ...]:
        """Shape a body in place; return the paths of the dropped unknown fields. Raises as `structure`."""
        unknown = structure(self.schema, body)
        if self._defaults is not None:
            self._defaults(body)
        return unknown

    def complete(self, item: dict[str, Any]) -> None:
        """Shape an object in place. Raises as `structure`."""
        self.receive(item)

    def cost(self, object_bytes: int) -> int:
        """Return the cost of `receive`."""
        return shape_cost(object_bytes)

    def complete_status(self, item: dict[str, Any]) -> None:
        """Add to a status, which a strategy has just set, the fields that are always encoded."""
        node = self.schema.fields.get("status")
        if node is not None and node.type == "object" and (node.always or "status" in item):
            structure(node, item.setdefault("status", {}))

    def causes(
        self,
        item: Mapping[str, Any],
        old: Mapping[str, Any] | None,
        subresource: str = "",
        inspection: Inspection | None = None,
    ) -> Sequence[Cause]:
        """Return no cause: the rules of a built-in kind check all of an object."""
        del item, old, subresource, inspection
        return ()


def structure(schema: Schema, body: Any) -> tuple[str, ...]:
    """Shape `body` in place; return the paths of the dropped unknown fields.

    Raises:
        BadRequest: A value has the wrong type; the message is Kubernetes'. `body` is then partly shaped.
        RequestEntityTooLarge: The defaults of list elements would take too much memory.
    """
    _filling.left = DOCUMENT.value
    read = _READY.get(id(schema.fields)) or _compile_whole(schema)
    try:
        try:
            shaped = read(body)
            unknown: tuple[str, ...] = ()
        except _UnknownField:
            unknown = prune(schema, body)
            shaped = read(body)
    except Mismatch as error:
        raise _refusal(schema, body) from error
    except RecursionError as error:
        raise BadRequest("json: exceeded max depth") from error
    if shaped is _DROPPED:
        raise _refusal(schema, body)
    return unknown


def _refusal(schema: Schema, body: Any) -> BadRequest:
    gvk = schema.gvk or GroupVersionKind("", "v1", schema.name)
    found = find_mismatch(schema, body)
    return BadRequest(
        f'{gvk.kind} in version "{gvk.version}" cannot be handled as a {gvk.kind}: {found}'
    )


def _read_string(value: Any) -> Any:
    if value.__class__ is str:
        return value or _DROPPED
    return _absent(value)


def _read_any_string(value: Any) -> Any:
    return value if value.__class__ is str else _absent(value)


def _absent(value: Any) -> Any:
    if value is None:
        return _DROPPED
    raise Mismatch


def _boolean_reader(keeps_zero: bool) -> Reader:
    def read(value: Any) -> Any:
        if value is True or (value is False and keeps_zero):
            return value
        return _DROPPED if value is False else _absent(value)

    return read


def _integer_reader(bounds: range, keeps_zero: bool) -> Reader:
    def read(value: Any) -> Any:
        if value.__class__ is int and value in bounds:
            return value if value or keeps_zero else _DROPPED
        return _absent(value)

    return read


def _number_reader(keeps_zero: bool) -> Reader:
    def read(value: Any) -> Any:
        if value.__class__ is int or value.__class__ is float:
            return value if value or keeps_zero else _DROPPED
        return _absent(value)

    return read


def _read_int_or_string(value: Any) -> Any:
    if value.__class__ is str or (value.__class__ is int and value in _INT32):
        return value
    return _absent(value)


@remembered(4096)
def _canonical_time(text: str) -> str:
    return format_time(parse_time(text))


@remembered(4096)
def _canonical(text: str) -> str:
    return str(parse_quantity(text))


def _read_quantity(value: Any) -> Any:
    if value.__class__ not in {str, int, float}:
        return _absent(value)
    try:
        if value.__class__ is not str:
            return str(parse_quantity(value))
        written = _canonical(value.strip())
    except ValueError as error:
        raise Mismatch from error
    return value if written == value else written


def _read_time(value: Any) -> Any:
    if value.__class__ is not str:
        return _absent(value)
    try:
        written = _canonical_time(value)
    except ValueError as error:
        raise Mismatch from error
    return value if written == value else written


def _read_micro_time(value: Any) -> Any:
    if value.__class__ is not str:
        return _absent(value)
    try:
        written = format_micro_time(parse_time(value))
    except ValueError as error:
        raise Mismatch from error
    return value if written == value else written


def _base64_reader(keeps_zero: bool) -> Reader:
    def read(value: Any) -> Any:
        if value.__class__ is not str:
            return _absent(value)
        if not value:
            return value if keeps_zero else _DROPPED
        written = value.replace("\n", "").replace("\r", "") if "\n" in value else value
        try:
            binascii.a2b_base64(written, strict_mode=True)
        except ValueError as error:
            raise Mismatch from error
        return written

    return read


def _read_anything(value: Any) -> Any:
    return _DROPPED if value is None else value


def _array_reader(schema: Schema) -> Reader:
    assert schema.items is not None
    read_item = _reader(schema.items, nested=True)
    zero = _zero_maker(schema.items)
    always, is_null_when_empty = schema.always, schema.null == "empty"
    charge = _fill_charger(schema.items)

    def read(value: Any) -> Any:
        if value.__class__ is not list:
            return _absent(value)
        if not value:
            return (None if is_null_when_empty else value) if always else _DROPPED
        if charge is not None:
            charge(len(value))
        for index, item in enumerate(value):
            shaped = read_item(item)
            if shaped is not item:
                value[index] = zero() if shaped is _DROPPED else shaped
        return value

    return read


def _fill_charger(items: Schema) -> Callable[[int], None] | None:
    """Return a function that charges the defaults of so many elements, since an element may be as small as {}."""
    if items.type != "object" or items.loose:
        return None
    make = _zero_maker(items)
    cost = 0

    def charge(count: int) -> None:
        nonlocal cost
        if not cost:  # computed at the first use, because the types of the fields may be under construction until then
            cost = json_cost(msgspec.json.encode(make()))
        _filling.left -= count * cost
        if _filling.left < 0:
            raise too_large()

    return charge


def _map_reader(schema: Schema) -> Reader:
    assert schema.items is not None
    read_item = _reader(schema.items, nested=True)
    zero = _zero_maker(schema.items)
    always = schema.always
    charge = _fill_charger(schema.items)

    def read(value: Any) -> Any:
        if value.__class__ is not dict:
            return _absent(value)
        if not value:
            return value if always else _DROPPED
        if charge is not None:
            charge(len(value))
        for name, item in value.items():
            shaped = read_item(item)
            if shaped is not item:
                value[name] = zero() if shaped is _DROPPED else shaped
        return value

    return read


def _loose_reader(schema: Schema) -> Reader:
    read_object = _object_reader(schema)

    def read(value: Any) -> Any:
        if value.__class__ is dict:
            return read_object(value)
        if value.__class__ is list:
            for item in value:
                if item.__class__ is dict:
                    read_object(item)
        return _DROPPED if value is None else value

    return read


# By `id` of the field table, which all uses of one type share. The schema in the value keeps the table alive.
_OBJECT_READERS: dict[int, tuple[Schema, Reader]] = {}


_READY: dict[int, Reader] = {}  # complete readers, whose callees are complete too
_LOCK = RLock()  # no other thread may see a closure under construction


def _compile_whole(schema: Schema) -> Reader:
    with _LOCK:
        read = _object_reader(schema)
        _READY[id(schema.fields)] = read
        return read


def _object_reader(schema: Schema) -> Reader:
    """Return the reader of a type, compiled at its first use."""
    if known := _OBJECT_READERS.get(id(schema.fields)):
        return known[1]
    readers: dict[str, Reader] = {}
    makers: list[tuple[str, Maker]] = []
    read = _object_closure(readers, makers)
    _OBJECT_READERS[id(schema.fields)] = (
        schema,
        read,
    )  # before its fields: a type may contain itself
    for name, node in schema.fields.items():
        readers[name] = _reader(node)
        if node.default is not UNSET:
            makers.append((name, node.fresh_default))
        elif node.always:
            makers.append((name, _zero_maker(node)))
    return read


def _object_closure(readers: dict[str, Reader], makers: list[tuple[str, Maker]]) -> Reader:
    find = readers.get

    def read(value: Any) -> Any:
        if value.__class__ is not dict:
            return _absent(value)
        dropped: list[str] = []
        for name, item in value.items():
            reader = find(name)
            if reader is None:
                raise _UnknownField
            if reader is _read_string and item.__class__ is str and item:
                continue  # the most frequent types, without a call
            shaped = reader(item)
            if shaped is _DROPPED:
                dropped.append(name)
            elif shaped is not item:
                value[name] = shaped
        for name in dropped:
            del value[name]
        for name, make in makers:
            if name not in value:
                value[name] = make()
        return value

    return read


def _reader(schema: Schema, *, nested: bool = False) -> Reader:
    """Return the reader of a field; `nested`: of a list element or map value, whose zero value is kept."""
    match schema.type:
        case "object":
            return _loose_reader(schema) if schema.loose else _object_reader(schema)
        case "array":
            return _array_reader(schema)
        case "map":
            return _map_reader(schema)
        case "any":
            return _read_as_is if nested else _read_anything
        case _:
            return _scalar_reader(schema, schema.pointer or schema.always or nested)


def _read_as_is(value: Any) -> Any:
    return value


def _scalar_reader(schema: Schema, keeps_zero: bool) -> Reader:
    match schema.type:
        case "integer":
            return _integer_reader(_INT64 if schema.format == "int64" else _INT32, keeps_zero)
        case "boolean":
            return _boolean_reader(keeps_zero)
        case "number":
            return _number_reader(keeps_zero)
        case "int-or-string":
            return _read_int_or_string
        case "quantity":
            return _read_quantity
        case "time":
            return _read_micro_time if schema.format == "date-time-micro" else _read_time
        case _ if schema.format == "byte":
            return _base64_reader(keeps_zero)
        case _:
            return _read_any_string if keeps_zero else _read_string


def _null() -> None:
    return None


_ZEROS: dict[str, Any] = {
    "string": "",
    "integer": 0,
    "number": 0,
    "boolean": False,
    "int-or-string": 0,
    "quantity": "0",
    "time": None,
    "any": None,
}


def _zero_maker(schema: Schema) -> Maker:
    match schema.type:
        case "object":
            fill = _object_reader(schema)
            return lambda: fill({})
        case "array":
            return _null if schema.null else list
        case "map":
            return dict
        case _:
            zero = _ZEROS[schema.type]
            return lambda: zero
