import json

from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_pages import IDENTITY, SERVER
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
        "description": "The object to write.",
        "required": True,
        "schema": {"$ref": "#/definitions/io.k8s.api.apps.v1.Deployment"},
    }
    assert "required" not in item["delete"]["parameters"][0]
    assert item["patch"]["consumes"][0] == "application/apply-patch+yaml"


def test_words_stand_beside_references() -> None:
    deployment = document([DEPLOYMENTS])["definitions"]["io.k8s.api.apps.v1.Deployment"]
    assert deployment["properties"]["spec"]["$ref"]
    assert deployment["properties"]["spec"]["description"]


def test_operations_share_their_parameters() -> None:
    made = document([PODS, DEPLOYMENTS])
    patch = made["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    inline = {one["name"] for one in patch["parameters"] if "name" in one}
    assert inline == {"body", "dryRun", "fieldValidation"}, "where kubectl looks for them"
    assert {"$ref": "#/parameters/fieldManager"} in patch["parameters"]
    assert made["parameters"]["namespace-path"]["required"] is True
    assert made["parameters"]["limit"]["type"] == "integer"
    assert "log" in made["parameters"]["container-log"]["description"]
    assert all(one["description"] for one in made["parameters"].values())


def test_enumerations_are_told_of_fields_items_and_values() -> None:
    made = document([PODS])["definitions"]
    container = made["io.k8s.api.core.v1.Container"]["properties"]
    assert container["imagePullPolicy"]["enum"] == ["Always", "IfNotPresent", "Never"]
    claim = made["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]
    assert claim["accessModes"]["items"]["enum"][0] == "ReadOnlyMany"


def test_pages_besides_resources_are_told() -> None:
    paths = document([PODS, DEPLOYMENTS], (*SERVER, *IDENTITY))["paths"]
    pages = {path: item["get"] for path, item in paths.items() if path.endswith("/")}
    assert {path: page["operationId"] for path, page in pages.items()} == {
        "/.well-known/openid-configuration/": "getServiceAccountIssuerOpenIDConfiguration",
        "/api/": "getCoreAPIVersions",
        "/api/v1/": "getCoreV1APIResources",
        "/apis/": "getAPIVersions",
        "/apis/apps/": "getAppsAPIGroup",
        "/apis/apps/v1/": "getAppsV1APIResources",
        "/openid/v1/jwks/": "getServiceAccountIssuerOpenIDKeyset",
        "/version/": "getCodeVersion",
    }
    version = pages["/version/"]["responses"]["200"]["schema"]["$ref"]
    assert version == "#/definitions/io.k8s.apimachinery.pkg.version.Info"
