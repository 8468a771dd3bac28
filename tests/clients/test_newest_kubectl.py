"""kubectl 1.36: what its users see of the surface of the API."""

import json

from prometheus_client.parser import text_string_to_metric_families

from clients.conftest import Kubectl

TWICE = """
apiVersion: v1
kind: Pod
metadata: {name: twice}
spec:
  nodeSelector: {beta.kubernetes.io/os: linux}
  containers:
  - name: main
    image: none
    env: [{name: COLOUR, value: blue}, {name: COLOUR, value: green}]
"""


def test_it_is_the_release_that_the_server_is_of(newest_kubectl: Kubectl) -> None:
    shown = json.loads(newest_kubectl.run("version", "-o", "json"))
    assert shown["clientVersion"]["minor"] == shown["serverVersion"]["minor"] == "36"


def test_explain_shows_enumerations(newest_kubectl: Kubectl) -> None:
    shown = newest_kubectl.run("explain", "pod.spec.restartPolicy")
    assert "ENUM:" in shown
    values = shown.partition("ENUM:")[2].split("DESCRIPTION:")[0].split()
    assert values == ["Always", "Never", "OnFailure"]
    assert "ENUM:" not in newest_kubectl.run("explain", "pod.spec.nodeName")
    older = newest_kubectl.run("explain", "service.spec", "--output=plaintext-openapiv2")
    assert "sessionAffinity" in older


def test_groups_of_the_server_are_listed(newest_kubectl: Kubectl) -> None:
    rows = [line.split() for line in newest_kubectl.run("get", "apiservices").splitlines()]
    assert rows[0] == ["NAME", "SERVICE", "AVAILABLE", "AGE"]
    assert {row[0]: row[1:3] for row in rows[1:]}.items() >= {
        "v1.": ["Local", "True"],
        "v1.apps": ["Local", "True"],
        "v2.autoscaling": ["Local", "True"],
        "v1.rbac.authorization.k8s.io": ["Local", "True"],
    }.items()


def test_one_that_is_deleted_comes_back(newest_kubectl: Kubectl) -> None:
    newest_kubectl.run("delete", "apiservice", "v1.batch")
    newest_kubectl.run("wait", "apiservice/v1.batch", "--for=create", "--timeout=10s")
    newest_kubectl.run("wait", "apiservice/v1.batch", "--for=condition=Available", "--timeout=10s")


def test_apply_shows_warnings(newest_kubectl: Kubectl) -> None:
    shown = newest_kubectl.run("apply", "-f", "-", text=TWICE)
    assert "pod/twice created" in shown
    assert (
        'Warning: spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" '
        "instead\n"
    ) in shown
    assert (
        'Warning: spec.containers[0].env[1]: hides previous definition of "COLOUR", which may be dropped '
        "when using apply\n"
    ) in shown
    refused = newest_kubectl.run("get", "endpoints", "--warnings-as-errors", codes=(1,))
    assert "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1" in refused


def test_metrics_are_read_raw(newest_kubectl: Kubectl) -> None:
    text = newest_kubectl.run("get", "--raw", "/metrics")
    found = {family.name: family for family in text_string_to_metric_families(text)}
    depths = {sample.labels["name"] for sample in found["workqueue_depth"].samples}
    assert {"deployment-controller", "replicaset-controller"} <= depths
    (resident,) = found["process_resident_memory_bytes"].samples
    assert resident.value > 10e6
    stored = {
        one.labels["resource"]: one.value for one in found["apiserver_storage_objects"].samples
    }
    assert stored["namespaces"] >= 4
    (size,) = found["apiserver_storage_size_bytes"].samples
    assert size.value > 0
    assert "kubernetes_healthcheck" in newest_kubectl.run("get", "--raw", "/metrics/slis")


def test_documents_of_openapi_are_where_their_index_says(newest_kubectl: Kubectl) -> None:
    index = json.loads(newest_kubectl.run("get", "--raw", "/openapi/v3"))["paths"]
    assert {"api", "apis", "apis/apps", "version", "openid/v1/jwks"} <= set(index)
    for path in ("api", "apis/apps", "apis/apps/v1", "version"):
        address = index[path]["serverRelativeURL"]
        assert json.loads(newest_kubectl.run("get", "--raw", address))["paths"]
    whole = json.loads(newest_kubectl.run("get", "--raw", "/openapi/v2"))
    assert "/apis/apps/v1/watch/deployments" in whole["paths"]
