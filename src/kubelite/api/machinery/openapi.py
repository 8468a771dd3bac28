"""The input of both versions of OpenAPI: served resources as plain data, and the definitions of their types.

A definition becomes JSON schema with Kubernetes' extensions: merge keys, list and map types, group, version and kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from msgspec import UNSET, Struct

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.explanations import explanation
from kubelite.api.machinery.openapi_custom import (
    JSON,
    CustomType,
    Version,
    list_definition,
    object_definition,
)
from kubelite.api.machinery.schema import Schema, compile_struct

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
TIME, MICRO_TIME, PATCH = f"{_META}.Time", f"{_META}.MicroTime", f"{_META}.Patch"

VERSION = "io.k8s.apimachinery.pkg.version.Info"
_VERSION_FIELDS = {
    "major": "First number of the version of Kubernetes.",
    "minor": "Second number of the version of Kubernetes.",
    "gitVersion": "The whole version.",
    "gitCommit": "The commit it was built from.",
    "gitTreeState": "Whether it was built from that commit alone.",
    "buildDate": "When it was built.",
    "goVersion": "The version of Go it was built with.",
    "compiler": "What compiled it.",
    "platform": "The system and machine it runs on.",
}
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
    """A subresource with a path of its own."""

    name: str
    verbs: tuple[str, ...]
    kind: GroupVersionKind
    schema: Schema | CustomType | None = (
        None  # None: request and response are no objects (logs, exec, proxy)
    )


class Served(Struct, frozen=True, kw_only=True):
    """A resource as OpenAPI describes it."""

    group: str
    version: str
    plural: str
    kind: GroupVersionKind
    namespaced: bool
    verbs: tuple[str, ...]
    schema: Schema | CustomType
    subresources: tuple[ServedSubresource, ...] = ()
    answers_whole: bool = False  # a deletion returns the object instead of a Status

    @property
    def custom(self) -> bool:
        """Whether it is a custom resource."""
        return isinstance(self.schema, CustomType)

    @property
    def group_path(self) -> str:
        """Return the path of the group version: ``api/v1``, ``apis/apps/v1``."""
        return f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"


class Definitions:
    """Collects the JSON schemas of the referenced types, by their names."""

    def __init__(self, version: Version, known: Set[str] = frozenset()) -> None:
        """Types named in `known` are referenced, and not added."""
        self.schemas: dict[str, JSON] = {}
        self._known = known
        self._version: Version = version
        self._prefix = "#/components/schemas/" if version == 3 else "#/definitions/"

    def reference(self, schema: Schema | CustomType) -> JSON:
        """Return a reference to a type; adds its definition and those that it references."""
        if self._lacks(schema.definition):
            self.schemas[schema.definition] = {}  # before its fields: a type may contain itself
            self.schemas[schema.definition] = (
                self._definition(schema)
                if isinstance(schema, Schema)
                else object_definition(schema, self._version, self._envelope(ObjectMeta))
            )
        return self._to(schema.definition)

    def named(self, name: str) -> JSON:
        """Return a reference to a type whose JSON is no object."""
        if self._lacks(name):
            self.schemas[name] = {"description": _DESCRIPTIONS[name], **self._shape(name)}
        return self._to(name)

    def version(self) -> JSON:
        """Return a reference to the type of the version document, which no other type references."""
        if self._lacks(VERSION):
            self.schemas[VERSION] = {
                "description": "The version of a server.",
                "type": "object",
                "required": list(_VERSION_FIELDS),
                "properties": {
                    name: {"description": about, "type": "string"}
                    for name, about in _VERSION_FIELDS.items()
                },
            }
        return self._to(VERSION)

    def list_of(self, resource: Served) -> JSON:
        """Return a reference to the list type of a resource."""
        type_ = resource.schema
        if isinstance(type_, Schema):
            kind = resource.kind._replace(kind=f"{resource.kind.kind}List")
            return self.reference(compile_struct(kinds()[kind]))
        if self._lacks(type_.list_definition):
            items = {"type": "array", "items": self.reference(type_)}
            envelope = self._envelope(ListMeta)
            self.schemas[type_.list_definition] = list_definition(
                type_, self._described(items, explanation("", "items")), envelope
            )
        return self._to(type_.list_definition)

    def _envelope(self, metadata: type[ObjectMeta | ListMeta]) -> dict[str, JSON]:
        """Return the schemas of the fields that every object and list has."""
        fields = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": self.reference(compile_struct(metadata)),
        }
        return {
            name: self._described(field, explanation("", name)) for name, field in fields.items()
        }

    def _lacks(self, name: str) -> bool:
        return name not in self.schemas and name not in self._known

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
        """Return the inline schema of an object."""
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
        """Add a description to a schema; version 3 allows no siblings of a reference."""
        if not about:
            return value
        if self._version == 3 and "$ref" in value:
            return {"description": about, "allOf": [value]}
        return {"description": about, **value}

    def value(self, schema: Schema) -> JSON:
        """Return the schema of a value; a reference if its type has a name."""
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
                made: JSON = {"type": schema.type}
                if schema.format:
                    made["format"] = schema.format
                if schema.enum:
                    made["enum"] = list(schema.enum)
                return made


def _extensions(schema: Schema) -> JSON:
    made: JSON = {}
    if schema.default is not UNSET:
        made["default"] = schema.fresh_default()
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
