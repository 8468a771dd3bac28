import json

from kubelite.api.machinery.openapi import Served
from kubelite.api.machinery.openapi_v3 import OpenAPIV3, group_document
from unit.api.machinery.openapi_rows import CATS, DEPLOYMENTS, PODS


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
