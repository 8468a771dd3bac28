"""Pods leave devices with NoExecute taints that their claims do not tolerate."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from fakes.harness import Harness

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import ResourceClaim, ResourceSlice
from kubelite.api.machinery.times import format_time
from kubelite.control.device_taint_eviction import (
    DELETION_SECONDS,
    DELETIONS,
    DeviceTaintEvictionController,
)
from unit.control.scheduler.devices.offers import DRIVER, make_device, make_slice
from unit.control.scheduler.pods import make_pod

FOREVER = {"key": "broken", "operator": "Exists", "effect": "NoExecute"}


def slice_with(*taints: dict[str, Any], generation: int = 1) -> ResourceSlice:
    return make_slice(
        f"s{generation}", make_device("d", taints=list(taints)), pool={"generation": generation}
    )


async def use(harness: Harness, *tolerations: dict[str, Any], node: str = "n0") -> None:
    """Let a pod use the device by a claim."""
    entry = {"name": "gpu", "resourceClaimName": "c"}
    made = await harness.client.create(make_pod("p", resourceClaims=[entry], nodeName=node))
    result = {"request": "r", "driver": DRIVER, "pool": "pool", "device": "d"}
    user = {"resource": "pods", "name": "p", "uid": made.metadata.uid}
    body = {
        "metadata": {"name": "c", "namespace": "default"},
        "status": {
            "allocation": {"devices": {"results": [{**result, "tolerations": tolerations}]}},
            "reservedFor": [user],
        },
    }
    await harness.client.create(msgspec.convert(body, ResourceClaim))
    await harness.settle()


def stays(harness: Harness) -> bool:
    return [one.metadata.deletionTimestamp for one in harness.client.all(Pod)] == [None]


def taint(harness: Harness, **fields: Any) -> dict[str, Any]:
    added = format_time(harness.clock.now())
    return {"key": "broken", "effect": "NoExecute", "timeAdded": added, **fields}


@pytest.mark.parametrize(
    ("tolerations", "fields", "leaves"),
    [
        ([], {}, True),
        ([], {"effect": "NoSchedule"}, False),
        ([FOREVER], {}, False),
        ([{**FOREVER, "key": "other"}], {}, True),
        ([{**FOREVER, "effect": ""}], {}, True),  # one of all effects tolerates none of them here
        ([{**FOREVER, "tolerationSeconds": 0}], {}, True),
        ([{**FOREVER, "tolerationSeconds": 60}], {}, False),
    ],
)
async def test_who_leaves(
    tolerations: list[dict[str, Any]], fields: dict[str, Any], leaves: bool
) -> None:
    async with Harness(DeviceTaintEvictionController) as harness:
        await use(harness, *tolerations)
        await harness.client.create(slice_with(taint(harness, **fields)))
        await harness.settle()
        assert stays(harness) is not leaves
        events = [(one.reason, one.message) for one in harness.client.all(Event)]
    assert events == ([("DeviceTaintManagerEviction", "Marking for deletion")] if leaves else [])


async def test_a_toleration_ends() -> None:
    async with Harness(DeviceTaintEvictionController) as harness:
        added = format_time(harness.clock.now() - timedelta(seconds=61))
        await use(harness, {**FOREVER, "tolerationSeconds": 60})
        await harness.client.create(slice_with(taint(harness, timeAdded=added)))
        await harness.settle()
        assert not stays(harness)


async def test_a_taint_of_an_older_generation_of_the_pool_counts_no_longer() -> None:
    async with Harness(DeviceTaintEvictionController) as harness:
        await harness.client.create(slice_with(generation=2))
        await harness.client.create(slice_with(taint(harness)))
        await use(harness)
        assert stays(harness)


async def test_a_pod_without_a_node_stays_until_it_has_one() -> None:
    async with Harness(DeviceTaintEvictionController) as harness:
        await harness.client.create(slice_with(taint(harness)))
        await use(harness, node="")
        assert stays(harness)
        await harness.client.patch(Pod, "p", {"spec": {"nodeName": "n0"}}, "default")
        await harness.settle()
        assert not stays(harness)


async def test_slices_are_followed_only_once_a_claim_is_in_use() -> None:
    async with Harness(DeviceTaintEvictionController) as harness:
        await harness.client.create(slice_with(taint(harness)))
        await harness.settle()
        (running,) = harness.runtime._running
        assert (ResourceSlice, "") not in running.context.wanted
        await use(harness)
        assert (ResourceSlice, "") in running.context.wanted


async def test_pods_that_leave_are_counted_with_the_time_it_took() -> None:
    deletions, seconds = DELETIONS.labelled(), DELETION_SECONDS.labelled()
    before = deletions.value, seconds.count, seconds.total
    async with Harness(DeviceTaintEvictionController) as harness:
        added = format_time(harness.clock.now() - timedelta(seconds=61))
        await use(harness, {**FOREVER, "tolerationSeconds": 60})
        await harness.client.create(slice_with(taint(harness, timeAdded=added)))
        await harness.settle()
    assert (deletions.value, seconds.count) == (before[0] + 1, before[1] + 1)
    assert 1 <= seconds.total - before[2] < 3


async def test_pods_leave_the_devices_of_their_extended_resources() -> None:
    async with Harness(DeviceTaintEvictionController) as harness:
        await harness.client.create(slice_with(taint(harness)))
        made = await harness.client.create(make_pod("p"))
        user = {"resource": "pods", "name": "p", "uid": made.metadata.uid}
        result = {"request": "r", "driver": DRIVER, "pool": "pool", "device": "d"}
        status = {"allocation": {"devices": {"results": [result]}}, "reservedFor": [user]}
        body = {"metadata": {"name": "c", "namespace": "default"}, "status": status}
        await harness.client.create(msgspec.convert(body, ResourceClaim))
        named = {"resourceClaimName": "c", "requestMappings": []}
        status = {"extendedResourceClaimStatus": named}
        await harness.client.patch(Pod, "p", {"status": status}, "default", subresource="status")
        await harness.settle()
        assert stays(harness)
        await harness.client.patch(Pod, "p", {"spec": {"nodeName": "n0"}}, "default")
        await harness.settle()
        assert not stays(harness)
