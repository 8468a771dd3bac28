import asyncio
from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import Forbidden
from kubelite.api.registry.admission import Admission
from kubelite.api.registry.admission.resource_quota import ResourceQuota


@pytest.fixture
async def server() -> Server:
    server = Server()
    plugin = ResourceQuota(server.store, server.resources, server.clock)
    server.writer.admission = Admission.ordered(plugin)
    return server


def quota(hard: dict[str, str], name: str = "quota", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}


def pod(name: str, cpu: str = "") -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    containers = [{"name": "c", "image": "i", "resources": resources}]
    return {"metadata": {"name": name}, "spec": {"containers": containers}}


def used(server: Server, name: str = "quota") -> dict[str, str]:
    found: dict[str, str] = server.get("v1/resourcequotas", name)["status"].get("used", {})
    return found


async def test_counts_with_the_object(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"pods": "2", "requests.cpu": "1"}))
    await server.create("v1/pods", pod("a", "600m"))
    assert used(server) == {"pods": "1", "requests.cpu": "600m"}
    with pytest.raises(Forbidden) as refused:
        await server.create("v1/pods", pod("b", "500m"))
    assert refused.value.message == (
        'pods "b" is forbidden: exceeded quota: quota, requested: requests.cpu=500m, used: requests.cpu=600m, '
        "limited: requests.cpu=1"
    )
    await server.create("v1/pods", pod("b", "400m"))
    assert used(server) == {"pods": "2", "requests.cpu": "1"}


async def test_never_over_when_many_come_at_once(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"pods": "10"}))
    tries = (server.create("v1/pods", pod(f"p{index}")) for index in range(150))
    results = await asyncio.gather(*tries, return_exceptions=True)
    made = [result for result in results if isinstance(result, dict)]
    assert len(made) == 10
    assert all(isinstance(result, dict | Forbidden) for result in results)
    assert used(server) == {"pods": "10"}


async def test_failed_writes_count_nothing(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"pods": "2"}))
    await server.create("v1/pods", pod("a"))
    with pytest.raises(Exception, match="already exists"):
        await server.create("v1/pods", pod("a"))
    await server.create("v1/pods", pod("b"), dry_run=True)
    assert used(server) == {"pods": "1"}


async def test_counts_objects_that_were_there_before(server: Server) -> None:
    await server.create("v1/configmaps", {"metadata": {"name": "a"}})
    await server.create("v1/resourcequotas", quota({"count/configmaps": "2"}))
    await server.create("v1/configmaps", {"metadata": {"name": "b"}})
    assert used(server) == {"count/configmaps": "2"}
    with pytest.raises(
        Forbidden,
        match="exceeded quota: quota, requested: count/configmaps=1, used: count/configmaps=2",
    ):
        await server.create("v1/configmaps", {"metadata": {"name": "c"}})


async def test_any_kind_can_be_counted(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"count/leases.coordination.k8s.io": "1"}))
    await server.create("coordination.k8s.io/v1/leases", {"metadata": {"name": "a"}})
    with pytest.raises(Forbidden):
        await server.create("coordination.k8s.io/v1/leases", {"metadata": {"name": "b"}})


async def test_a_quota_counts_itself(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"resourcequotas": "1"}))
    with pytest.raises(Forbidden):
        await server.create("v1/resourcequotas", quota({}, "second"))


async def test_growing_services(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"services.nodeports": "1"}))
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    await server.create("v1/services", service)
    await server.patch("v1/services", "web", {"spec": {"type": "NodePort"}})
    assert used(server) == {"services.nodeports": "1"}
    two = {"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}
    with pytest.raises(Forbidden, match=r"services\.nodeports=1"):
        await server.patch("v1/services", "web", two)


async def test_requests_must_be_specified(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"requests.cpu": "1"}))
    with pytest.raises(Forbidden, match=r"failed quota: quota: must specify requests\.cpu for: c"):
        await server.create("v1/pods", pod("a"))


async def test_other_scopes_and_namespaces_are_left_alone(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"pods": "0"}, scopes=["Terminating"]))
    await server.create("v1/pods", pod("a"))
    item = pod("b")
    item["metadata"]["namespace"] = "other"
    await server.create("v1/pods", item)


async def test_pods_from_before_a_quota_can_still_change(server: Server) -> None:
    made = await server.create("v1/pods", pod("a"))
    await server.create("v1/resourcequotas", quota({"requests.cpu": "1"}))
    made["metadata"]["labels"] = {"x": "y"}
    changed = await server.update("v1/pods", "a", made)
    assert changed["metadata"]["labels"] == {"x": "y"}


async def test_writes_at_once_share_commits(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"pods": "100"}))
    batches: list[int] = []
    server.store.subscribe("/pods.core/", lambda changes: batches.append(len(changes)))
    await asyncio.gather(*(server.create("v1/pods", pod(f"p{index}")) for index in range(60)))
    assert used(server) == {"pods": "60"}
    assert len(batches) < 10


async def test_a_quota_on_its_way_counts(server: Server) -> None:
    results = await asyncio.gather(
        server.create("v1/pods", pod("before")),
        server.create("v1/resourcequotas", quota({"pods": "2"})),
        server.create("v1/pods", pod("after")),
        server.create("v1/pods", pod("late")),
        return_exceptions=True,
    )
    assert [isinstance(one, Forbidden) for one in results] == [False, False, False, True]
    assert used(server) == {"pods": "2"}


async def test_a_deadline_moves_a_pod_to_the_quotas_of_terminating_pods(server: Server) -> None:
    await server.create(
        "v1/resourcequotas", quota({"pods": "1"}, "long", scopes=["NotTerminating"])
    )
    await server.create("v1/resourcequotas", quota({"pods": "1"}, "short", scopes=["Terminating"]))
    first = await server.create("v1/pods", pod("a"))
    assert (used(server, "long"), used(server, "short")) == ({"pods": "1"}, {})
    first["spec"]["activeDeadlineSeconds"] = 60
    first = await server.update("v1/pods", "a", first)
    # What the other quota gets back its controller counts.
    assert (used(server, "long"), used(server, "short")) == ({"pods": "1"}, {"pods": "1"})
    # A shorter deadline moves nothing, and counts nothing twice.
    first["spec"]["activeDeadlineSeconds"] = 50
    await server.update("v1/pods", "a", first)
    assert used(server, "short") == {"pods": "1"}


async def test_no_deadline_gets_a_pod_past_a_quota(server: Server) -> None:
    await server.create("v1/resourcequotas", quota({"pods": "0"}, "short", scopes=["Terminating"]))
    made = await server.create("v1/pods", pod("a"))
    made["spec"]["activeDeadlineSeconds"] = 60
    with pytest.raises(Forbidden, match="exceeded quota: short, requested: pods=1, used: pods=0"):
        await server.update("v1/pods", "a", made)


CLAIMS, CLASSES = "resource.k8s.io/v1/resourceclaims", "resource.k8s.io/v1/deviceclasses"


def device_claim(name: str, count: int = 1, **meta: Any) -> dict[str, Any]:
    asked = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": count}
    requests = [{"name": "r", "exactly": asked}]
    return {"metadata": {"name": name, **meta}, "spec": {"devices": {"requests": requests}}}


async def test_devices_of_claims_count_by_class_and_as_extended_resources(server: Server) -> None:
    body = {"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}}
    await server.create(CLASSES, body)
    devices = "gpu.deviceclass.resource.k8s.io/devices"
    await server.create("v1/resourcequotas", quota({devices: "3", "requests.example.com/gpu": "4"}))
    await server.create(CLAIMS, device_claim("a", 2))
    with pytest.raises(Forbidden, match=f"exceeded quota: quota, requested: {devices}=2, used"):
        await server.create(CLAIMS, device_claim("b", 2))
    gpus = {"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "1"}}
    pods = []
    for name in ("p", "q"):
        one = pod(name)
        one["spec"]["containers"][0]["resources"] = gpus
        pods.append(await server.create("v1/pods", one))
    assert used(server) == {devices: "2", "requests.example.com/gpu": "4"}
    with pytest.raises(Forbidden, match=r"requested: requests\.example\.com/gpu=1"):
        await server.create(CLAIMS, device_claim("c"))
    # That of a pod's extended resources is in the pod's count already, but there is one for each pod.
    uid = pods[0]["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": True}
    annotations = {"resource.kubernetes.io/extended-resource-claim": "true"}
    meta: dict[str, Any] = {"ownerReferences": [owner], "annotations": annotations}
    await server.create(CLAIMS, device_claim("of-p", **meta))
    assert used(server) == {devices: "3", "requests.example.com/gpu": "4"}
    with pytest.raises(Forbidden, match=r"requested: .*requests\.example\.com/gpu=1"):
        await server.create(CLAIMS, device_claim("second-of-p", **meta))
