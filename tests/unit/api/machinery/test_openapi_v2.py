import json

from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_v2 import OpenAPIV2, document
from unit.api.machinery.openapi_rows import CATS, DEPLOYMENTS, PODS


async def test_one_document_has_everything() -> None:
    openapi = OpenAPIV2(lambda: [PODS, DEPLOYMENTS])
    made = json.loads((await openapi.json()).body)
    assert made["swagger"] == "2.0"
    assert "/api/v1/namespaces/{namespace}/pods" in made["paths"]
    assert "io.k8s.api.apps.v1.Deployment" in made["definitions"]


async def test_it_is_made_again_when_something_comes_or_goes() -> None:
    rows: list[Served] = [PODS]
    openapi = OpenAPIV2(lambda: rows)
    first = await openapi.json()
    assert await openapi.json() is first
    rows.append(CATS)
    assert (await openapi.json()).hash != first.hash
    assert (await openapi.protobuf()).body


def test_bodies_are_parameters() -> None:
    made = document([DEPLOYMENTS])
    item = made["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    body = item["put"]["parameters"][0]
    assert body == {
        "name": "body",
        "in": "body",
        "required": True,
        "schema": {"$ref": "#/definitions/io.k8s.api.apps.v1.Deployment"},
    }
    assert "required" not in item["delete"]["parameters"][0]
    assert item["patch"]["consumes"][0] == "application/apply-patch+yaml"


def test_words_stand_beside_references() -> None:
    deployment = document([DEPLOYMENTS])["definitions"]["io.k8s.api.apps.v1.Deployment"]
    assert deployment["properties"]["spec"]["$ref"]
    assert deployment["properties"]["spec"]["description"]
