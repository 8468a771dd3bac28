"""What quotas count, and what makes them count again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from fakes.harness import Harness
from fakes.static_resources import StaticResources
from msgspec.structs import replace
from simulation.simulated_loop import simulated

from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.quota import ResourceQuota
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.resource import DeviceClass, ResourceClaim
from kubelite.api.machinery.extended_resources import CLAIM_ANNOTATION
from kubelite.api.machinery.times import format_time
from kubelite.control.options import Options, Resource
from kubelite.control.ownership import controller_reference
from kubelite.control.resource_quota import (
    OBJECT_COST_BYTES,
    ResourceQuotaController,
    _claim_changed,
    _gone_or_changed,
    _spec_changed,
    seconds_until_less,
    used,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RESOURCES = tuple(
    Resource("", "v1", plural, kind, True)
    for plural, kind in (
        ("pods", "Pod"),
        ("services", "Service"),
        ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("secrets", "Secret"),
    )
)


class ServedResources:
    """What is served, which may change."""

    served: Sequence[Resource] = RESOURCES

    def resources(self) -> Sequence[Resource]:
        return self.served

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


RESOURCES_SERVED = ServedResources()


def made(kind: type[Any], name: str, namespace: str = "default", **fields: Any) -> Any:
    return msgspec.convert({"metadata": {"name": name, "namespace": namespace}, **fields}, kind)


def pod(name: str, cpu: str = "250m", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": resources}], **spec},
    }


def quota(name: str = "q", namespace: str = "default", **spec: Any) -> ResourceQuota:
    item: ResourceQuota = made(ResourceQuota, name, namespace, spec=spec)
    return item


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    RESOURCES_SERVED.served = RESOURCES
    options = Options(resources=RESOURCES_SERVED)
    async with Harness(ResourceQuotaController, options=options) as harness:
        harness.client.dynamic["", "v1", "secrets"] = Secret
        yield harness


def use_of(harness: Harness, name: str = "q") -> dict[str, str]:
    item: ResourceQuota = harness.client.mirror(ResourceQuota).get(name, "default")
    return dict(item.status.used)


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        ({}, {"count/secrets": "1", "pods": "3", "requests.cpu": "750m"}),
        ({"scopes": ["Terminating"]}, {"count/secrets": "0", "pods": "1", "requests.cpu": "250m"}),
        ({"scopes": ["NotTerminating"]}, {"count/secrets": "0", "pods": "2", "requests.cpu": "500m"}),
    ],
)  # fmt: skip
def test_what_is_used_of_a_quota(scopes: dict[str, Any], expected: dict[str, str]) -> None:
    objects = {
        ("pods", ""): [
            pod("a"),
            pod("b", activeDeadlineSeconds=5),
            pod("c"),
            {**pod("d"), "status": {"phase": "Failed"}},
        ],
        ("secrets", ""): [{"metadata": {"name": "s"}}],
    }
    hard = {"pods": "9", "requests.cpu": "9", "count/secrets": "9"}
    assert used(quota(hard=hard, **scopes), objects, NOW) == expected


async def test_only_the_own_namespace_counts_and_what_is_not_limited_is_not_written(
    harness: Harness,
) -> None:
    client = harness.client
    for namespace in ("default", "other"):
        await client.create(made(Pod, "a", namespace, spec=pod("a")["spec"]))
    await client.create(made(Secret, "s"))
    await client.create(quota(hard={"pods": "5.0"}))
    await harness.settle()
    (item,) = client.all(ResourceQuota)
    assert (item.status.used, item.status.hard) == ({"pods": "1"}, {"pods": "5"})


POD_CHANGES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"status": {"phase": "Succeeded"}}, {"pods": "0", "requests.cpu": "0"}),
    ({"spec": {"containers": [{"name": "c"}]}}, {"pods": "1", "requests.cpu": "0"}),
    ({"spec": {"resources": {"requests": {"cpu": "100m"}}}}, {"pods": "1", "requests.cpu": "100m"}),
    (
        {"spec": {"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "2"}}}]}},
        {"pods": "1", "requests.cpu": "2"},
    ),
    ({"spec": {"activeDeadlineSeconds": 5}}, {"pods": "0", "requests.cpu": "0"}),
]


@pytest.mark.parametrize(("change", "expected"), POD_CHANGES)
async def test_a_change_of_what_a_pod_counts_for_is_counted(
    harness: Harness, change: dict[str, Any], expected: dict[str, str]
) -> None:
    client = harness.client
    await client.create(made(Pod, "a", spec=pod("a")["spec"]))
    hard = {"pods": "5", "requests.cpu": "5"}
    await client.create(quota(hard=hard, scopes=["NotTerminating"]))
    await harness.settle()
    assert use_of(harness) == {"pods": "1", "requests.cpu": "250m"}
    await client.patch(Pod, "a", change, "default")
    await harness.settle()
    assert use_of(harness) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"labels": {"a": "b"}}},
        {"spec": {"nodeName": "n"}},
        {"status": {"phase": "Running"}},
    ],
)
async def test_other_changes_of_a_pod_are_not_looked_at(
    harness: Harness, change: dict[str, Any]
) -> None:
    client = harness.client
    await client.create(made(Pod, "a", spec=pod("a")["spec"]))
    await client.create(quota(hard={"pods": "5"}))
    await harness.settle()
    runs = len(harness.offload.costs)
    await client.patch(Pod, "a", change, "default")
    # What is new has been counted by admission.
    await client.create(made(Pod, "b", spec=pod("b")["spec"]))
    await client.create(made(Secret, "s"))
    await harness.settle()
    assert len(harness.offload.costs) == runs


async def test_quotas_of_the_namespace_alone_count_again(harness: Harness) -> None:
    client = harness.client
    await client.create(made(Pod, "a", spec=pod("a")["spec"]))
    for name, namespace in (("q", "default"), ("r", "default"), ("q", "other")):
        await client.create(quota(name, namespace, hard={"pods": "5"}))
    await harness.settle()
    runs = len(harness.offload.costs)
    await client.delete(Pod, "a", "default")
    await harness.settle()
    assert len(harness.offload.costs) == runs + 2
    assert use_of(harness) == use_of(harness, "r") == {"pods": "0"}


SMALLER: list[tuple[type[Kind], dict[str, Any], dict[str, Any], str]] = [
    (
        Service,
        {"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}},
        {"spec": {"type": "ClusterIP"}},
        "services.nodeports",
    ),
    (
        PersistentVolumeClaim,
        {
            "spec": {"resources": {"requests": {"storage": "2"}}},
            "status": {"allocatedResources": {"storage": "2"}},
        },
        {
            "spec": {"resources": {"requests": {"storage": "0"}}},
            "status": {"allocatedResources": None},
        },
        "requests.storage",
    ),
    (
        PersistentVolumeClaim,
        {
            "spec": {"resources": {"requests": {"storage": "0"}}},
            "status": {"allocatedResources": {"storage": "2"}},
        },
        {"status": {"allocatedResources": None}},
        "requests.storage",
    ),
]


@pytest.mark.parametrize(("kind", "fields", "change", "resource"), SMALLER)
@pytest.mark.parametrize("goes", [True, False])
async def test_services_and_claims_that_need_less(
    harness: Harness,
    kind: type[Kind],
    fields: dict[str, Any],
    change: dict[str, Any],
    resource: str,
    goes: bool,
) -> None:
    client = harness.client
    await client.create(made(kind, "x", **fields))
    await client.create(quota(hard={resource: "5"}))
    await harness.settle()
    assert use_of(harness) == {resource: "2"}
    if goes:
        await client.delete(kind, "x", "default")
    else:
        await client.patch(kind, "x", change, "default")
    await harness.settle()
    assert use_of(harness) == {resource: "0"}


async def test_another_limit_is_counted_and_a_foreign_status_put_right(harness: Harness) -> None:
    client = harness.client
    await client.create(quota(hard={"pods": "5"}))
    await harness.settle()
    await client.patch(ResourceQuota, "q", {"spec": {"hard": {"secrets": "1"}}}, "default")
    await harness.settle()
    assert use_of(harness) == {"pods": "0", "secrets": "0"}
    await client.patch(ResourceQuota, "q", {"status": {"hard": {"pods": "9"}}}, "default")
    await harness.settle()
    assert client.all(ResourceQuota)[0].status.hard == {"pods": "5", "secrets": "1"}
    writes = len(client.writes)
    await client.patch(ResourceQuota, "q", {"metadata": {"labels": {"a": "b"}}}, "default")
    await client.delete(ResourceQuota, "q", "default")
    await harness.settle()
    assert len(client.writes) == writes + 2


def deleted(seconds: float, grace: int | None = 0) -> Pod:
    fields: dict[str, Any] = {"deletionTimestamp": format_time(NOW + timedelta(seconds=seconds))}
    if grace is not None:
        fields["deletionGracePeriodSeconds"] = grace
    item: Pod = msgspec.convert({"metadata": {"name": "a", **fields}}, Pod)
    return item


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], None),
        ([Pod()], None),
        ([msgspec.convert({"metadata": {"deletionGracePeriodSeconds": 30}}, Pod)], None),
        ([deleted(10, None)], None),
        ([deleted(10)], 11),
        ([deleted(10, 5), deleted(30)], 16),
        ([deleted(30), deleted(10, 5)], 16),
        ([deleted(0)], 1),
        ([deleted(-1)], None),
        ([deleted(-1), deleted(5)], 6),
    ],
)
def test_when_a_pod_that_goes_counts_no_more(pods: list[Pod], expected: float | None) -> None:
    assert seconds_until_less(pods, NOW) == expected


@simulated
async def test_a_pod_that_a_silent_node_never_ends_is_counted_no_more_in_time() -> None:
    options = Options(resources=StaticResources(RESOURCES))
    async with Harness(ResourceQuotaController, options=options) as harness:
        client = harness.client
        fields = pod("a", nodeName="n")
        await client.create(made(Pod, "a", spec=fields["spec"]))
        await client.create(quota(hard={"pods": "5"}))
        grace = {"deletionGracePeriodSeconds": 30, "deletionTimestamp": format_time(harness.clock.now())}  # fmt: skip
        await client.patch(Pod, "a", {"metadata": {**grace, "finalizers": ["kept"]}}, "default")
        await harness.settle()
        assert use_of(harness) == {"pods": "1"}
        for _ in range(40):
            harness.clock.advance(1)
            await asyncio.sleep(1)
        assert use_of(harness) == {"pods": "0"}


async def test_what_is_only_counted_is_looked_at_when_it_goes_and_followed_while_it_is_served(
    harness: Harness,
) -> None:
    client = harness.client
    await client.create(quota(hard={"secrets": "5", "count/things.example.com": "5"}))
    await harness.settle()
    runs = len(harness.offload.costs)
    secrets = client.mirror(Secret)
    followed = len(secrets.listeners)
    await client.create(made(Secret, "s"))
    await client.patch(Secret, "s", {"metadata": {"labels": {"a": "b"}}}, "default")
    await harness.settle()
    # What is new has been counted by admission.
    assert len(harness.offload.costs) == runs
    await client.delete(Secret, "s", "default")
    await harness.settle()
    assert len(harness.offload.costs) == runs + 1
    RESOURCES_SERVED.served = RESOURCES[:1]
    await client.patch(ResourceQuota, "q", {"spec": {"hard": {"pods": "1"}}}, "default")
    await harness.settle()
    assert len(secrets.listeners) == followed - 1


async def test_namesakes_in_another_group_are_not_the_cores(harness: Harness) -> None:
    client = harness.client
    metrics = Resource("metrics.example.com", "v1", "pods", "Pod", True)
    wide = Resource("example.com", "v1", "wide", "Wide", False)
    RESOURCES_SERVED.served = (*RESOURCES, metrics, wide)
    client.dynamic["metrics.example.com", "v1", "pods"] = Secret
    client.dynamic["example.com", "v1", "wide"] = Secret
    for name in ("a", "b"):
        await client.create(made(Pod, name, spec=pod(name)["spec"]))
    await client.create(made(Secret, "s"))
    hard = {"pods": "5", "count/pods.metrics.example.com": "5", "count/wide.example.com": "5"}
    await client.create(quota(hard=hard))
    await harness.settle()
    assert use_of(harness) == {
        "pods": "2",
        "count/pods.metrics.example.com": "1",
        # Not of a namespace.
        "count/wide.example.com": "0",
    }


async def test_the_cost_counts_objects_and_what_is_in_pods(harness: Harness) -> None:
    client = harness.client
    costs = []
    for count in (1, 2, 20):
        containers = [{"name": f"c{number}"} for number in range(count)]
        await client.create(made(Pod, f"p{count}", spec={"containers": containers}))
        await client.create(quota(f"q{count}", hard={"pods": "5"}))
        await harness.settle()
        costs.append(harness.offload.costs[-1])
    assert costs[0] > OBJECT_COST_BYTES
    assert costs[2] - costs[1] > costs[1] - costs[0] > OBJECT_COST_BYTES


def test_what_a_quota_is_looked_at_for() -> None:
    before = quota(hard={"pods": "1"})
    shown = msgspec.structs.replace(before.status, hard={"pods": "1"})
    same = msgspec.structs.replace(before, status=shown)
    assert _spec_changed(None, before)
    assert not _spec_changed(before, None)
    assert not _spec_changed(same, same)
    assert _spec_changed(same, before)
    assert _spec_changed(same, msgspec.structs.replace(same, spec=quota(hard={"a": "1"}).spec))
    more = msgspec.structs.replace(same, spec=quota(hard={"pods": "1"}, scopes=["X"]).spec)
    assert _spec_changed(same, more)


@pytest.mark.parametrize("changed", [_claim_changed, _gone_or_changed])
def test_a_claim_or_service_that_stays_as_it_is_is_not_looked_at(changed: Any) -> None:
    one = made(PersistentVolumeClaim, "x", spec={"storageClassName": "a"})
    other = made(PersistentVolumeClaim, "x", spec={"storageClassName": "b"})
    relabelled = msgspec.structs.replace(one, metadata=quota().metadata)
    assert not changed(None, one)
    assert changed(one, None)
    assert changed(one, other)
    assert not changed(one, relabelled)


async def test_devices_of_claims_are_counted_again_when_a_claim_goes_or_a_class_changes() -> None:
    served = ServedResources()
    claims = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True)
    served.served = (*RESOURCES, claims)
    asked = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 2}
    spec = {"devices": {"requests": [{"name": "r", "exactly": asked}]}}
    devices, gpus = "gpu.deviceclass.resource.k8s.io/devices", "requests.example.com/gpu"
    async with Harness(ResourceQuotaController, options=Options(resources=served)) as harness:
        client = harness.client
        await client.create(made(DeviceClass, "gpu", ""))
        await client.create(made(ResourceClaim, "a", spec=spec))
        await client.create(made(ResourceClaim, "b", spec=spec))
        await client.create(quota(hard={devices: "9", gpus: "9"}))
        await harness.settle()
        assert use_of(harness) == {devices: "4", gpus: "0"}
        changed = {"spec": {"extendedResourceName": "example.com/gpu"}}
        await client.patch(DeviceClass, "gpu", changed)
        await harness.settle()
        assert use_of(harness) == {devices: "4", gpus: "4"}
        await client.delete(ResourceClaim, "a", "default")
        await harness.settle()
        assert use_of(harness) == {devices: "2", gpus: "2"}


async def test_the_claim_for_a_pods_extended_resources_is_in_the_count_of_the_pod() -> None:
    served = ServedResources()
    claims = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True)
    served.served = (*RESOURCES, claims)
    asked = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    spec = {"devices": {"requests": [{"name": "r", "exactly": asked}]}}
    gpus = "requests.example.com/gpu"
    async with Harness(ResourceQuotaController, options=Options(resources=served)) as harness:
        client = harness.client
        named = {"extendedResourceName": "example.com/gpu"}
        await client.create(made(DeviceClass, "gpu", "", spec=named))
        resources = {"requests": {"example.com/gpu": "1"}}
        containers = [{"name": "c", "resources": resources}]
        user = await client.create(made(Pod, "p", spec={"containers": containers}))
        for name in ("first", "second"):
            claim = made(ResourceClaim, name, spec=spec)
            owners, annotations = [controller_reference(user)], {CLAIM_ANNOTATION: "true"}
            meta = replace(claim.metadata, ownerReferences=owners, annotations=annotations)
            await client.create(replace(claim, metadata=meta))
        await client.create(quota(hard={gpus: "9"}))
        await harness.settle()
        assert use_of(harness) == {gpus: "2"}
        # The pod says which claim is its own; the other goes, as whoever made it wants.
        status = {"extendedResourceClaimStatus": {"resourceClaimName": "second"}}
        await client.patch(Pod, "p", {"status": status}, "default", subresource="status")
        await client.delete(ResourceClaim, "first", "default")
        await harness.settle()
        assert use_of(harness) == {gpus: "1"}
