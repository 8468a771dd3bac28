"""What both versions of OpenAPI are made from: served resources as plain data, type definitions, operations.

A definition becomes JSON schema with Kubernetes' extensions: merge keys, list and map types, group, version and kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from msgspec import UNSET, Struct

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.meta import DeleteOptions, ListMeta, Status
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.explanations import explanation
from kubelite.api.machinery.schema import Schema, compile_struct

JSON = dict[str, Any]
Version = Literal[2, 3]
Body = Literal["", "object", "patch", "options"]
Answer = Literal["object", "list", "status", "text"]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME, MICRO_TIME, PATCH = f"{_META}.Time", f"{_META}.MicroTime", f"{_META}.Patch"

_DESCRIPTIONS = {
    QUANTITY: "An amount with an optional unit: 500m is half of one, 1Ki is 1024, 1k is 1000.",
    INT_OR_STRING: "A whole number or a text, for instance a port's number or its name.",
    TIME: "A date in RFC 3339 form, in whole seconds.",
    MICRO_TIME: "A date in RFC 3339 form, with microseconds.",
    PATCH: "A change to an object; its form is told by the media type.",
}
_CONSTANT_SHAPES: Mapping[str, JSON] = {
    TIME: {"type": "string", "format": "date-time"},
    MICRO_TIME: {"type": "string", "format": "date-time"},
    PATCH: {"type": "object"},
}


class ServedSubresource(Struct, frozen=True):
    """A part of an object with a path of its own."""

    name: str
    verbs: tuple[str, ...]
    kind: GroupVersionKind
    schema: Schema | None = None  # None: what is sent and answered is no object (logs, exec, proxy)


class Served(Struct, frozen=True, kw_only=True):
    """A resource as OpenAPI tells of it."""

    group: str
    version: str
    plural: str
    kind: GroupVersionKind
    namespaced: bool
    verbs: tuple[str, ...]
    schema: Schema
    subresources: tuple[ServedSubresource, ...] = ()

    @property
    def group_path(self) -> str:
        """Return where its group version is served: ``api/v1``, ``apis/apps/v1``."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"


class Definitions:
    """Collects the JSON schemas of the types that are mentioned, under their names."""

    def __init__(self, version: Version) -> None:
        self.schemas: dict[str, JSON] = {}
        self._version: Version = version
        self._prefix = "#/components/schemas/" if version == 3 else "#/definitions/"

    def reference(self, schema: Schema) -> JSON:
        """Return a reference to a type, adding its definition and all it needs."""
        if schema.definition not in self.schemas:
            self.schemas[schema.definition] = {}  # before its fields: a type may contain itself
            self.schemas[schema.definition] = self._definition(schema)
        return self._to(schema.definition)

    def named(self, name: str) -> JSON:
        """Return a reference to one of the types whose JSON is no object."""
        if name not in self.schemas:
            self.schemas[name] = {"description": _DESCRIPTIONS[name], **self._shape(name)}
        return self._to(name)

    def list_of(self, resource: Served) -> JSON:
        """Return a reference to the list type of a resource; one is made for custom kinds."""
        kind = resource.kind._replace(kind=f"{resource.kind.kind}List")
        if (type_ := kinds().get(kind)) is not None:
            return self.reference(compile_struct(type_))
        name = f"{resource.schema.definition}List"
        if name not in self.schemas:
            items = {"type": "array", "items": self.reference(resource.schema)}
            self.schemas[name] = {
                "description": f"A list of {resource.kind.kind} objects.",
                "type": "object",
                "required": ["items"],
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": self._described(self.reference(compile_struct(ListMeta)), ""),
                    "items": items,
                },
                "x-kubernetes-group-version-kind": [kind._asdict()],
            }
        return self._to(name)

    def _to(self, name: str) -> JSON:
        return {"$ref": f"{self._prefix}{name}"}

    def _shape(self, name: str) -> JSON:
        if name in _CONSTANT_SHAPES:
            return dict(_CONSTANT_SHAPES[name])
        other = "number" if name == QUANTITY else "integer"
        if self._version == 2:
            return {"type": "string"} | ({"format": "int-or-string"} if other == "integer" else {})
        either = {"oneOf": [{"type": "string"}, {"type": other}]}
        return {**either, "format": "int-or-string"} if other == "integer" else either

    def _definition(self, schema: Schema) -> JSON:
        made: JSON = {"description": schema.description} if schema.description else {}
        made |= self._object(schema)
        if schema.map_type:
            made["x-kubernetes-map-type"] = schema.map_type
        if schema.gvk is not None:
            made["x-kubernetes-group-version-kind"] = [schema.gvk._asdict()]
        return made

    def _object(self, schema: Schema) -> JSON:
        """Return the schema of an object spelt out."""
        made: JSON = {"type": "object"}
        if schema.fields:
            made["properties"] = {
                name: self._property(schema, name, field) for name, field in schema.fields.items()
            }
        if schema.required:
            made["required"] = list(schema.required)
        if schema.items is not None:
            made["additionalProperties"] = self.value(schema.items)
        return made

    def _property(self, owner: Schema, name: str, schema: Schema) -> JSON:
        about = explanation(owner.definition, name) if owner.definition else ""
        about = about or schema.description or (schema.items.description if schema.items else "")
        return self._described(self.value(schema), about) | _extensions(schema)

    def _described(self, value: JSON, about: str) -> JSON:
        """Put words beside a schema; version 3 allows nothing beside a reference."""
        if not about:
            return value
        if self._version == 3 and "$ref" in value:
            return {"description": about, "allOf": [value]}
        return {"description": about, **value}

    def value(self, schema: Schema) -> JSON:
        """Return the schema of a value, by reference where its type has a name."""
        match schema.type:
            case "object" if schema.loose:
                self.reference(schema)
                return {}
            case "object":
                return self.reference(schema) if schema.definition else self._object(schema)
            case "array" if schema.items is not None:
                return {"type": "array", "items": self.value(schema.items)}
            case "map" if schema.items is not None:
                return {"type": "object", "additionalProperties": self.value(schema.items)}
            case "quantity":
                return self.named(QUANTITY)
            case "int-or-string":
                return self.named(INT_OR_STRING)
            case "time":
                return self.named(MICRO_TIME if schema.format == "date-time-micro" else TIME)
            case "any":
                return {"type": "object"} if schema.preserve else {}
            case _:
                return {"type": schema.type} | ({"format": schema.format} if schema.format else {})


def _extensions(schema: Schema) -> JSON:
    made: JSON = {}
    if schema.default is not UNSET:
        made["default"] = schema.fresh_default()
    if schema.enum:
        made["enum"] = list(schema.enum)
    if schema.nullable:
        made["nullable"] = True
    if schema.list_type:
        made["x-kubernetes-list-type"] = schema.list_type
    if schema.list_keys:
        made["x-kubernetes-list-map-keys"] = list(schema.list_keys)
    if schema.map_type:
        made["x-kubernetes-map-type"] = schema.map_type
    if schema.merge_key not in {"", "-"}:
        made["x-kubernetes-patch-merge-key"] = schema.merge_key
    strategy = ["merge"] * bool(schema.merge_key) + ["retainKeys"] * schema.retain_keys
    strategy += ["replace"] * schema.patch_replaces
    if strategy:
        made["x-kubernetes-patch-strategy"] = ",".join(strategy)
    if schema.preserve and schema.type != "any":
        made["x-kubernetes-preserve-unknown-fields"] = True
    if schema.embedded:
        made["x-kubernetes-embedded-resource"] = True
    return made


# ---- operations


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: str
    action: str  # x-kubernetes-action
    identifier: str
    about: str
    kind: GroupVersionKind
    parameters: tuple[str, ...] = ()
    body: Body = ""
    answer: Answer = "object"
    codes: tuple[str, ...] = ("200",)
    schema: Schema | None = None


class Path(Struct, frozen=True):
    """A path with its operations; `names` are the parameters within it."""

    path: str
    names: tuple[str, ...]
    operations: tuple[Operation, ...]


_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
PARAMETER_TYPES = {
    "allowWatchBookmarks": "boolean",
    "force": "boolean",
    "gracePeriodSeconds": "integer",
    "limit": "integer",
    "orphanDependents": "boolean",
    "sendInitialEvents": "boolean",
    "timeoutSeconds": "integer",
    "watch": "boolean",
}
PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)


def paths(resource: Served) -> Iterator[Path]:
    """Yield the paths of a resource, its subresources included."""
    root = f"/{resource.group_path}"
    scope, names = ("/namespaces/{namespace}", ("namespace",)) if resource.namespaced else ("", ())
    everywhere = f"{root}/{resource.plural}"
    collection, item = (
        f"{root}{scope}/{resource.plural}",
        f"{root}{scope}/{resource.plural}/{{name}}",
    )
    if resource.namespaced and "list" in resource.verbs:
        yield Path(everywhere, (), (_operation(resource, "list", "ForAllNamespaces"),))
    of_collection = tuple(_operations(resource, ("list", "create", "deletecollection")))
    if of_collection:
        yield Path(collection, names, of_collection)
    of_item = tuple(_operations(resource, ("get", "update", "patch", "delete")))
    if of_item:
        yield Path(item, ("name", *names), of_item)
    for subresource in resource.subresources:
        operations = tuple(
            _sub_operation(resource, subresource, verb)
            for verb in ("get", "create", "update", "patch")
            if verb in subresource.verbs
        )
        if operations:
            yield Path(f"{item}/{subresource.name}", ("name", *names), operations)


def _operations(resource: Served, verbs: Iterable[str]) -> Iterator[Operation]:
    for verb in verbs:
        if verb in resource.verbs:
            yield _operation(resource, verb)


class _Verb(NamedTuple):
    """How a verb is done over HTTP."""

    method: str
    action: str
    words: str
    parameters: tuple[str, ...]
    body: Body
    answer: Answer
    codes: tuple[str, ...]


_LIST_TO_DELETE = tuple(name for name in _LIST if name not in {"watch", "allowWatchBookmarks"})
_VERBS: Mapping[str, _Verb] = {
    "list": _Verb("get", "list", "list or watch objects of kind", _LIST, "", "list", ("200",)),
    "create": _Verb("post", "post", "create a", _WRITE, "object", "object", ("200", "201", "202")),
    "deletecollection": _Verb(
        "delete", "deletecollection", "delete all selected objects of kind",
        (*_DELETE, *_LIST_TO_DELETE), "options", "status", ("200",),
    ),
    "get": _Verb("get", "get", "read a", (), "", "object", ("200",)),
    "update": _Verb("put", "put", "replace a", _WRITE, "object", "object", ("200", "201")),
    "patch": _Verb(
        "patch", "patch", "change parts of a", (*_WRITE, "force"), "patch", "object", ("200", "201")
    ),
    "delete": _Verb("delete", "delete", "delete a", _DELETE, "options", "status", ("200", "202")),
}  # fmt: skip
_IDENTIFIERS = {"get": "read", "update": "replace", "deletecollection": "delete"}


def _operation(resource: Served, verb: str, suffix: str = "") -> Operation:
    how = _VERBS[verb]
    scope = "Collection" if verb == "deletecollection" else ""
    scope += "Namespaced" if resource.namespaced and not suffix else ""
    return Operation(
        method=how.method,
        action=how.action,
        identifier=_identifier(resource, verb, scope, suffix),
        about=f"{how.words} {resource.kind.kind}",
        kind=resource.kind,
        parameters=how.parameters,
        body=how.body,
        answer=how.answer,
        codes=how.codes,
        schema=resource.schema,
    )


def _sub_operation(resource: Served, subresource: ServedSubresource, verb: str) -> Operation:
    how = _VERBS[verb]
    scope = "Namespaced" if resource.namespaced else ""
    part = "".join(word.title() for word in subresource.name.split("-"))
    has_object = subresource.schema is not None
    return Operation(
        method=how.method,
        action=how.action if has_object else "connect",
        identifier=_identifier(resource, verb, scope, part),
        about=f"{how.words} {subresource.name} of a {resource.kind.kind}",
        kind=subresource.kind,
        parameters=how.parameters if has_object else (),
        body=how.body if has_object else "",
        answer="object" if has_object else "text",
        codes=how.codes,
        schema=subresource.schema,
    )


def _identifier(resource: Served, verb: str, scope: str, suffix: str) -> str:
    name = _IDENTIFIERS.get(verb, verb)
    return f"{name}{_group_name(resource)}{scope}{resource.kind.kind}{suffix}"


def _group_name(resource: Served) -> str:
    group = resource.group.removesuffix(".k8s.io").split(".")[0] or "core"
    return f"{group.title()}{resource.version.title()}"


def parameter_type(name: str) -> str:
    """Return the JSON type of a query parameter."""
    return PARAMETER_TYPES.get(name, "string")


def answer(definitions: Definitions, resource: Served, operation: Operation) -> JSON:
    """Return the schema of what an operation answers with."""
    match operation.answer:
        case "list":
            return definitions.list_of(resource)
        case "status":
            return definitions.reference(compile_struct(Status))
        case "object" if operation.schema is not None:
            return definitions.reference(operation.schema)
        case _:
            return {"type": "string"}


def body(definitions: Definitions, operation: Operation) -> JSON | None:
    """Return the schema of what an operation is sent."""
    match operation.body:
        case "patch":
            return definitions.named(PATCH)
        case "options":
            return definitions.reference(compile_struct(DeleteOptions))
        case "object" if operation.schema is not None:
            return definitions.reference(operation.schema)
        case _:
            return None
