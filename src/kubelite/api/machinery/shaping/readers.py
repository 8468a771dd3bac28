"""The pass that gives a custom resource its form, compiled to closures that know no paths.

What Kubernetes does in four walks happens at once: fields without a schema are refused, null is dropped or replaced
where it is no value, defaults are filled in, and embedded resources get the form of an API object. Values are not
checked otherwise: a text may stand where a number belongs, and `constraints` says so. Numbers get the form that
Kubernetes stores: 1.0 is written 1, and what does not fit into 64 bits is a float.

A reader is compiled when the first object has its field. It reads whatever stands there: Kubernetes prunes a list by
the items of a schema even if the schema is an object's, and then knows none of their fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import local
from typing import Any, Final

import msgspec

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.document_size import json_cost, too_large
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.machinery.shaping.compile_openapi import EMBEDDED, PRESERVE, TYPE_FIELDS
from kubelite.api.machinery.shaping.go import structure
from kubelite.api.machinery.shaping.pruning import drop_unknown
from kubelite.limits import DOCUMENT

JSON = dict[str, Any]


class UnknownField(Exception):
    """An object has a field that its schema does not have."""


class Malformed(Exception):
    """An embedded resource does not have the types of an API object."""


class Progress(local):
    """What the current pass of this thread has done."""

    left = 0  # bytes of defaults that it may still add
    changed = False  # whether it changed anything

    def start(self) -> None:
        """Begin a pass."""
        self.left = DOCUMENT.value
        self.changed = False


progress: Final = Progress()


class Dropped:
    """Marks a value that is not kept."""


DROPPED: Final = Dropped()
_INT64 = range(-(2**63), 2**63)
_SETTLED: Final = frozenset((str, bool))  # classes whose values never change

Reader = Callable[[Any], Any]  # returns the value to keep: the same one, another, or DROPPED
Maker = Callable[[], Any]


def settled(number: Any) -> Any:
    """Return a number as it is stored."""
    if number.__class__ is float:
        whole = number.is_integer() and int(number)
        return whole if whole is not False and whole in _INT64 else number
    if number in _INT64:
        return number
    try:
        return float(number)
    except OverflowError as error:
        raise BadRequest("json: cannot unmarshal a number that is out of range") from error


def settle(value: Any) -> Any:
    """Settle all numbers of a value that has no schema, in place, and return it."""
    pending = [value]
    while pending:
        inner = pending.pop()
        for at, item in inner.items() if inner.__class__ is dict else enumerate(inner):
            kind = item.__class__
            if kind is dict or kind is list:
                pending.append(item)
            elif (kind is int and item not in _INT64) or (kind is float and item.is_integer()):
                _replace(inner, at, settled(item))
    return value


def _replace(container: Any, at: Any, number: Any) -> None:
    if container[at].__class__ is not number.__class__:
        container[at] = number
        progress.changed = True


def keep(value: Any) -> Any:
    """Read a value that has no schema and is kept."""
    kind = value.__class__
    return settle(value) if kind is dict or kind is list else value


def refuse(value: Any) -> Any:
    """Read a value below one that has no schema and of which no field is kept."""
    if value.__class__ is dict and value:
        raise UnknownField
    if value.__class__ is list:
        for item in value:
            refuse(item)
        settle(value)
    return value


class Defaults:
    """The default of one node: computed at the first use, then copied."""

    __slots__ = ("_compiler", "_cost", "_made", "_node", "_value")

    def __init__(self, node: JSON, compiler: ReaderCompiler) -> None:
        self._node = node
        self._compiler = compiler
        self._made = False
        self._value: Any = None
        self._cost = 0

    def __call__(self) -> Any:
        """Return a copy of the default, complete with the defaults inside it."""
        if not self._made:
            self._value = self._compiler.complete_default(self._node)
            self._cost = json_cost(msgspec.json.encode(self._value))
            self._made = True
        progress.changed = True
        progress.left -= self._cost
        if progress.left < 0:
            raise too_large()
        return copied(self._value)


def copied(value: Any) -> Any:
    """Return a copy of a JSON value."""
    if value.__class__ is dict:
        return {name: copied(item) for name, item in value.items()}
    if value.__class__ is list:
        return [copied(item) for item in value]
    return value


def has_default(node: JSON) -> bool:
    """Return whether a node has a default; null is none."""
    return node.get("default") is not None


_STRUCTURE = {"properties", "items", "additionalProperties", "default", PRESERVE, EMBEDDED}


def _plain_reader(null: Any) -> Reader:
    """Return the reader of a scalar that says nothing about defaults; `null` is what null becomes."""

    def read(value: Any) -> Any:
        return null if value is None else refuse(value)

    return read


_NULLABLE: Final = _plain_reader(None)
_NOT_NULLABLE: Final = _plain_reader(DROPPED)


class ReaderCompiler:
    """Compiles the readers of one schema."""

    __slots__ = ("_fills", "_known", "prunes")

    def __init__(self, *, prunes: bool, fills: bool = True) -> None:
        """`prunes`: unknown fields and null are dropped; not so under ``spec.preserveUnknownFields``.

        `fills`: defaults are filled in. If not, null that would be replaced by one stays for a pass that does.
        """
        self.prunes = prunes
        self._fills = fills
        self._known: dict[int, Reader] = {}  # by identity: the schema outlives this

    def field(self, node: JSON) -> Reader:
        """Return the reader of a field or map value."""
        if self.prunes and _STRUCTURE.isdisjoint(node):
            return _NULLABLE if node.get("nullable") is True else _NOT_NULLABLE
        known = self._known.get(id(node))
        return known or self._known.setdefault(id(node), self._field(node))

    def _field(self, node: JSON) -> Reader:
        read_container = self.container(node)
        nullable = node.get("nullable") is True
        make = self._maker(node)
        absent = DROPPED if self.prunes and not has_default(node) else None

        def read(value: Any) -> Any:
            if value is not None:
                return read_container(value)
            if nullable:
                return None
            return absent if make is None else make()

        return read

    def container(self, node: JSON, *, root: bool = False) -> Reader:
        """Return the reader of the objects and lists at a node; `root`: of a whole custom resource."""
        read_object = self._object(node, root=root)
        read_list = self._list(node)

        def read(value: Any) -> Any:
            if value.__class__ is dict:
                return read_object(value)
            return read_list(value) if value.__class__ is list else value

        return read

    def rest(self, node: JSON) -> Reader | None:
        """Return the reader of the fields that are no properties; None: there may be none."""
        rest = node.get("additionalProperties")
        if isinstance(rest, dict):
            return self.field(rest)
        if node.get(PRESERVE) is True or not self.prunes:
            return keep
        return None if rest is None else refuse

    def _object(self, node: JSON, *, root: bool) -> Reader:
        embedded = node.get(EMBEDDED) is True and not root
        readers: _Readers | None = None
        makers: tuple[tuple[str, Maker], ...] = ()

        def read(value: JSON) -> JSON:
            nonlocal readers, makers
            if readers is None:
                makers = tuple(self._makers(node))
                readers = _Readers(self, node, embedded=embedded or root)
            dropped: list[str] = []
            for name, item in value.items():
                reader = readers[name]
                kind = item.__class__
                if kind in _SETTLED or (kind is int and item in _INT64):
                    continue
                if kind is int or kind is float:
                    _replace(value, name, settled(item))
                    continue
                shaped = reader(item)
                if shaped is DROPPED:
                    dropped.append(name)
                elif shaped is not item:
                    value[name] = shaped
            for name in dropped:
                del value[name]
                progress.changed = True
            for name, make in makers:
                if name not in value:
                    value[name] = make()
            if embedded:
                _shape_embedded(value)
            return value

        return read

    def _makers(self, node: JSON) -> Iterator[tuple[str, Maker]]:
        properties: JSON = node.get("properties") or {}
        for name, inner in properties.items():
            if (make := self._maker(inner)) is not None:
                yield name, make

    def _maker(self, node: JSON) -> Maker | None:
        return Defaults(node, self) if self._fills and has_default(node) else None

    def _list(self, node: JSON) -> Reader:
        items: JSON | None = node.get("items")
        keeps = node.get(PRESERVE) is True
        if items is None:
            return settle if keeps or not self.prunes else refuse
        if keeps:
            items = {**items, PRESERVE: True}  # so are the elements of a list that is kept
        nullable = items.get("nullable") is True
        make = self._maker(items)
        read_item: Reader | None = None

        def read(value: list[Any]) -> list[Any]:
            nonlocal read_item
            if read_item is None:
                read_item = self.container(items)
            for index, item in enumerate(value):
                kind = item.__class__
                if kind in _SETTLED:
                    continue
                if kind is int or kind is float:
                    _replace(value, index, settled(item))
                elif item is not None:
                    read_item(item)
                elif make is not None and not nullable:
                    value[index] = make()
            return value

        return read

    def complete_default(self, node: JSON) -> Any:
        """Return the default of a node as an object gets it: pruned and with the defaults of its fields."""
        value = copied(node["default"])
        if self.prunes:
            drop_unknown(node, value)
        if value.__class__ is dict or value.__class__ is list:
            return self.container(node)(value)
        return settled(value) if value.__class__ in {int, float} else value


class _Readers(dict[str, Reader]):
    """The readers of an object's fields by name, each compiled when it is first asked for."""

    __slots__ = ("_compiler", "_embedded", "_properties", "_rest")

    def __init__(self, compiler: ReaderCompiler, node: JSON, *, embedded: bool) -> None:
        super().__init__()
        self._compiler = compiler
        self._properties: JSON = node.get("properties") or {}
        self._embedded = embedded
        self._rest = compiler.rest(node)

    def __missing__(self, name: str) -> Reader:
        if self._embedded and name in TYPE_FIELDS:
            return self.setdefault(name, keep)
        node = self._properties.get(name)
        if node is not None:
            return self.setdefault(name, self._compiler.field(node))
        if self._rest is None:
            raise UnknownField
        return self._rest


def _shape_embedded(value: JSON) -> None:
    """Give an embedded resource the form of an API object; its metadata stays as it is if a field is unknown."""
    for name in ("apiVersion", "kind"):
        if name in value and value[name].__class__ is not str:
            raise Malformed
    if "metadata" in value:
        shape_metadata(value)


def shape_metadata(value: JSON) -> None:
    """Give the metadata of an embedded resource its form.

    Raises:
        Malformed: A value has the wrong type.
        UnknownField: A field is unknown; the metadata is then unchanged.
    """
    found = value["metadata"]
    shaped = {} if found is None else copied(found)
    try:
        unknown = structure(compile_struct(ObjectMeta), shaped)
    except BadRequest as error:
        raise Malformed from error
    if unknown:
        raise UnknownField
    if shaped != found:
        value["metadata"] = shaped
        progress.changed = True
