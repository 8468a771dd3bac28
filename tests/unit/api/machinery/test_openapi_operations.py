import pytest
from msgspec.structs import replace

from kubelite.api.http.openapi import served
from kubelite.api.kinds.autoscaling_v1 import Scale
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery.explanations import parameter_words
from kubelite.api.machinery.openapi import Served, ServedSubresource
from kubelite.api.machinery.openapi_operations import group_name, paths, tag_of
from kubelite.api.machinery.schema import compile_struct
from kubelite.api.registry.builtin import RESOURCES
from unit.api.machinery.openapi_rows import CATS, DEPLOYMENTS, PODS


def test_every_path_and_method_of_a_resource() -> None:
    found = {path.path: [one.method for one in path.operations] for path in paths(DEPLOYMENTS)}
    root = "/apis/apps/v1"
    collection = f"{root}/namespaces/{{namespace}}/deployments"
    assert found == {
        f"{root}/deployments": ["get"],
        collection: ["get", "post", "delete"],
        f"{collection}/{{name}}": ["get", "put", "patch", "delete"],
        f"{collection}/{{name}}/status": ["get", "put", "patch"],
        f"{collection}/{{name}}/scale": ["get", "put", "patch"],
        f"{root}/watch/deployments": ["get"],
        f"{root}/watch/namespaces/{{namespace}}/deployments": ["get"],
        f"{root}/watch/namespaces/{{namespace}}/deployments/{{name}}": ["get"],
    }
    assert [path.path for path in paths(CATS)] == [
        "/apis/example.com/v1/cats",
        "/apis/example.com/v1/cats/{name}",
    ]


def test_identifiers_are_those_of_kubernetes() -> None:
    identifiers = {one.identifier for path in paths(DEPLOYMENTS) for one in path.operations}
    assert {
        "listAppsV1DeploymentForAllNamespaces",
        "createAppsV1NamespacedDeployment",
        "deleteAppsV1CollectionNamespacedDeployment",
        "readAppsV1NamespacedDeployment",
        "replaceAppsV1NamespacedDeploymentStatus",
        "patchAppsV1NamespacedDeploymentScale",
        "watchAppsV1DeploymentListForAllNamespaces",
        "watchAppsV1NamespacedDeploymentList",
        "watchAppsV1NamespacedDeployment",
    } <= identifiers
    log = next(path for path in paths(PODS) if path.path.endswith("/log")).operations[0]
    assert (log.action, log.answer, log.identifier) == (
        "get",
        "text",
        "readCoreV1NamespacedPodLog",
    )


def test_writing_takes_field_validation() -> None:
    operations = [one for path in paths(PODS) for one in path.operations]
    takes = {one.method for one in operations if "fieldValidation" in one.parameters}
    assert takes == {"post", "put", "patch"}


def test_streams_and_proxies_are_connections() -> None:
    options = GroupVersionKind("", "v1", "PodProxyOptions")
    verbs = ("create", "delete", "get", "patch", "update")
    row = replace(PODS, subresources=(ServedSubresource("proxy", verbs, options),))
    proxied = {path.path: path for path in paths(row) if "proxy" in path.path}
    root = "/api/v1/namespaces/{namespace}/pods/{name}/proxy"
    assert list(proxied) == [root, f"{root}/{{path}}"]
    whole, below = proxied[root], proxied[f"{root}/{{path}}"]
    assert sorted(one.method for one in whole.operations) == [
        "delete", "get", "head", "options", "patch", "post", "put",
    ]  # fmt: skip
    assert {one.action for one in whole.operations} == {"connect"}
    assert whole.operations[0].identifier == "connectCoreV1DeleteNamespacedPodProxy"
    assert below.operations[0].identifier == "connectCoreV1DeleteNamespacedPodProxyWithPath"
    assert below.names == ("name", "namespace", "path")
    assert whole.operations[0].parameters == ("path",)


@pytest.mark.parametrize(
    ("group", "name", "tag"),
    [
        ("", "Core", "core"),
        ("apps", "Apps", "apps"),
        ("rbac.authorization.k8s.io", "RbacAuthorization", "rbacAuthorization"),
        ("stable.example.com", "StableExampleCom", "stableExampleCom"),
    ],
)
def test_groups_are_named_as_upstream(group: str, name: str, tag: str) -> None:
    assert (group_name(group), tag_of(group)) == (name, tag)


def test_a_deletion_answers_what_the_kind_answers() -> None:
    def answer(row: Served) -> str:
        return next(
            one.answer for path in paths(row) for one in path.operations if one.action == "delete"
        )

    assert (answer(PODS), answer(replace(PODS, answers_whole=True))) == ("status", "object")


def test_every_parameter_has_words() -> None:
    for row in map(served, RESOURCES):
        for path in paths(row):
            for operation in path.operations:
                for name in (*path.names, *operation.parameters, "body", "pretty"):
                    assert parameter_words(name, operation.subresource)


def test_custom_resources_are_documented_as_upstream_does() -> None:
    scale = ServedSubresource("scale", ("get", "patch", "update"), Scale.gvk, compile_struct(Scale))
    status = ServedSubresource("status", ("get", "patch", "update"), CATS.kind, CATS.schema)
    row = replace(CATS, namespaced=True, subresources=(status, scale))
    root = "/apis/example.com/v1"
    item = f"{root}/namespaces/{{namespace}}/cats/{{name}}"
    operations = {(path.path, one.method): one for path in paths(row) for one in path.operations}
    assert {path for path, _ in operations} == {
        f"{root}/cats",
        f"{root}/namespaces/{{namespace}}/cats",
        item,
        f"{item}/status",
        f"{item}/scale",
    }
    patch = operations[item, "patch"]
    assert patch.accepted == (
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
    )
    assert patch.codes == ("200",)
    assert operations[item, "put"].accepted == ("application/json", "application/yaml")
    assert operations[item, "get"].parameters == ("resourceVersion",)
    assert operations[f"{root}/namespaces/{{namespace}}/cats", "delete"].body == ""
    scaled = operations[f"{item}/scale", "put"]
    assert scaled.identifier == "replaceExampleComV1NamespacedCatScale"
    assert (scaled.kind, scaled.schema) == (CATS.kind, compile_struct(Scale))
