from kubelite.api.machinery.openapi_operations import paths
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
    } <= identifiers
    log = list(paths(PODS))[-1].operations[0]
    assert (log.action, log.answer, log.identifier) == (
        "connect",
        "text",
        "readCoreV1NamespacedPodLog",
    )


def test_writing_takes_field_validation() -> None:
    operations = [one for path in paths(PODS) for one in path.operations]
    takes = {one.method for one in operations if "fieldValidation" in one.parameters}
    assert takes == {"post", "put", "patch"}
