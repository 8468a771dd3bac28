"""Pods whose extended resources are devices of a DeviceClass: which requests they make, and where they go."""

from typing import Any

import msgspec
from msgspec.structs import replace

from kubelite.api.errors import Conflict
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import DeviceClass, ResourceClaim
from kubelite.api.machinery.resource_claims import FINALIZER
from kubelite.control.scheduler.devices.extended import special_claim
from kubelite.control.scheduler.devices.manager import CLAIMS_MADE
from unit.control.scheduler.devices.offers import devices_of, make_claim, make_class, wanted
from unit.control.scheduler.devices.test_scheduling import gpus, offer, using
from unit.control.scheduler.pods import make_node
from unit.control.scheduler.test_scheduler import Cluster, on_cluster

GPU, IMPLICIT = "example.com/gpu", "deviceclass.resource.kubernetes.io/gpu"


def container(name: str, restart: str | None = None, **requests: str) -> dict[str, Any]:
    amounts = {GPU if key == "gpu" else key: text for key, text in requests.items()}
    made: dict[str, Any] = {"name": name, "image": "web", "resources": {"requests": amounts}}
    return made | ({"restartPolicy": restart} if restart else {})


def asking(name: str, *containers: dict[str, Any], **spec: Any) -> Pod:
    meta = {"name": name, "namespace": "default", "uid": name}
    body = {"metadata": meta, "spec": {"containers": list(containers), **spec}}
    return msgspec.convert(body, Pod)


def one_gpu(name: str, resource: str = GPU, count: str = "1") -> Pod:
    return asking(name, {"name": "c", "resources": {"requests": {resource: count}}})


def named_class(name: str = "gpu", resource: str | None = GPU, created: str = "") -> DeviceClass:
    found = make_class(name)
    meta = replace(found.metadata, creationTimestamp=created)
    return replace(found, metadata=meta, spec=replace(found.spec, extendedResourceName=resource))


def shown(pod: Pod) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the count of each request, and the request of each container."""
    special = special_claim(pod, {GPU: "gpu"}, "temporary")
    requests = {
        one.name: one.exactly.count
        for one in special.claim.spec.devices.requests
        if one.exactly is not None
    }
    return requests, [(one.containerName, one.requestName) for one in special.mappings]


def claims(cluster: Cluster) -> list[ResourceClaim]:
    return cluster.client.all(ResourceClaim)


# --- the claim


def test_each_container_has_devices_of_its_own() -> None:
    pod = asking("p", container("a", gpu="2"), container("b"), container("c", cpu="1", gpu="1"))
    assert shown(pod) == (
        {"container-0-request-0": 2, "container-2-request-1": 1},
        [("a", "container-0-request-0"), ("c", "container-2-request-1")],
    )


def test_an_init_container_uses_the_devices_of_those_that_start_later() -> None:
    init = [container("first", gpu="1"), container("second", gpu="3"), container("third", gpu="4")]
    pod = asking("p", container("a", gpu="2"), initContainers=init)
    assert shown(pod) == (
        {"container-2-request-0": 2, "container-3-request-0": 2},
        [
            ("a", "container-3-request-0"),
            ("first", "container-3-request-0"),
            ("second", "container-3-request-0"),
            ("third", "container-3-request-0"),
            ("second", "container-2-request-0"),
            ("third", "container-2-request-0"),
        ],
    )


def test_an_init_container_does_not_use_the_devices_of_a_sidecar_that_runs_already() -> None:
    sidecar = container("sidecar", "Always", gpu="1")
    pod = asking("p", container("a"), initContainers=[sidecar, container("late", gpu="1")])
    assert shown(pod) == (
        {"container-0-request-0": 1, "container-1-request-0": 1},
        [("sidecar", "container-0-request-0"), ("late", "container-1-request-0")],
    )
    pod = asking("p", container("a"), initContainers=[container("early", gpu="1"), sidecar])
    assert shown(pod) == (
        {"container-1-request-0": 1},
        [("sidecar", "container-1-request-0"), ("early", "container-1-request-0")],
    )


# --- where pods go


@on_cluster
async def test_a_class_serves_the_resource_that_it_names(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n1", "a", "b"))
    await cluster.add(make_node("n0"), make_node("n1"))
    await cluster.add(asking("p", container("c", gpu="2")))
    assert cluster.node_of("p") == "n1"
    (claim,) = claims(cluster)
    meta = claim.metadata
    assert meta.generateName == "p-extended-resources-"
    assert meta.annotations == {"resource.kubernetes.io/extended-resource-claim": "true"}
    (owner,) = meta.ownerReferences
    pod = cluster.pod("p")
    assert pod is not None
    assert (owner.kind, owner.name, owner.uid) == ("Pod", "p", pod.metadata.uid)
    assert owner.controller
    assert meta.finalizers == [FINALIZER]
    assert claim.status.allocation is not None
    assert devices_of(claim.status.allocation) == ["a", "b"]
    assert [one.name for one in claim.status.reservedFor] == ["p"]
    status = pod.status.extendedResourceClaimStatus
    assert status is not None
    assert status.resourceClaimName == meta.name
    (mapping,) = status.requestMappings
    assert (mapping.containerName, mapping.requestName, mapping.resourceName) == (
        "c",
        "container-0-request-0",
        GPU,
    )


@on_cluster
async def test_every_class_serves_the_resource_made_of_its_name(cluster: Cluster) -> None:
    await offer(cluster, gpus("n0", "a"))
    await cluster.add(make_node("n0"), one_gpu("p", IMPLICIT), one_gpu("q", IMPLICIT))
    assert sorted(map(cluster.node_of, "pq")) == ["", "n0"]
    (claim,) = claims(cluster)
    waiting = next(name for name in "pq" if not cluster.node_of(name))
    assert "1 cannot allocate all claims" in cluster.message_of(waiting)
    # The first pod is over, and what it had is given to the other.
    status = replace(claim.status, allocation=None, reservedFor=[])
    await cluster.client.update(replace(claim, status=status), "status")
    await cluster.wait_for_backoff()
    assert cluster.node_of(waiting) == "n0"


@on_cluster
async def test_a_node_with_a_device_plugin_needs_no_claim(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    node = make_node("n0")
    allocatable = {**node.status.allocatable, GPU: "1"}
    await cluster.add(replace(node, status=replace(node.status, allocatable=allocatable)))
    await cluster.add(one_gpu("p"), one_gpu("q"))
    assert sorted(map(cluster.node_of, "pq")) == ["", "n0"]
    assert claims(cluster) == []
    # The rest is for nodes with devices, beside the plugin's.
    await cluster.client.create(gpus("n1", "a"))
    await cluster.add(make_node("n1"))
    await cluster.wait_for_backoff()
    assert sorted(map(cluster.node_of, "pq")) == ["n0", "n1"]
    assert len(claims(cluster)) == 1


@on_cluster
async def test_a_pod_waits_for_a_class_as_for_a_node(cluster: Cluster) -> None:
    await cluster.client.create(gpus("n0", "a"))
    await cluster.client.create(named_class(resource=None))
    await cluster.add(make_node("n0"), one_gpu("p"))
    assert cluster.message_of("p").startswith("0/1 nodes are available: 1 Insufficient example.com")
    assert cluster.scheduler._devices is None
    await cluster.client.update(named_class())
    await cluster.wait_for_backoff()
    assert cluster.node_of("p") == "n0"


@on_cluster
async def test_of_two_classes_the_newer_serves_a_resource(cluster: Cluster) -> None:
    for name, date in (("old", "2026-01-01T00:00:00Z"), ("new", "2026-01-02T00:00:00Z")):
        await cluster.client.create(named_class(name, created=date))
    await cluster.client.create(named_class("also", created="2026-01-02T00:00:00Z"))
    await cluster.client.create(gpus("n0", "a"))
    await cluster.add(make_node("n0"), one_gpu("p"))
    (claim,) = claims(cluster)
    (request,) = claim.spec.devices.requests
    assert request.exactly is not None
    assert request.exactly.deviceClassName == "also"


@on_cluster
async def test_claims_of_both_kinds_never_share_a_device(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", "a", "b", "c"))
    await cluster.client.create(make_claim("own", wanted()))
    await cluster.add(make_node("n0"))
    both = using("p", "own")
    (first,) = both.spec.containers
    asked = replace(first.resources, requests={GPU: "1"})
    containers = [replace(first, resources=asked)]
    await cluster.add(replace(both, spec=replace(both.spec, containers=containers)))
    await cluster.add(one_gpu("q"), one_gpu("r"))
    given = [one.status.allocation for one in claims(cluster)]
    assert sorted(devices_of(one)[0] for one in given if one is not None) == ["a", "b", "c"]
    assert sorted(map(cluster.node_of, "pqr")) == ["", "n0", "n0"]


@on_cluster
async def test_more_devices_than_a_claim_can_have_are_an_error(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", *(f"d{number}" for number in range(40))))
    await cluster.add(make_node("n0"), one_gpu("p", count="33"))
    assert cluster.message_of("p") == (
        'running "DynamicResources" filter plugin: claim default/<extended-resources>: number of '
        "requested devices 33 exceeds the claim limit of 32"
    )
    await cluster.add(one_gpu("q", count="1000000000"))
    assert cluster.node_of("q") == ""


@on_cluster
async def test_a_pod_of_very_many_containers_makes_no_claim_of_as_many_requests(
    cluster: Cluster,
) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", "a"))
    containers = [container(f"c{number}", gpu="1") for number in range(500)]
    init = [container(f"i{number}", gpu="500") for number in range(500)]
    await cluster.add(make_node("n0"), asking("p", *containers, initContainers=init))
    assert "number of requested devices 500 exceeds" in cluster.message_of("p")


# --- what is made in vain


@on_cluster
async def test_a_binding_that_fails_deletes_the_claim(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", "a"))
    post = cluster.client.post

    async def failing(*arguments: Any, **more: Any) -> Any:
        raise Conflict("not now")

    cluster.client.post = failing  # type: ignore[method-assign]  # the failure
    await cluster.add(make_node("n0"), one_gpu("p"))
    assert claims(cluster) == []
    pod = cluster.pod("p")
    assert pod is not None
    assert pod.status.extendedResourceClaimStatus is None
    cluster.client.post = post  # type: ignore[method-assign]  # it is over
    await cluster.wait_for_backoff()
    assert cluster.node_of("p") == "n0"
    assert len(claims(cluster)) == 1


@on_cluster
async def test_a_claim_that_cannot_be_made_takes_no_device(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", "a"))
    create = cluster.client.create

    async def failing(item: Any) -> Any:
        if isinstance(item, ResourceClaim) and item.metadata.generateName:
            raise Conflict("exceeded quota")
        return await create(item)

    cluster.client.create = failing  # type: ignore[method-assign]  # the failure
    failures = CLAIMS_MADE.labelled("failure")
    before = failures.value
    await cluster.add(make_node("n0"), one_gpu("p"))
    assert cluster.node_of("p") == ""
    assert failures.value == before + 1
    assert cluster.client.all(Event)[0].message == (
        'running PreBind plugin "DynamicResources": create claim for extended resources '
        "default/p-extended-resources-: exceeded quota"
    )
    await cluster.client.create(make_claim("c", wanted()))
    await cluster.add(using("q", "c"))
    assert cluster.node_of("q") == "n0"


@on_cluster
async def test_a_claim_left_by_an_earlier_scheduler_is_deleted_and_made_anew(
    cluster: Cluster,
) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", "a"))
    pod = await cluster.client.create(one_gpu("p"))
    await cluster.settle()
    assert cluster.message_of("p").startswith("no nodes available to schedule pods")
    left = special_claim(pod, {GPU: "gpu"}, "left").claim
    meta = replace(left.metadata, name="left", finalizers=[FINALIZER])
    await cluster.client.create(replace(left, metadata=meta))
    await cluster.add(make_node("n0"))
    await cluster.wait_for_backoff()
    assert [one.metadata.name for one in claims(cluster)] != ["left"]
    note = "".join(one.message for one in cluster.client.all(Event))
    assert "1 cannot schedule extended resource claim" in note
    assert "deletion of ResourceClaim completed" in note
    await cluster.wait_for_backoff()
    await cluster.wait_for_backoff()
    assert cluster.node_of("p") == "n0"
    (claim,) = claims(cluster)
    assert claim.metadata.name != "left"


@on_cluster
async def test_a_claim_left_over_is_deleted_though_another_claim_is_missing(
    cluster: Cluster,
) -> None:
    await cluster.client.create(named_class())
    pod = await cluster.client.create(using("p", "missing"))
    left = special_claim(pod, {}, "left").claim
    meta = replace(left.metadata, name="left", finalizers=[FINALIZER])
    await cluster.client.create(replace(left, metadata=meta))
    await cluster.add(make_node("n0"))
    await cluster.wait_for_backoff()
    await cluster.wait_for_backoff()
    assert claims(cluster) == []
    assert 'resourceclaim.resource.k8s.io "missing" not found' in cluster.message_of("p")


@on_cluster
async def test_a_claim_that_names_another_pod_is_left_alone(cluster: Cluster) -> None:
    await cluster.client.create(named_class())
    await cluster.client.create(gpus("n0", "a"))
    left = special_claim(one_gpu("other"), {GPU: "gpu"}, "left").claim
    await cluster.client.create(replace(left, metadata=replace(left.metadata, name="left")))
    await cluster.add(make_node("n0"), one_gpu("p"))
    assert cluster.node_of("p") == "n0"
    assert "left" in [one.metadata.name for one in claims(cluster)]
