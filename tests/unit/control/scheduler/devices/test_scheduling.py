"""Pods with resource claims: placed where their devices are, and never two on one device."""

import asyncio
import subprocess
import sys
from typing import Any

import msgspec
from msgspec.structs import replace

from kubelite.api.errors import Conflict
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim, ResourceSlice
from kubelite.api.machinery import device_selectors
from kubelite.api.machinery.resource_claims import FINALIZER
from kubelite.control.scheduler.devices.selecting import Selectors
from kubelite.limits import EXPRESSION_INLINE
from unit.control.scheduler.devices.offers import (
    devices_of,
    make_claim,
    make_class,
    make_device,
    make_slice,
    wanted,
)
from unit.control.scheduler.pods import make_node, make_pod
from unit.control.scheduler.test_scheduler import Cluster, on_cluster


def using(name: str, *claims: str, **fields: Any) -> Pod:
    entries = [{"name": f"e{n}", "resourceClaimName": one} for n, one in enumerate(claims)]
    return make_pod(name, resourceClaims=entries, **fields)


def gpus(node: str, *names: str, **fields: Any) -> ResourceSlice:
    devices = [make_device(one, **fields) for one in names]
    return make_slice(f"{node}-slice", *devices, nodeName=node, pool={"name": node})


async def offer(cluster: Cluster, *slices: ResourceSlice) -> None:
    await cluster.client.create(make_class())
    for one in slices:
        await cluster.client.create(one)


def claim_of(cluster: Cluster, name: str) -> ResourceClaim:
    found: ResourceClaim | None = cluster.client.mirror(ResourceClaim).get(name, "default")
    assert found is not None
    return found


@on_cluster
async def test_each_pod_gets_a_device_of_its_own(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a", "b"), gpus("n1", "c"))
    await cluster.add(make_node("n0"), make_node("n1"), make_node("n2"))
    for number in range(4):
        await cluster.client.create(make_claim(f"c{number}", wanted()))
        await cluster.client.create(using(f"p{number}", f"c{number}"))
    await cluster.settle()
    allocated = [claim_of(cluster, f"c{number}") for number in range(4)]
    given = [one for one in allocated if one.status.allocation is not None]
    assert sorted(devices_of(one.status.allocation)[0] for one in given) == ["a", "b", "c"]  # type: ignore[arg-type]  # given
    for one in given:
        (consumer,) = one.status.reservedFor
        assert consumer.name == one.metadata.name.replace("c", "p")
        assert one.metadata.finalizers == [FINALIZER]
        allocation = one.status.allocation
        assert allocation is not None
        assert allocation.nodeSelector is not None
        assert allocation.allocationTimestamp is not None
        field = allocation.nodeSelector.nodeSelectorTerms[0].matchFields[0]
        assert field.values == [cluster.node_of(consumer.name)]
    (left,) = [number for number, one in enumerate(allocated) if one.status.allocation is None]
    assert cluster.message_of(f"p{left}") == (
        "0/3 nodes are available: 3 cannot allocate all claims. still not schedulable, "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )
    # Another device comes, and the pod that waits has it.
    await cluster.client.create(gpus("n2", "d"))
    await cluster.wait_for_backoff()
    assert cluster.node_of(f"p{left}") == "n2"


@on_cluster
async def test_a_claim_that_is_given_back_helps_a_pod_that_waits(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"))
    await cluster.add(make_node("n0"))
    for number in range(2):
        await cluster.client.create(make_claim(f"c{number}", wanted()))
        await cluster.add(using(f"p{number}", f"c{number}"))
    assert (cluster.node_of("p0"), cluster.node_of("p1")) == ("n0", "")
    first = claim_of(cluster, "c0")
    status = replace(first.status, allocation=None, reservedFor=[])
    await cluster.client.update(replace(first, status=status), "status")
    await cluster.wait_for_backoff()
    assert cluster.node_of("p1") == "n0"


@on_cluster
async def test_pods_share_a_claim_and_follow_its_node(cluster: Cluster) -> None:
    await offer(cluster, gpus("n1", "a"))
    await cluster.add(make_node("n0"), make_node("n1"))
    await cluster.client.create(make_claim("c", wanted()))
    await cluster.add(using("p", "c"), using("q", "c"))
    await cluster.wait_for_backoff()
    assert (cluster.node_of("p"), cluster.node_of("q")) == ("n1", "n1")
    assert sorted(one.name for one in claim_of(cluster, "c").status.reservedFor) == ["p", "q"]


@on_cluster
async def test_what_keeps_a_pod_waiting_is_said_and_its_end_requeues_it(cluster: Cluster) -> None:
    await cluster.client.create(gpus("n0", "a"))
    await cluster.add(make_node("n0"), using("p", "c"))
    assert cluster.message_of("p").startswith(
        '0/1 nodes are available: resourceclaim.resource.k8s.io "c" not found. '
        "no new claims to deallocate, preemption: "
    )
    await cluster.client.create(make_claim("c", wanted()))
    await cluster.wait_for_backoff()
    assert "request r0: device class gpu does not exist" in cluster.message_of("p")
    await cluster.client.create(make_class())
    await asyncio.sleep(2)
    await cluster.settle()
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_a_pod_waits_silently_for_the_claim_from_its_template(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"))
    entry = {"name": "gpu", "resourceClaimTemplateName": "t"}
    await cluster.add(make_node("n0"), make_pod("p", resourceClaims=[entry]))
    assert cluster.client.all(Event) == []
    body = msgspec.to_builtins(make_claim("made", wanted()))
    pod = cluster.pod("p")
    assert pod is not None
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": True}
    owner["uid"] = pod.metadata.uid
    body["metadata"]["ownerReferences"] = [owner]
    await cluster.client.create(msgspec.convert(body, ResourceClaim))
    names = {"resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "made"}]}
    await cluster.client.patch(Pod, "p", {"status": names}, "default", subresource="status")
    await cluster.settle()
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_a_claim_in_use_by_as_many_pods_as_can_be(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"))
    body = msgspec.to_builtins(make_claim("c", wanted()))
    users = [{"resource": "pods", "name": f"x{n}", "uid": f"x{n}"} for n in range(256)]
    body["status"] = {"allocation": {}, "reservedFor": users}
    await cluster.client.create(msgspec.convert(body, ResourceClaim))
    await cluster.add(make_node("n0"), using("p", "c"))
    assert cluster.message_of("p").startswith("0/1 nodes are available: resourceclaim in use.")


@on_cluster
async def test_a_claim_that_nobody_uses_moves_to_where_the_pod_can_be(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"), gpus("n1", "b"))
    body = msgspec.to_builtins(make_claim("c", wanted()))
    here = {"key": "metadata.name", "operator": "In", "values": ["gone"]}
    selector = {"nodeSelectorTerms": [{"matchFields": [here]}]}
    body["status"] = {"allocation": {"nodeSelector": selector}}
    await cluster.client.create(msgspec.convert(body, ResourceClaim))
    await cluster.add(make_node("n0"), using("p", "c"))
    message = cluster.message_of("p")
    assert "1 resourceclaim not available on the node" in message
    assert "deallocation of ResourceClaim completed" in message
    await cluster.wait_for_backoff()
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_a_wrong_claim_is_an_error_and_stops_no_other_pod(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a", "b"))
    bad = wanted('device.attributes["x.example.com"].y == 1')
    await cluster.client.create(make_claim("bad", bad))
    await cluster.client.create(make_claim("good", wanted()))
    await cluster.add(make_node("n0"), using("p", "bad"), using("q", "good"))
    assert cluster.node_of("q") == "n0"
    assert cluster.message_of("p") == (
        'running "DynamicResources" filter plugin: claim default/bad: selector #0: '
        "CEL runtime error: no such key: y"
    )
    pod = cluster.pod("p")
    assert pod is not None
    assert pod.status.conditions[0].reason == "SchedulerError"


@on_cluster
async def test_a_conflict_while_reserving_is_retried(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"))
    await cluster.client.create(make_claim("c", wanted()))
    update = cluster.client.update
    failures = iter([Conflict("the object has been modified"), None, None])

    async def conflicting(item: Any, subresource: str = "") -> Any:
        if isinstance(item, ResourceClaim) and (failure := next(failures, None)) is not None:
            raise failure
        return await update(item, subresource)

    cluster.client.update = conflicting  # type: ignore[method-assign]  # the conflict
    await cluster.add(make_node("n0"), using("p", "c"))
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_a_binding_that_fails_gives_the_devices_back(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"))
    await cluster.client.create(make_claim("c", wanted()))
    await cluster.client.create(make_claim("d", wanted()))
    update = cluster.client.update

    async def failing(item: Any, subresource: str = "") -> Any:
        if isinstance(item, ResourceClaim) and item.metadata.name == "c" and subresource:
            raise Conflict("always")
        return await update(item, subresource)

    cluster.client.update = failing  # type: ignore[method-assign]  # the failure
    await cluster.add(make_node("n0"), using("p", "c"))
    assert cluster.node_of("p") == ""
    await cluster.add(using("q", "d"))
    assert cluster.node_of("q") == "n0"


@on_cluster
async def test_a_binding_that_fails_after_the_reservation_ends_the_reservation(
    cluster: Cluster,
) -> None:
    await offer(cluster, gpus("n0", "a"))
    await cluster.client.create(make_claim("c", wanted()))
    post = cluster.client.post

    async def failing(*arguments: Any, **more: Any) -> Any:
        raise Conflict("not now")

    cluster.client.post = failing  # type: ignore[method-assign]  # the failure
    await cluster.add(make_node("n0"), using("p", "c"))
    claim = claim_of(cluster, "c")
    assert claim.status.allocation is not None
    assert claim.status.reservedFor == []
    cluster.client.post = post  # type: ignore[method-assign]  # it is over
    await cluster.wait_for_backoff()
    assert cluster.node_of("p") == "n0"
    assert [one.name for one in claim_of(cluster, "c").status.reservedFor] == ["p"]


@on_cluster
async def test_a_driver_makes_devices_ready_before_the_pod_is_bound(cluster: Cluster) -> None:
    conditions = {"bindingConditions": ["ready"], "bindingFailureConditions": ["broken"]}
    await offer(cluster, gpus("n0", "a", **conditions))
    await cluster.client.create(make_claim("c", wanted()))
    await cluster.add(make_node("n0"), using("p", "c"))
    assert cluster.node_of("p") == ""
    assert [one.reason for one in cluster.client.all(Event)] == ["BindingConditionsPending"]
    await cluster.add(make_pod("other"))
    assert cluster.node_of("other") == "n0"  # nobody else waits for the driver

    async def say(kind: str) -> None:
        claim = claim_of(cluster, "c")
        device = {"driver": "gpu.example.com", "pool": "n0", "device": "a"}
        state = {"type": kind, "status": "True", "reason": "R", "message": "M"}
        status = {"devices": [{**device, "conditions": [state]}]}
        meta = {"uid": claim.metadata.uid}
        await cluster.client.patch(
            ResourceClaim,
            "c",
            {"metadata": meta, "status": status},
            "default",
            subresource="status",
        )
        await cluster.settle()

    await say("ready")
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_a_device_that_cannot_be_made_ready_is_given_up(cluster: Cluster) -> None:
    conditions = {"bindingConditions": ["ready"], "bindingFailureConditions": ["broken"]}
    await offer(cluster, gpus("n0", "a", **conditions))
    await cluster.client.create(make_claim("c", wanted()))
    await cluster.add(make_node("n0"), using("p", "c"))
    device = {"driver": "gpu.example.com", "pool": "n0", "device": "a"}
    state = {"type": "broken", "status": "True", "reason": "R", "message": "M"}
    status = {"devices": [{**device, "conditions": [state]}]}
    await cluster.client.patch(
        ResourceClaim, "c", {"status": status}, "default", subresource="status"
    )
    await cluster.settle()
    assert any(one.reason == "FailedScheduling" for one in cluster.client.all(Event))
    assert cluster.node_of("p") == ""


@on_cluster
async def test_dear_expressions_are_evaluated_off_the_loop(cluster: Cluster) -> None:
    every = "device.attributes.exists({0}, {1})"
    dear = every.format("a", every.format("b", every.format("c", "a != b && b != c"))) + " || true"
    await offer(cluster, gpus("n0", "a"))
    await cluster.client.create(make_claim("c", wanted(dear)))
    await cluster.add(make_node("n0"), using("p", "c"))
    assert cluster.node_of("p") == "n0"
    assert device_selectors.compiled(dear).cost > EXPRESSION_INLINE.value
    assert max(cluster.offload.costs) > 1 << 30


@on_cluster
async def test_pods_without_claims_cost_no_mirror(cluster: Cluster) -> None:
    await cluster.add(make_node("n0"), make_pod("p"))
    assert cluster.node_of("p") == "n0"
    assert cluster.scheduler._devices is None


@on_cluster
async def test_earlier_alternatives_are_preferred(cluster: Cluster) -> None:
    fast = 'device.attributes["gpu.example.com"].kind == "fast"'
    await offer(
        cluster,
        gpus("n0", "a", attributes={"kind": "slow"}),
        gpus("n1", "b", attributes={"kind": "fast"}),
    )
    either = {"firstAvailable": [wanted(fast, name="fast"), wanted(name="any")]}
    await cluster.add(make_node("n0", cpu="64"), make_node("n1"))
    await cluster.client.create(make_claim("c", either))
    await cluster.add(using("p", "c"))
    assert cluster.node_of("p") == "n1"


@on_cluster
async def test_a_slice_that_comes_amid_a_decision_is_no_error(
    cluster: Cluster,
) -> None:
    await offer(cluster, gpus("n0", "a"))
    prepare = Selectors.prepare

    async def too_early(self: Selectors, texts: Any, slices: Any) -> None:
        Selectors.prepare = prepare  # type: ignore[method-assign]  # once

    Selectors.prepare = too_early  # type: ignore[method-assign]  # nothing is prepared
    await cluster.client.create(make_claim("d", wanted("true")))
    await cluster.add(make_node("n0"), using("p", "d"))
    assert cluster.node_of("p") == ""
    assert cluster.client.all(Event) == []
    await cluster.wait_for_backoff()
    assert cluster.node_of("p") == "n0"


def test_what_gives_out_devices_is_not_imported_before_a_pod_needs_some() -> None:
    check = (
        "import sys, kubelite.server; "
        "print(*sorted(one for one in sys.modules if one.startswith('kubelite.control.scheduler.devices.')))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["kubelite.control.scheduler.devices.protocol"]


@on_cluster
async def test_a_pod_with_a_resource_that_no_class_serves_needs_the_classes_only(
    cluster: Cluster,
) -> None:
    pod = make_pod("p")
    (container,) = pod.spec.containers
    asked = replace(container.resources, requests={"example.com/gpu": "1"})
    containers = [replace(container, resources=asked)]
    await cluster.add(make_node("n0"), replace(pod, spec=replace(pod.spec, containers=containers)))
    assert "1 Insufficient example.com/gpu" in cluster.message_of("p")
    assert cluster.scheduler._devices is None
