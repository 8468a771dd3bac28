from kubelite.api.machinery.openapi import Definitions
from unit.api.machinery.openapi_rows import CATS, PODS


def test_definitions_carry_what_patching_and_applying_need() -> None:
    definitions = Definitions(3)
    assert definitions.reference(PODS.schema) == {
        "$ref": "#/components/schemas/io.k8s.api.core.v1.Pod"
    }
    pod = definitions.schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "Pod"}]
    spec = definitions.schemas["io.k8s.api.core.v1.PodSpec"]
    containers = spec["properties"]["containers"]
    assert spec["required"] == ["containers"]
    assert containers["items"] == {"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-type"] == "map"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert spec["properties"]["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    port = definitions.schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]
    assert port["protocol"]["default"] == "TCP"
    finalizers = definitions.schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"][
        "properties"
    ]
    assert finalizers["finalizers"]["x-kubernetes-patch-strategy"] == "merge"
    assert "x-kubernetes-patch-merge-key" not in finalizers["finalizers"]


def test_a_type_met_within_its_list_has_its_kind_too() -> None:
    definitions = Definitions(3)
    definitions.list_of(PODS)
    pod = definitions.schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "Pod"}]


def test_every_reference_has_its_definition() -> None:
    for version in (2, 3):
        definitions = Definitions(version)
        definitions.reference(PODS.schema)
        definitions.list_of(PODS)
        mentioned = {ref.rpartition("/")[2] for ref in _references(definitions.schemas)}
        assert mentioned <= definitions.schemas.keys()


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for item in value.values() for ref in _references(item)]
    if isinstance(value, list):
        return [ref for item in value for ref in _references(item)]
    return []


def test_custom_kinds_are_spelt_out() -> None:
    definitions = Definitions(3)
    definitions.reference(CATS.schema)
    spec = definitions.schemas["com.example.v1.Cat"]["properties"]["spec"]
    assert spec["required"] == ["lives"]
    assert spec["properties"]["lives"] == {
        "description": "How many remain.",
        "type": "integer",
        "format": "int32",
        "default": 9,
    }
    assert spec["properties"]["mood"] == {
        "type": "string",
        "enum": ["good", "bad"],
        "nullable": True,
    }
    assert spec["properties"]["rest"]["x-kubernetes-preserve-unknown-fields"]
    assert definitions.list_of(CATS) == {"$ref": "#/components/schemas/com.example.v1.CatList"}
    assert definitions.schemas["com.example.v1.CatList"]["x-kubernetes-group-version-kind"] == [
        {"group": "example.com", "version": "v1", "kind": "CatList"}
    ]
