"""OpenAPI of other API servers: chosen, merged, and as version 3."""

import json
from typing import Any

import msgspec
import pytest

from kubelite.api.machinery.openapi_foreign import (
    ForeignSpec,
    Malformed,
    Merged,
    chosen,
    merge,
    version_3,
)

PATH = "apis/things.example.com/v1"
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
KINDS = "x-kubernetes-group-version-kind"


def ref(name: str, place: str = "definitions") -> dict[str, str]:
    return {"$ref": f"#/{place}/{name}"}


def operation(*, shown: str = "Thing", parameters: list[Any] | None = None) -> dict[str, Any]:
    return {
        "operationId": "listThing",
        "tags": ["things"],
        "consumes": ["*/*"],
        "produces": ["application/json"],
        "parameters": parameters or [],
        "responses": {"200": {"description": "OK", "schema": ref(shown)}},
        "x-kubernetes-action": "list",
        "deprecated": True,
    }


def document(**more: Any) -> dict[str, Any]:
    """Return a document with things, and with more than is delegated."""
    return {
        "swagger": "2.0",
        "paths": {
            f"/{PATH}/things": {"get": operation(parameters=[ref("limit", "parameters")])},
            "/apis/apps/v1/deployments": {"get": operation(shown="Deployment")},
            "/apis/things.example.com/v1beta1/things": {"get": operation(shown="Old")},
            "/version": {"get": operation(shown="Info")},
        },
        "definitions": {
            "Thing": {"type": "object", "properties": {"metadata": ref(META)}},
            META: {"type": "object", "properties": {"owner": ref("Owner"), "again": ref("Thing")}},
            "Owner": {"type": "object"},
            "Deployment": {"type": "object"},
            "Old": {"type": "object"},
            **more,
        },
        "parameters": {
            "limit": {"name": "limit", "in": "query", "type": "integer", "uniqueItems": True},
            "other": {"name": "other", "in": "query", "type": "string"},
        },
    }


def spec_of(value: dict[str, Any], path: str = PATH) -> ForeignSpec:
    return chosen(json.dumps(value).encode(), [path])[path]


def content(spec: ForeignSpec) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(spec.content)
    return value


def test_only_what_is_delegated_is_chosen_with_all_it_refers_to() -> None:
    found = chosen(json.dumps(document()).encode(), [PATH, "apis/things.example.com/v2"])
    assert found.keys() == {PATH}
    value = content(found[PATH])
    assert value["paths"].keys() == {f"/{PATH}/things"}
    assert value["definitions"].keys() == {"Thing", META, "Owner"}
    assert value["parameters"].keys() == {"limit"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"paths":[1]}',
        b'{"paths":' + b"[" * 100_000,
        b'{"paths":{"/apis/things.example.com/v1/x":1}}',
        b'{"paths":{"/apis/things.example.com/v1/x":{"get":[]}}}',
        b'{"paths":{"/apis/things.example.com/v1/x":{"get":{"responses":[1]}}}}',
        b'{"paths":{"/apis/things.example.com/v1/x":{"get":{"parameters":[{"name":1}]}}}}',
        b'{"paths":{"/apis/things.example.com/v1/x":{"get":{"tags":[1]}}}}',
        b'{"paths":{},"definitions":[]' + b"," * 1_000_000,
    ],
)
def test_what_is_no_openapi_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        chosen(body, [PATH])


@pytest.mark.parametrize(
    "odd",
    [
        {"type": 5},
        {"type": ["object"]},
        {"properties": []},
        {"properties": {"a": 1}},
        {"items": 1},
        {"maxLength": "a"},
        {"maximum": "a"},
        {"required": [1]},
        {"maximum": 10**400},
    ],
)
def test_a_definition_that_cannot_be_encoded_is_refused_with_its_document(odd: Any) -> None:
    with pytest.raises(Malformed):
        spec_of(document(Thing=odd))


def test_a_definition_of_great_depth_is_refused_or_read() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        deep = {"type": "array", "items": deep}
    assert "Thing" in content(spec_of(document(Thing=deep)))["definitions"]


def known(**definitions: Any) -> dict[str, bytes]:
    return {name: msgspec.json.encode({name: value})[1:-1] for name, value in definitions.items()}


def check(added: Merged, local: dict[str, bytes]) -> None:
    """Check that all references lead somewhere, and that nothing local is changed."""
    text = json.dumps([added.paths, added.definitions])
    for part in text.split("#/definitions/")[1:]:
        name = part.partition('"')[0]
        assert name in added.definitions or name in local
    assert not added.definitions.keys() & local.keys()


def test_equal_definitions_are_shared_and_others_renamed() -> None:
    spec = spec_of(document())
    own = content(spec)["definitions"]
    same = known(Owner={**own["Owner"], KINDS: [{"kind": "Other"}]})
    local = {**same, META: msgspec.json.encode({META: {"type": "string"}})[1:-1]}
    added = merge([spec], local, {})
    assert added.definitions.keys() == {"Thing", f"{META}_v2"}
    assert added.definitions["Thing"]["properties"]["metadata"] == ref(f"{META}_v2")
    check(added, local)


def test_renamed_definitions_take_names_that_are_free() -> None:
    spec = spec_of(document(Owner={"type": "object"}, Owner_v2={"type": "string"}))
    local = known(
        Owner={"type": "integer"}, Owner_v3={"type": "number"}, Owner_v4={"type": "object"}
    )
    added = merge([spec], local, {})
    assert added.definitions[META]["properties"]["owner"] == ref("Owner_v2")
    crowded = known(
        Owner={"type": "integer"}, Owner_v2={"type": "number"}, Owner_v3={"type": "object"}
    )
    added = merge([spec], crowded, {})
    assert added.definitions[META]["properties"]["owner"] == ref("Owner_v3")
    check(added, crowded)


def test_of_two_servers_each_keeps_its_own() -> None:
    first = spec_of(document())
    other = document(Owner={"type": "string"})
    path = "apis/others.example.com/v1"
    other["paths"] = {f"/{path}/others": {"get": operation()}}
    second = spec_of(other, path)
    added = merge([first, second, first], {}, {})
    assert added.definitions.keys() >= {"Thing", META, "Owner", "Owner_v2"}
    assert added.paths.keys() == {f"/{PATH}/things", f"/{path}/others"}
    check(added, {})


def test_parameters_are_renamed_too() -> None:
    spec = spec_of(document())
    added = merge([spec], {}, known(limit={"name": "limit", "in": "path"}))
    assert added.parameters.keys() == {"limit_v2"}
    (item,) = added.paths.values()
    assert item["get"]["parameters"] == [ref("limit_v2", "parameters")]


def test_version_3_says_the_same() -> None:
    value = document()
    value["paths"][f"/{PATH}/things"]["post"] = operation(
        parameters=[
            {"name": "body", "in": "body", "required": True, "schema": ref("Thing")},
            {"name": "pretty", "in": "query", "type": "string", "uniqueItems": True},
        ]
    )
    found = json.loads(version_3(spec_of(value)))
    thing = {"$ref": "#/components/schemas/Thing"}
    item = found["paths"][f"/{PATH}/things"]
    answers = {"200": {"description": "OK", "content": {"application/json": {"schema": thing}}}}
    assert found["openapi"] == "3.0.0"
    assert item["get"] == {
        "tags": ["things"],
        "operationId": "listThing",
        "parameters": [
            {
                "name": "limit",
                "in": "query",
                "description": "",
                "schema": {"type": "integer", "uniqueItems": True},
            }
        ],
        "responses": answers,
        "x-kubernetes-action": "list",
    }
    assert item["post"]["requestBody"] == {
        "content": {"*/*": {"schema": thing}},
        "required": True,
    }
    assert found["components"]["schemas"].keys() == {"Thing", META, "Owner"}
    assert "#/definitions/" not in json.dumps(found)
