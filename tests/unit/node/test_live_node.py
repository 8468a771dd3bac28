"""The node decides on pods by what its Node object says now."""

import asyncio
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.extended_resources import is_extended
from kubelite.node.admission import rejection
from kubelite.node.live_node import NodeView
from unit.node.cluster import Cluster, container, is_ready, run_virtually

RESOURCE = "example.com/dongle"


def wants_dongles(count: int) -> dict[str, Any]:
    amounts = {"limits": {RESOURCE: str(count)}, "requests": {RESOURCE: str(count)}}
    return {"containers": [container(resources=amounts)]}


async def advertise(cluster: Cluster, amount: str | None) -> None:
    patch = {"status": {"capacity": {RESOURCE: amount}}}
    await cluster.client.patch(Node, "node-1", patch, subresource="status")
    await asyncio.sleep(0.5)


async def node_is_there(cluster: Cluster) -> None:
    while not any(node.status.capacity for node in await cluster.client.list(Node)):
        await asyncio.sleep(0.1)


def test_extended_resources_become_allocatable_and_are_counted() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await node_is_there(cluster)
            await advertise(cluster, "3")
            node = await cluster.client.get(Node, "node-1")
            assert node.status.allocatable[RESOURCE] == "3"
            await cluster.create(wants_dongles(2))
            await cluster.until(is_ready)
            await cluster.create(wants_dongles(2), "more")
            refused = await cluster.until(lambda pod: pod.status.phase == "Failed", "more")
            assert refused.status.reason == f"OutOf{RESOURCE}"
            assert refused.status.message == (
                f"Pod was rejected: Node didn't have enough resource: {RESOURCE}, requested: 2, "
                "used: 2, capacity: 3"
            )
            await advertise(cluster, None)
            node = await cluster.client.get(Node, "node-1")
            assert RESOURCE not in node.status.allocatable

    run_virtually(main())


def test_an_advertised_resource_is_not_written_again_and_again() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await node_is_there(cluster)
            await advertise(cluster, "3")
            before = (await cluster.client.get(Node, "node-1")).metadata.resourceVersion
            await asyncio.sleep(100)  # ten looks of the registration
            assert (await cluster.client.get(Node, "node-1")).metadata.resourceVersion == before

    run_virtually(main())


def test_a_label_given_later_lets_a_pod_in() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await node_is_there(cluster)
            labels = {"metadata": {"labels": {"disk": "ssd"}}}
            await cluster.client.patch(Node, "node-1", labels)
            await cluster.create({"containers": [container()], "nodeSelector": {"disk": "ssd"}})
            await cluster.until(is_ready)

    run_virtually(main())


def test_a_refusal_is_checked_against_the_api_when_the_mirror_lags() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await node_is_there(cluster)
            assert cluster.node.kubelet is not None
            worker = cluster.node.kubelet._worker
            worker.node._mirror.get = lambda *_: None  # type: ignore[method-assign]  # a mirror that has not heard of it
            labels = {"metadata": {"labels": {"disk": "ssd"}}}
            await cluster.client.patch(Node, "node-1", labels)
            await cluster.create({"containers": [container()], "nodeSelector": {"disk": "ssd"}})
            await cluster.until(is_ready)

    run_virtually(main())


def test_nothing_is_written_over_the_reason_of_a_refusal() -> None:
    async def main() -> None:
        async with Cluster() as cluster:
            await node_is_there(cluster)
            await cluster.create({"containers": [container()], "nodeSelector": {"disk": "ssd"}})
            refused = await cluster.until(lambda pod: pod.status.phase == "Failed")
            assert refused.status.reason == "NodeAffinity"
            change = {"metadata": {"labels": {"touched": "yes"}}}
            await cluster.client.patch(Pod, "pod", change, "default")
            await asyncio.sleep(30)
            after = await cluster.pod()
            assert after.status == refused.status
            assert not after.status.containerStatuses
            reasons = [event.reason for event in await cluster.client.list(Event, "default")]
            assert reasons == ["NodeAffinity"]
            await cluster.node.stop()  # nor after a restart, when nothing is remembered
            await cluster.node.start()
            await asyncio.sleep(30)
            assert (await cluster.pod()).status == refused.status
            await cluster.client.delete(Pod, "pod", "default")
            await asyncio.sleep(5)
            assert not await cluster.client.list(Pod, "default")

    run_virtually(main())


def pod_of(**spec: Any) -> Pod:
    return msgspec.convert({"spec": {"containers": [container()], **spec}}, Pod)


NODE = NodeView("n", {"cpu": "1", "pods": "9"}, {"disk": "ssd"})


def affinity(operator: str, *values: str) -> dict[str, Any]:
    term = {"matchExpressions": [{"key": "disk", "operator": operator, "values": list(values)}]}
    required = {"nodeSelectorTerms": [term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, None),
        ({"nodeSelector": {"disk": "ssd"}}, None),
        ({"nodeSelector": {"disk": "hdd"}}, "NodeAffinity"),
        ({"affinity": affinity("In", "ssd")}, None),
        ({"affinity": affinity("NotIn", "ssd")}, "NodeAffinity"),
    ],
)
def test_selectors_and_affinity(spec: dict[str, Any], reason: str | None) -> None:
    refused = rejection(pod_of(**spec), [], NODE)
    assert (refused.reason if refused else None) == reason


def test_taints_that_evict_refuse() -> None:
    tainted = msgspec.structs.replace(NODE, taints=(("k", "v", "NoExecute"),))
    refused = rejection(pod_of(), [], tainted)
    assert refused is not None
    assert refused.message == (
        "Pod was rejected: Predicate TaintToleration failed: "
        "node(s) had taints that the pod didn't tolerate"
    )
    assert rejection(pod_of(tolerations=[{"operator": "Exists"}]), [], tainted) is None
    soft = msgspec.structs.replace(NODE, taints=(("k", "v", "NoSchedule"),))
    assert rejection(pod_of(), [], soft) is None  # the scheduler's affair


@pytest.mark.parametrize(
    ("name", "extended"),
    [
        ("cpu", False),
        ("hugepages-2Mi", False),
        ("example.com/gpu", True),
        ("kubernetes.io/batch", False),
        ("requests.kubernetes.io/x", False),
    ],
)
def test_extended_resources_are_told_by_their_domain(name: str, extended: bool) -> None:
    assert is_extended(name) == extended


def test_a_resource_that_the_node_does_not_know_is_the_clusters() -> None:
    resources = {"requests": {RESOURCE: "1"}}
    pod = msgspec.convert({"spec": {"containers": [container(resources=resources)]}}, Pod)
    assert rejection(pod, [], NODE) is None
    none_left = msgspec.structs.replace(NODE, allocatable={**NODE.allocatable, RESOURCE: "0"})
    assert rejection(pod, [], none_left) is not None


@pytest.mark.parametrize("name", [RESOURCE, "deviceclass.resource.kubernetes.io/gpu"])
def test_what_a_claim_serves_the_node_need_not_have(name: str) -> None:
    spec = {"containers": [container(resources={"requests": {name: "1"}})]}
    mapping = {"containerName": "app", "resourceName": name, "requestName": "r"}
    named = {"resourceClaimName": "c", "requestMappings": [mapping]}
    none_left = msgspec.structs.replace(NODE, allocatable={**NODE.allocatable, name: "0"})
    unserved = msgspec.convert({"spec": spec}, Pod)
    refused = rejection(unserved, [], none_left)
    assert refused is not None
    assert refused.reason == f"OutOf{name}"
    status = {"extendedResourceClaimStatus": named}
    served = msgspec.convert({"spec": spec, "status": status}, Pod)
    assert rejection(served, [], none_left) is None
    assert rejection(served, [], NODE) is None
