"""The types against the published schemas: every type, every field, and what is noted about it."""

from typing import Any

import pytest
from reference import published_schemas, reference_json

from kubelite.api.kinds.catalog import kinds
from kubelite.api.kinds.model import Model
from kubelite.api.machinery.schema import Schema, compile_struct

# Their JSON is no object, or they stand for more than one.
NO_OBJECTS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apimachinery.pkg.version.Info",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
}


def _types(type_: type[Model] = Model) -> dict[str, Schema]:
    kinds()
    found: dict[str, Schema] = {}
    for each in type_.__subclasses__():
        if each.__name__ != "Kind":
            schema = compile_struct(each)
            found[schema.definition] = schema
        found |= _types(each)
    return found


SOURCES = [published_schemas(), *reference_json("schemas-1.36.json")]
PUBLISHED = SOURCES[0]
OURS = _types()
BOTH = sorted(PUBLISHED.keys() & OURS.keys())


def test_no_type_is_missing() -> None:
    for published in SOURCES:
        assert published.keys() - OURS.keys() - NO_OBJECTS == set()


@pytest.mark.parametrize("name", BOTH)
def test_a_type_has_all_its_fields(name: str) -> None:
    ours = OURS[name]
    for source in SOURCES:
        published = source[name]
        assert ours.fields.keys() == published.get("properties", {}).keys()
        assert set(ours.required) == set(published.get("required", ()))
        for field, wanted in published.get("properties", {}).items():
            assert facts_of(ours.fields[field]) == published_facts(wanted), f"{name}.{field}"


def facts_of(schema: Schema) -> dict[str, Any]:
    """Return what the published schemas say too, in their words."""
    strategy = ["merge"] * bool(schema.merge_key) + ["retainKeys"] * schema.retain_keys
    strategy += ["replace"] * schema.patch_replaces
    return {
        "merge key": schema.merge_key.strip("-"),
        "strategy": ",".join(strategy),
        "list type": schema.list_type,
        "list keys": list(schema.list_keys),
        "map type": schema.map_type,
        "type": type_of(schema),
    }


def type_of(schema: Schema) -> str:
    match schema.type:
        case "array" | "map" if schema.items is not None:
            return f"{schema.type} of {type_of(schema.items)}"
        case "object" if schema.loose:
            return "anything"
        case "object":
            return schema.definition
        case "time":
            return "MicroTime" if schema.format == "date-time-micro" else "Time"
        case "any":
            return "anything"
        case _:
            return f"{schema.type} {schema.format}".strip()


def published_facts(wanted: dict[str, Any]) -> dict[str, Any]:
    target = PUBLISHED.get(wanted.get("$ref", ""), {})
    return {
        "merge key": wanted.get("x-kubernetes-patch-merge-key", ""),
        "strategy": wanted.get("x-kubernetes-patch-strategy", ""),
        "list type": wanted.get("x-kubernetes-list-type", ""),
        "list keys": wanted.get("x-kubernetes-list-map-keys", []),
        "map type": wanted.get("x-kubernetes-map-type", target.get("x-kubernetes-map-type", "")),
        "type": published_type(wanted),
    }


NAMED = {
    "Quantity": "quantity",
    "IntOrString": "int-or-string",
    "Time": "Time",
    "MicroTime": "MicroTime",
}


def published_type(wanted: dict[str, Any]) -> str:
    if reference := wanted.get("$ref", ""):
        if reference not in NO_OBJECTS:
            return str(reference)
        return NAMED.get(reference.rpartition(".")[2], "anything")
    match wanted.get("type"):
        case "array":
            return f"array of {published_type(wanted['items'])}"
        case "object" if "additionalProperties" in wanted:
            return f"map of {published_type(wanted['additionalProperties'])}"
        case "object" | None:
            return "anything"
        case type_:
            return f"{type_} {wanted.get('format', '')}".strip()
