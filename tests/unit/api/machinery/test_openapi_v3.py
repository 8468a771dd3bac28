import json
from functools import partial

import pytest
from fakes.recorded_offload import RecordedOffload

from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_document import OpenAPIDocument
from kubelite.api.machinery.openapi_v3 import (
    HASHES_A_STEP,
    KeptDocuments,
    OpenAPIV3,
    group_document,
)
from kubelite.limits import INLINE_WORK, OPENAPI_DOCUMENTS, OPENAPI_SCHEMAS
from unit.api.machinery.openapi_rows import CATS, DEPLOYMENTS, PODS, custom_row


async def test_the_index_names_each_document_by_its_content() -> None:
    openapi = OpenAPIV3(lambda: [PODS, DEPLOYMENTS])
    paths = json.loads((await openapi.index()).body)["paths"]
    assert list(paths) == ["api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version"]
    document = await openapi.document("apis/apps/v1")
    assert document is not None
    address = paths["apis/apps/v1"]["serverRelativeURL"]
    assert address == f"/openapi/v3/apis/apps/v1?hash={document.hash}"
    assert document.etag == f'"{document.hash}"'


async def test_documents_are_made_again_only_where_rows_changed() -> None:
    rows: list[Served] = [PODS, DEPLOYMENTS]
    openapi = OpenAPIV3(lambda: rows)
    before, index = await openapi.document("api/v1"), await openapi.index()
    rows.append(CATS)
    assert await openapi.document("api/v1") is before
    assert await openapi.document("apis/example.com/v1") is not None
    assert (await openapi.index()).hash != index.hash
    rows.remove(CATS)
    assert await openapi.document("apis/example.com/v1") is None
    assert (await openapi.index()).hash == index.hash


def test_operations_are_found_as_kubectl_finds_them() -> None:
    document = group_document([DEPLOYMENTS])
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert patch["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/io.k8s.api.apps.v1.Deployment"
    }


def test_words_stand_beside_references_in_all_of() -> None:
    schemas = group_document([DEPLOYMENTS])["components"]["schemas"]
    spec = schemas["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec"}]
    assert spec["description"]


async def test_each_page_has_a_document_of_its_own() -> None:
    openapi = OpenAPIV3(lambda: [DEPLOYMENTS])
    for path, type_ in (
        ("api", "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions"),
        ("apis", "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList"),
        ("apis/apps", "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup"),
        ("version", "io.k8s.apimachinery.pkg.version.Info"),
    ):
        document = await openapi.document(path)
        assert document is not None
        made = json.loads(document.body)
        assert list(made["paths"]) == [f"/{path}/"]
        content = made["paths"][f"/{path}/"]["get"]["responses"]["200"]["content"]
        reference = content["application/json"]["schema"]["$ref"]
        assert reference == f"#/components/schemas/{type_}"
        assert type_ in made["components"]["schemas"]


def test_parameters_are_described_and_enumerations_told() -> None:
    made = group_document([PODS])
    for item in made["paths"].values():
        shared = item.pop("parameters")
        assert all(one["description"] for one in shared)
        for operation in item.values():
            assert all(one["description"] for one in operation.get("parameters", ()))
    spec = made["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert spec["restartPolicy"]["enum"] == ["Always", "Never", "OnFailure"]


def test_no_list_of_parameters_is_empty() -> None:
    made = group_document([PODS])
    operations = [
        operation
        for item in made["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert any("parameters" not in one for one in operations)
    assert all(one["parameters"] for one in operations if "parameters" in one)


async def test_the_index_reads_schemas_and_builds_no_document_of_custom_resources() -> None:
    rows = [custom_row("cats", f"g{number}.example.com") for number in range(1000)]
    offload = RecordedOffload()
    openapi = OpenAPIV3(lambda: rows, (), offload)
    index = await openapi.index()
    steps = -(-len(rows) // HASHES_A_STEP)
    assert len(offload.costs) == steps
    assert min(offload.costs) > INLINE_WORK.value, "so it is done off the loop"
    assert await openapi.index() is index
    assert len(offload.costs) == steps
    path = "apis/g7.example.com/v1"
    document = await openapi.document(path)
    assert document is not None
    assert len(offload.costs) == steps + 1, "the one document that was asked for"
    assert await openapi.document(path) is document
    listed = json.loads(index.body)["paths"][path]["serverRelativeURL"]
    assert listed == f"/openapi/v3/{path}?hash={document.hash}"


async def test_a_change_is_paid_for_by_its_group_version_alone() -> None:
    rows = [custom_row("cats", "a.example.com"), custom_row("cats", "b.example.com")]
    offload = RecordedOffload()
    openapi = OpenAPIV3(lambda: rows, (), offload)
    paths = [f"apis/{row.group}/v1" for row in rows]
    before = [await openapi.document(path) for path in paths]
    first = await openapi.index()
    done = len(offload.costs)
    rows.append(custom_row("dogs", "b.example.com"))
    second = await openapi.index()
    assert len(offload.costs) == done + 1, "the hash of one group version"
    after = [await openapi.document(path) for path in paths]
    assert after[0] is before[0]
    assert len(offload.costs) == done + 2
    assert after[1] is not None
    assert b"com.example.b.v1.Dogs" in after[1].body
    assert first.hash != second.hash
    rows[:] = rows[:1]
    assert await openapi.document(paths[1]) is None
    assert paths[1].encode() not in (await openapi.index()).body


async def test_the_same_schemas_have_the_same_hash_in_another_process() -> None:
    hashes = set()
    for _ in range(2):
        rows = [custom_row("cats", words="x")]
        document = await OpenAPIV3(partial(list, rows)).document("apis/example.com/v1")
        assert document is not None
        hashes.add(document.hash)
    assert len(hashes) == 1


async def test_a_document_past_the_limit_has_no_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPENAPI_SCHEMAS, "value", 10)
    document = await OpenAPIV3(lambda: [custom_row("cats", words="much")]).document(
        "apis/example.com/v1"
    )
    assert document is not None
    schemas = json.loads(document.body)["components"]["schemas"]
    assert "properties" not in schemas["com.example.v1.Cats"]
    assert b"much" not in document.body


def test_kept_documents_are_those_asked_for_last() -> None:
    kept = KeptDocuments(10)
    first, second = OpenAPIDocument(b"x" * 5, "1"), OpenAPIDocument(b"y" * 5, "2")
    kept.keep("a", first)
    kept.keep("b", second)
    assert kept.find("a") is first
    reached = OPENAPI_DOCUMENTS.times_reached
    kept.keep("c", OpenAPIDocument(b"z", "3"))
    assert OPENAPI_DOCUMENTS.times_reached == reached + 1
    assert (kept.find("b"), kept.bytes) == (None, 6)
    kept.keep("d", OpenAPIDocument(b"z" * 11, "4"))
    assert (len(kept), kept.bytes) == (0, 0)
    kept.keep("a", first)
    kept.retain({"a": "2"})
    assert (kept.find("a"), kept.bytes) == (None, 0)


def test_custom_resources_in_version_3() -> None:
    document = group_document([custom_row("cats")])
    root = "/apis/example.com/v1/namespaces/{namespace}/cats"
    created = document["paths"][root]["post"]["requestBody"]["content"]
    assert created == {
        media_type: {"schema": {"$ref": "#/components/schemas/com.example.v1.Cats"}}
        for media_type in ("application/json", "application/yaml")
    }
    patch = document["paths"][f"{root}/{{name}}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "Cats"
    names = {one["name"] for one in patch["parameters"]}
    assert "fieldValidation" in names, "kubectl leaves validation to a server that has it"
    fields = document["components"]["schemas"]["com.example.v1.Cats"]["properties"]
    meta = {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    assert fields["metadata"]["allOf"] == [meta]
    assert all(fields[name]["description"] for name in ("apiVersion", "kind", "metadata"))
    assert list(document["paths"]) == ["/apis/example.com/v1/cats", root, f"{root}/{{name}}"]
