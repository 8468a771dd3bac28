"""Others who allocate claims while a decision is made: what is given out is never more than there is."""

import asyncio
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.resource import AllocationResult, ResourceClaim
from kubelite.control.scheduler.devices.claims import ClaimState
from kubelite.control.scheduler.devices.usage import REMEMBERED, Usage
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.steps import STEPS_A_TURN
from unit.control.scheduler.devices.offers import (
    DRIVER,
    make_claim,
    make_class,
    make_device,
    make_slice,
    wanted,
)
from unit.control.scheduler.devices.test_scheduling import claim_of, using
from unit.control.scheduler.pods import make_node
from unit.control.scheduler.test_scheduler import Cluster, on_cluster

SHARED = make_device("a", capacity={"memory": "10Gi"}, allowMultipleAllocations=True)
PARTS = [
    make_device(
        name,
        consumesCounters=[{"counterSet": "whole", "counters": {"memory": {"value": "10Gi"}}}],
    )
    for name in ("left", "right")
]
HALF = {"name": "whole", "counters": {"memory": {"value": "10Gi"}}}


def result(device: str, **fields: Any) -> dict[str, Any]:
    return {"request": "r0", "driver": DRIVER, "pool": "pool", "device": device, **fields}


def allocation(*results: dict[str, Any]) -> AllocationResult:
    return msgspec.convert({"devices": {"results": list(results)}}, AllocationResult)


def allocated(name: str, *results: dict[str, Any]) -> ResourceClaim:
    body = msgspec.to_builtins(make_claim(name, wanted()))
    body["status"] = {"allocation": {"devices": {"results": list(results)}}}
    return msgspec.convert(body, ResourceClaim)


def amid_the_next_decision(cluster: Cluster, claim: ResourceClaim) -> None:
    """Let another writer allocate a claim once devices were found, before they are taken."""
    decider = cluster.scheduler._decider
    choose = decider.choose

    def overtaken(info: PodInfo, claims: ClaimState | None = None) -> Any:
        decider.choose = choose  # type: ignore[method-assign]  # once
        found = yield from choose(info, claims)
        writing = asyncio.ensure_future(cluster.client.create(claim))
        while not writing.done():
            yield STEPS_A_TURN
        return found

    decider.choose = overtaken  # type: ignore[method-assign]  # the other writer


@pytest.mark.parametrize("kind", ["shared", "counters", "whole"])
def test_a_decision_that_others_overtook_is_made_again(kind: str) -> None:
    @on_cluster
    async def check(cluster: Cluster) -> None:
        await cluster.client.create(make_class())
        if kind == "counters":
            counters = {"sharedCounters": [HALF], "allNodes": False}
            pool = {"resourceSliceCount": 2}
            await cluster.client.create(make_slice("counters", pool=pool, **counters))
            await cluster.client.create(make_slice("s", *PARTS, pool=pool))
        else:
            device = SHARED if kind == "shared" else make_device("a")
            await cluster.client.create(make_slice("s", device))
        await cluster.add(make_node("n0"))
        capacity = {"requests": {"memory": "6Gi"}} if kind == "shared" else None
        await cluster.client.create(make_claim("c", wanted(capacity=capacity)))
        theirs = {
            "shared": result("a", shareID="theirs", consumedCapacity={"memory": "6Gi"}),
            "counters": result("right"),
            "whole": result("a"),
        }
        amid_the_next_decision(cluster, allocated("theirs", theirs[kind]))
        await cluster.add(using("p", "c"))
        assert claim_of(cluster, "theirs").status.allocation is not None
        assert claim_of(cluster, "c").status.allocation is None
        await cluster.wait_for_backoff()
        assert "1 cannot allocate all claims" in cluster.message_of("p")
        await cluster.client.delete(ResourceClaim, "theirs", "default")
        await cluster.wait_for_backoff()
        await cluster.wait_for_backoff()
        assert cluster.node_of("p") == "n0"

    check()


def test_only_new_allocations_of_the_same_pools_count() -> None:
    usage, here = Usage(), frozenset({(DRIVER, "pool")})
    start = usage.revision
    usage.assume("own", allocation(result("a")))
    assert usage.has_grown(here, start)
    now = usage.revision
    # Its write arrives, then it is given back: nothing is taken that was not.
    claim = allocated("own", result("a"))
    usage.changed(None, claim)
    usage.changed(claim, None)
    assert not usage.has_grown(here, now)
    usage.assume("other", allocation({**result("a"), "pool": "elsewhere"}))
    assert not usage.has_grown(here, now)
    assert not usage.has_grown(frozenset(), start)


def test_more_allocations_than_are_remembered_count_for_all_pools() -> None:
    usage, here = Usage(), frozenset({(DRIVER, "pool")})
    for number in range(REMEMBERED + 1):
        usage.assume(str(number), allocation({**result("a"), "pool": "elsewhere"}))
    assert usage.has_grown(here, 0)
    assert not usage.has_grown(here, 1)
