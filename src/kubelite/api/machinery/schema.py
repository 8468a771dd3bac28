"""The `Schema` tree: the types, defaults and merge rules of an object's fields.

A type of `api.kinds` compiles to it, and so does the OpenAPI of a custom resource. Pruning, defaulting, validation,
patches, server-side apply and OpenAPI read this tree and nothing else, so built-in and custom kinds are handled alike.

Trees may be cyclic (JSONSchemaProps contains itself), so walk them along an object, or remember visited nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from threading import RLock
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from kubelite.api.kinds.model import GroupVersionKind, Kind, Model, Note

NodeType = Literal[
    "object",  # named fields; if `items` is set, also fields of any other name
    "map",  # fields of any name, whose values are `items`
    "array",  # each element is `items`
    "string",
    "integer",
    "number",
    "boolean",
    "int-or-string",
    "quantity",  # a string in canonical form once read
    "time",  # RFC 3339; format tells seconds (date-time) from microseconds (date-time-micro)
    "any",
]

NO_FIELDS: Mapping[str, Schema] = MappingProxyType({})


class Schema(Struct, frozen=True, kw_only=True, eq=False):
    """One node: the type of a value, and its parent's notes about it. Compared by identity."""

    type: NodeType
    format: str = (
        ""  # int32, int64, double, byte, date-time, date-time-micro, or a custom resource's own
    )
    fields: Mapping[str, Schema] = NO_FIELDS
    items: Schema | None = None  # the element of an array, the value of a map
    required: tuple[str, ...] = ()  # names of the fields that an object must have
    default: Any = UNSET  # the value of an absent field; shared, so call `fresh_default` for a copy
    enum: tuple[str, ...] = ()
    list_type: str = ""  # "", atomic, set or map
    list_keys: tuple[str, ...] = ()  # the fields that identify an element of a list of type map
    map_type: str = ""  # "", atomic or granular
    merge_key: str = ""  # strategic merge: field that identifies an element; "-" merges a list of scalars; "" replaces
    retain_keys: bool = (
        False  # strategic merge: keys not named by the patch's $retainKeys are dropped
    )
    patch_replaces: bool = False  # strategic merge: the patch's object replaces the existing one
    preserve: bool = False  # unknown fields are kept
    embedded: bool = False  # a complete API object, apiVersion, kind and metadata included
    nullable: bool = False  # null is a value of its own and is kept (custom resources only)
    pointer: bool = (
        False  # absent differs from zero; if False a zero value is not written, unless `always`
    )
    always: bool = (
        False  # written even when empty: {}, [], 0, "", false; not what Go writes as null
    )
    null: Literal["", "absent", "empty"] = ""  # when an array that is always written is null
    loose: bool = False  # an object or any other JSON value (JSONSchemaPropsOrBool)
    union: str = ""  # discriminator field of an object of which only one other field may be set
    definition: str = (
        ""  # OpenAPI definition, io.k8s.api.core.v1.PodSpec; "" where the node is inline
    )
    description: str = (
        ""  # description of the type; that of a field of a built-in kind is in `explanations`
    )
    gvk: GroupVersionKind | None = None  # of a type that is a top-level object

    @property
    def name(self) -> str:
        """The last part of the definition's name: PodSpec."""
        return self.definition.rpartition(".")[2]

    def at(self, path: str) -> Schema | None:
        """Return the node at a path such as ``spec.containers[0].name`` or ``metadata.labels[app]``, or None."""
        node: Schema | None = self
        for step, bracketed in steps(path):
            if node is None:
                return None
            node = node.items if bracketed else node.fields.get(step, node.items)
        return node

    def fresh_default(self) -> Any:
        """Return a copy of the default; UNSET if there is none."""
        value = self.default
        if callable(value):
            return value()
        return _copy(value) if isinstance(value, dict | list) else value


def field_path(path: str, name: str) -> str:
    """Return the path of a field of the object at `path`: ``spec`` and ``replicas`` make ``spec.replicas``."""
    return f"{path}.{name}" if path else name


def key_path(path: str, key: str) -> str:
    """Return the path of a value of the map at `path`: ``metadata.labels[app]``."""
    return f"{path}[{key}]"


_STEP = re.compile(r"\[([^\]]*)\]|\.?([^.\[]+)")


def steps(path: str) -> Iterator[tuple[str, bool]]:
    """Split a path into names; the flag says whether the name was in brackets."""
    for match in _STEP.finditer(path):
        bracketed = match[1] is not None
        yield (match[1] if bracketed else match[2]), bracketed


def compile_struct(type_: type[Model]) -> Schema:
    """Compile an API type to its tree, once per type; thread-safe."""
    return _COMPILED.get(type_) or _compile_whole(type_)


_COMPILED: dict[type[Model], Schema] = {}  # whole trees
_OBJECTS: dict[
    type[Model], Schema
] = {}  # those under construction too, so that a type may contain itself
_LOCK = RLock()  # no other thread may see a tree under construction


def _compile_whole(type_: type[Model]) -> Schema:
    with _LOCK:
        node = _object(type_)
        _COMPILED.update(_OBJECTS)
        return node


def _object(type_: type[Model]) -> Schema:
    if (known := _OBJECTS.get(type_)) is not None:
        return known
    fields: dict[str, Schema] = {}
    notes = {info.encode_name: _unwrap(info.type) for info in msgspec.structs.fields(type_)}
    node = _OBJECTS[type_] = Schema(
        type="object",
        fields=MappingProxyType(fields),
        required=tuple(name for name, (_, note, _) in notes.items() if note.required),
        definition=definition_name(type_),
        map_type=type_.map_type,
        description=(type_.__doc__ or "").partition("\n")[0],
        gvk=type_.gvk if issubclass(type_, Kind) else None,
    )
    for name, (inner, note, optional) in notes.items():
        fields[name] = _compile(inner, note, optional=optional)
    return node


_DEFINITION_PREFIXES = {
    "meta": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
    "apiregistration": "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1",
}


def definition_name(type_: type[Model]) -> str:
    """Return the name of the OpenAPI definition of a type, derived from its module."""
    group, _, version = (
        type_.__module__.removeprefix("kubelite.api.kinds.").partition(".")[0].partition("_")
    )
    prefix = _DEFINITION_PREFIXES.get(group, f"io.k8s.api.{group}.{version or 'v1'}")
    return f"{prefix}.{type_.__name__}"


def _unwrap(annotation: Any) -> tuple[Any, Note, bool]:
    """Return the bare type, its merged notes, and whether it is optional (`| None`)."""
    facts: dict[str, Any] = {}
    optional = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *notes = get_args(annotation)
            for note in notes:
                _merge(facts, note)
        elif origin in {Union, UnionType} and NoneType in get_args(annotation):
            optional = True
            rest = tuple(arg for arg in get_args(annotation) if arg is not NoneType)
            annotation = Union[rest]  # noqa: UP007 -- made from a tuple
        else:
            return annotation, Note(**facts), optional


_NO_NOTE = Note()


def _merge(facts: dict[str, Any], note: Any) -> None:
    if not isinstance(note, Note):
        return
    for name in note.__struct_fields__:
        value = getattr(note, name)
        if value is not getattr(_NO_NOTE, name):
            facts.setdefault(name, value)


_SCALARS: dict[Any, NodeType] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    Any: "any",
}
_BY_FORMAT: dict[str, NodeType] = {
    "quantity": "quantity",
    "date-time": "time",
    "date-time-micro": "time",
    "int-or-string": "int-or-string",
}


def _compile(annotation: Any, note: Note, *, optional: bool) -> Schema:
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, Model):
        node = _object(origin)
    elif origin is list:
        node = Schema(type="array", items=_nested(annotation, 0))
    elif origin is dict and note.preserve:
        node = Schema(type="any")
    elif origin is dict:
        node = Schema(type="map", items=_nested(annotation, 1))
    elif note.format in _BY_FORMAT:
        node = Schema(type=_BY_FORMAT[note.format])
    elif origin is Union or origin is UnionType:
        model = next(arg for arg in get_args(annotation) if arg in _OBJECTS)
        node = replace(_OBJECTS[model], loose=True)
    else:
        node = Schema(type=_SCALARS[annotation])
    optional = optional and not note.null
    always = not optional and (
        node.type == "object"
        or (
            (note.always or (note.required and not note.omit_empty))
            and node.type not in {"time", "any"}
        )
    )
    return replace(
        node,
        format=note.format if node.type not in {"quantity", "int-or-string"} else "",
        default=note.default,
        enum=note.enum,
        list_type=note.list_type,
        list_keys=note.list_keys,
        map_type=note.map_type or node.map_type,
        merge_key=note.merge_key,
        retain_keys=note.retain_keys,
        patch_replaces=note.patch_replaces,
        preserve=note.preserve,
        embedded=note.embedded,
        union=note.union,
        pointer=optional,
        always=always,
        null=note.null,
    )


def _nested(annotation: Any, position: int) -> Schema:
    inner, note, optional = _unwrap(get_args(annotation)[position])
    return _compile(inner, note, optional=optional)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
