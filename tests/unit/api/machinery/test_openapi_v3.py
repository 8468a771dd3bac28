import json

from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_v3 import OpenAPIV3, group_document
from unit.api.machinery.openapi_rows import CATS, DEPLOYMENTS, PODS


async def test_the_index_names_each_document_by_its_content() -> None:
    openapi = OpenAPIV3(lambda: [PODS, DEPLOYMENTS])
    paths = json.loads((await openapi.index()).body)["paths"]
    assert list(paths) == ["api/v1", "apis/apps/v1"]
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
