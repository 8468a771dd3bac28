from typing import Any

import pytest
from fakes.server import Server

JSON = dict[str, Any]
TEMPLATE: JSON = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "web", "image": "web:1"}]},
}
SELECTOR = {"matchLabels": {"app": "web"}}


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_annotations_of_a_deployment_count(server: Server) -> None:
    path = "apps/v1/deployments"
    body = {"metadata": {"name": "web"}, "spec": {"selector": SELECTOR, "template": TEMPLATE}}
    await server.create(path, body)
    annotated = await server.patch(path, "web", {"metadata": {"annotations": {"a": "b"}}})
    assert annotated["metadata"]["generation"] == 2
    labelled = await server.patch(path, "web", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["metadata"]["generation"] == 2
    patch = {"metadata": {"labels": {"c": "d"}, "annotations": {"c": "d"}}}
    status = await server.patch(f"{path}/status", "web", patch)
    assert status["metadata"]["generation"] == 2
    assert status["metadata"]["labels"] == {"a": "b"}


async def test_a_job_selects_its_own_pods(server: Server) -> None:
    template = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    body = {"metadata": {"name": "j"}, "spec": {"template": template}}
    made = await server.create("batch/v1/jobs", body)
    uid = made["metadata"]["uid"]
    selector = made["spec"]["selector"]["matchLabels"]
    assert selector == {"batch.kubernetes.io/controller-uid": uid}
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "j"
    assert labels["controller-uid"] == uid


async def test_a_daemon_set_counts_its_template(server: Server) -> None:
    path, name = "apps/v1/daemonsets", "deprecated.daemonset.template.generation"
    body = {"metadata": {"name": "d"}, "spec": {"selector": SELECTOR, "template": TEMPLATE}}
    made = await server.create(path, body)
    assert made["metadata"]["annotations"] == {name: "1"}
    other = await server.patch(path, "d", {"spec": {"minReadySeconds": 5}})
    assert other["metadata"]["annotations"] == {name: "1"}
    containers = [{"name": "web", "image": "web:2"}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    changed = await server.patch(path, "d", patch)
    assert changed["metadata"]["annotations"] == {name: "2"}
    assert changed["metadata"]["generation"] == 3


async def test_a_signing_request_tells_who_asks(server: Server) -> None:
    path = "certificates.k8s.io/v1/certificatesigningrequests"
    request = "LS0tLS1CRUdJTi=="
    body = {
        "metadata": {"name": "c"},
        "spec": {
            "request": request,
            "signerName": "example.com/x",
            "usages": ["client auth"],
            "username": "somebody else",
        },
    }
    server = Server(validate=lambda *_: [])
    made = await server.create(path, body)
    assert made["spec"]["username"] == "admin"
    assert made["spec"]["groups"] == ["system:masters"]
    approved = {"type": "Approved", "status": "True", "reason": "r"}
    patch = {"status": {"conditions": [approved], "certificate": "eA=="}, "spec": {"usages": []}}
    shown = await server.patch(f"{path}/approval", "c", patch)
    assert shown["status"]["conditions"] == [
        {
            **approved,
            "lastUpdateTime": "2026-05-01T12:00:00Z",
            "lastTransitionTime": "2026-05-01T12:00:00Z",
        }
    ]
    assert "certificate" not in shown["status"]
    assert shown["spec"]["usages"] == ["client auth"]
    failed = {"type": "Failed", "status": "True"}
    patch = {"status": {"conditions": [failed], "certificate": "eA=="}}
    shown = await server.patch(f"{path}/status", "c", patch)
    kinds = [condition["type"] for condition in shown["status"]["conditions"]]
    assert kinds == ["Approved", "Failed"]
    assert shown["status"]["certificate"] == "eA=="
