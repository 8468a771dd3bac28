import asyncio
import json
from collections.abc import Callable
from typing import TypeVar
from weakref import ref

import pytest
from fakes.recorded_offload import RecordedOffload

from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_pages import IDENTITY, SERVER
from kubelite.api.machinery.openapi_v2 import AS_JSON, OpenAPIV2
from kubelite.limits import INLINE_WORK, OPENAPI_SCHEMAS
from unit.api.machinery.openapi_rows import (
    CATS,
    DEPLOYMENTS,
    PODS,
    custom_row,
    document,
    encoded_document,
)

T = TypeVar("T")


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


async def test_joined_parts_are_the_document_that_one_part_would_be() -> None:
    rows = [PODS, CATS, DEPLOYMENTS, custom_row("dogs", "b.example.com")]
    openapi = OpenAPIV2(lambda: rows)
    made, whole = json.loads((await openapi.json()).body), document(rows, SERVER)
    assert made == whole
    assert list(made) == list(whole)
    encoded = (await openapi.protobuf()).body
    assert len(encoded) == len(encoded_document(rows, SERVER))


async def test_built_in_kinds_alone_are_the_document_to_the_byte() -> None:
    rows = [PODS, DEPLOYMENTS]
    openapi = OpenAPIV2(lambda: rows)
    assert (await openapi.json()).body == encoded_document(rows, SERVER, AS_JSON)
    assert (await openapi.protobuf()).body == encoded_document(rows, SERVER)


async def test_a_change_is_paid_for_by_its_group_version() -> None:
    rows = [PODS, *(custom_row("cats", f"g{number}.example.com") for number in range(100))]
    offload = RecordedOffload()
    openapi = OpenAPIV2(lambda: rows, offload=offload)
    first = await openapi.json()
    assert await openapi.json() is first
    done = len(offload.costs)
    assert done == 1 + 1 + 100 + 1, "built-in kinds, sizes of schemas, group versions, joining"
    rows.append(custom_row("dogs", "g7.example.com"))
    second = await openapi.json()
    assert len(offload.costs) == done + 3, "the size of one schema, one group version, joining"
    assert offload.costs[-3] > INLINE_WORK.value
    assert b"com.example.g7.v1.Dogs" in second.body
    del rows[1]
    third = await openapi.json()
    assert b"com.example.g0.v1.Cats" not in third.body
    assert max(offload.costs[-2:-1]) == 0, "no schema to measure, and no part to build"
    assert json.loads(third.body)["definitions"].keys() >= {
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        "com.example.g7.v1.DogsList",
    }


async def test_types_stand_once_in_the_document() -> None:
    rows = [custom_row("cats", "a.example.com"), custom_row("cats", "b.example.com")]
    body = (await OpenAPIV2(lambda: rows).json()).body
    assert body.count(b'"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta":') == 1
    assert body.count(b'"name-path":') == 1


async def test_schemas_past_the_limit_lose_their_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [PODS, custom_row("cats"), custom_row("dogs", "b.example.com", "much")]
    openapi = OpenAPIV2(lambda: rows)
    assert b"much" in (await openapi.json()).body
    monkeypatch.setattr(OPENAPI_SCHEMAS, "value", 200)
    rows.append(custom_row("emus", "c.example.com"))
    made = await openapi.json()
    assert b"much" in made.body
    assert "properties" not in json.loads(made.body)["definitions"]["com.example.c.v1.Emus"]


async def test_the_hash_needs_no_document_and_documents_are_not_kept() -> None:
    rows = [PODS, custom_row("cats")]
    offload = RecordedOffload()
    openapi = OpenAPIV2(lambda: rows, offload=offload)
    first = await openapi.hash("json")
    built = len(offload.costs)
    made = await openapi.json()
    assert (made.hash, len(offload.costs)) == (first, built + 1)
    assert await openapi.json() is made, "while somebody has it"
    gone = ref(made)
    del made
    assert gone() is None
    assert (await openapi.json()).hash == first
    assert len(offload.costs) == built + 2, "joined again"
    assert await openapi.hash("protobuf") != first
    rows.append(custom_row("dogs"))
    assert await openapi.hash("json") != first


async def test_a_build_that_is_cut_off_is_completed_by_the_next_request() -> None:
    rows = [PODS, custom_row("cats"), custom_row("dogs", "b.example.com")]

    class CutOff(RecordedOffload):
        async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
            made = await super().run(cost_bytes, work)
            if len(self.costs) == 3:
                raise asyncio.CancelledError
            return made

    openapi = OpenAPIV2(lambda: rows, offload=CutOff())
    with pytest.raises(asyncio.CancelledError):
        await openapi.json()
    made = json.loads((await openapi.json()).body)
    assert made == document(rows, SERVER)


async def test_a_custom_kind_cannot_take_the_place_of_a_built_in_type() -> None:
    """Its group reversed may spell the name of another definition."""
    impostor = custom_row("pod", "core.api.k8s.io")
    name = impostor.schema.definition
    assert name == "io.k8s.api.core.v1.Pod"
    made = json.loads((await OpenAPIV2(lambda: [impostor, PODS]).json()).body)
    assert made["definitions"][name] == document([PODS])["definitions"][name]
