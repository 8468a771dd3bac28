"""Compiles the OpenAPI schema of a custom resource to the `Schema` tree.

The tree says what server-side apply and patches ask: which fields there are, which lists and maps merge. What a value
must satisfy is not in it (`constraints`), and no descriptions. Fields are compiled when they are first looked up, and
nodes that say nothing but their type are shared, so that a definition of 10,000 fields costs what is used of it.
List and map types follow kube-openapi's conversion to structured-merge-diff: a list without a type is atomic, and what
has no schema has a deduced one, in which objects are granular and lists atomic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import replace

from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.schema import NodeType, Schema, compile_struct

JSON = dict[str, Any]

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
EMBEDDED: Final = "x-kubernetes-embedded-resource"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"

TYPE_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata"})  # of every API object

DEDUCED: Final = Schema(type="any", preserve=True)  # what has no schema
_UNTYPED: Final = Schema(type="any")  # what has no schema, within a list: atomic
_FREE_OBJECT: Final = Schema(type="object", preserve=True)
_STRING: Final = Schema(type="string")
_SCALARS: Final[Mapping[str, NodeType]] = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
}
_PLAIN: Final[Mapping[str, Schema]] = {
    name: _STRING if name == "string" else Schema(type=type_) for name, type_ in _SCALARS.items()
}
_INT_OR_STRING: Final = Schema(type="int-or-string")


def compile_openapi(
    openapi: JSON, gvk: GroupVersionKind, *, preserve_unknown: bool = False
) -> Schema:
    """Return the tree of a version's ``openAPIV3Schema``, which is kept and must not change.

    `preserve_unknown`: fields that no schema knows are kept everywhere (``spec.preserveUnknownFields``).
    """
    root = _Compiler().node(openapi, free=preserve_unknown, embedded=True)
    return replace(root, type="object", gvk=gvk, definition=_definition(gvk))


def _definition(gvk: GroupVersionKind) -> str:
    """Return the name of the OpenAPI definition: the group's parts reversed, version and kind."""
    group = ".".join(reversed(gvk.group.split(".")))
    return f"{group}.{gvk.version}.{gvk.kind}"


def _of_every_object() -> dict[str, Schema]:
    """Return the fields of every API object."""
    return {"apiVersion": _STRING, "kind": _STRING, "metadata": _metadata()}


def _metadata() -> Schema:
    return replace(compile_struct(ObjectMeta), always=True)  # as of a built-in kind


class _Compiler:
    """Compiles the nodes of one schema; equal nodes that are one object are compiled once."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], Schema] = {}  # by identity: the schema outlives this

    def node(self, node: JSON, *, free: bool, embedded: bool = False) -> Schema:
        """Compile a node; `free`: an object around it keeps unknown fields, so all below it do."""
        if embedded:
            return self._node(node, free=free, embedded=True)
        key = id(node), free
        known = self._known.get(key)
        return known or self._known.setdefault(key, self._node(node, free=free, embedded=False))

    def _node(self, node: JSON, *, free: bool, embedded: bool) -> Schema:
        free = free or node.get(PRESERVE) is True
        embedded = embedded or node.get(EMBEDDED) is True
        type_ = node.get("type", "")
        if node.get(INT_OR_STRING) is True:
            return _with_notes(_INT_OR_STRING, node)
        if type_ in _SCALARS:
            return _with_notes(_PLAIN[type_], node, node.get("format", ""))
        if type_ == "array":
            return self._array(node, free=free)
        return self._object(node, free=free, embedded=embedded)

    def _array(self, node: JSON, *, free: bool) -> Schema:
        items = node.get("items")
        return _noted(
            node,
            type="array",
            items=_UNTYPED if items is None else self.node(items, free=free),
            list_type=node.get(LIST_TYPE) or "",
            list_keys=tuple(node.get(LIST_KEYS) or ()),
        )

    def _object(self, node: JSON, *, free: bool, embedded: bool) -> Schema:
        properties = node.get("properties") or {}
        rest = node.get("additionalProperties")
        typed = node.get("type") == "object"
        if rest is None and not properties and not embedded and not node.get(MAP_TYPE):
            return _with_notes(_FREE_OBJECT if typed else DEDUCED, node)
        values = self.node(rest, free=free) if isinstance(rest, dict) else DEDUCED if rest else None
        known = _of_every_object() if embedded else {}
        is_map = typed and values is not None and not properties and not embedded
        return _noted(
            node,
            type="map" if is_map else "object" if typed else "any",
            fields=_Fields(self, properties, known, free=free),
            items=values,
            required=tuple(node.get("required") or ()),
            map_type=node.get(MAP_TYPE) or "",
            preserve=free,
            embedded=embedded,
        )


class _Fields(Mapping[str, Schema]):
    """The fields of an object, each compiled when it is first looked up."""

    __slots__ = ("_compiler", "_free", "_known", "_properties")

    def __init__(
        self, compiler: _Compiler, properties: JSON, known: dict[str, Schema], *, free: bool
    ) -> None:
        self._compiler = compiler
        self._properties = properties
        self._known = known
        self._free = free

    def get(self, name: str, default: Any = None) -> Any:
        """Return the node of a field, or `default`."""
        found = self._known.get(name)
        if found is not None:
            return found
        node = self._properties.get(name)
        if node is None:
            return default
        return self._known.setdefault(name, self._compiler.node(node, free=self._free))

    def __getitem__(self, name: str) -> Schema:
        found: Schema | None = self.get(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._properties or name in self._known

    def __iter__(self) -> Iterator[str]:
        yield from self._properties
        yield from (name for name in tuple(self._known) if name not in self._properties)

    def __len__(self) -> int:
        return len(self._properties.keys() | self._known.keys())


def _with_notes(plain: Schema, node: JSON, format_: str = "") -> Schema:
    """Return the shared node of a type, or one of its own if there is more to say."""
    default = node.get("default")
    nullable = node.get("nullable") is True
    if default is None and not nullable and not format_:
        return plain
    return replace(
        plain, format=format_, nullable=nullable, default=UNSET if default is None else default
    )


def _noted(node: JSON, **facts: Any) -> Schema:
    default = node.get("default")
    nullable = node.get("nullable") is True
    return Schema(nullable=nullable, default=UNSET if default is None else default, **facts)
