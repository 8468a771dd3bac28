"""Deletes pods that use a device with a NoExecute taint that their claim does not tolerate, or not for longer.

Slices are followed from the first claim in use on. Conditions, events and times are upstream's.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from kubelite.api.client.events import NORMAL
from kubelite.api.client.protocol import Mirror
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.resource import (
    DeviceRequestAllocationResult,
    DeviceTaint,
    ResourceClaim,
    ResourceSlice,
)
from kubelite.api.machinery.device_tolerations import covers
from kubelite.api.machinery.resource_claims import claims_of
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch
from kubelite.metrics import REGISTRY

DELETIONS = REGISTRY.counter(
    "device_taint_eviction_controller_pod_deletions_total",
    "Pods that were deleted because of taints of their devices.",
)
DELETION_SECONDS = REGISTRY.histogram(
    "device_taint_eviction_controller_pod_deletion_duration_seconds",
    "Time from when a taint took effect until the pod was deleted.",
    bounds=(0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 120.0, 180.0, 240.0),
)
POOL_INDEX: Final = "pool of devices"
NO_EXECUTE: Final = "NoExecute"


class DeviceTaintEvictionController:
    """Reconciles allocated claims."""

    name = "device-taint-eviction-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._pods = context.mirror(Pod)
        self._claims = context.mirror(ResourceClaim)
        self._slices: Mirror[ResourceSlice] | None = None  # from the first claim in use on

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch claims in use, and pods with claims that get a node."""
        return (Watch(ResourceClaim, where=_use_changed), Watch(Pod, _claims_of, where=_placed))

    async def reconcile(self, key: Key) -> float | None:
        """Evict the pods of a claim once its tolerations end; else return the seconds until then."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None or claim.status.allocation is None or not claim.status.reservedFor:
            return None
        slices = await self._followed()
        now = self._context.clock.now()
        deadline = leave_at(claim, slices, now)
        if deadline is None:
            return None
        if deadline > now:
            return (deadline - now).total_seconds()
        for user in claim.status.reservedFor:
            pod = self._pods.get(user.name, key.namespace) if user.resource == "pods" else None
            if pod is not None and pod.metadata.uid == user.uid and pod.spec.nodeName:
                await self._evict(pod, deadline)
        return None

    async def _followed(self) -> Mirror[ResourceSlice]:
        """Return the mirror of slices; the first call begins it."""
        slices = self._slices
        if slices is None:
            slices = self._slices = self._context.mirror(ResourceSlice)
            slices.add_index(POOL_INDEX, lambda one: [f"{one.spec.driver}/{one.spec.pool.name}"])
            self._claims.add_index(POOL_INDEX, _pools_of)
            await slices.synced()
            self._context.ends.append(slices.subscribe(self._slice_changed))
        await slices.synced()
        return slices

    def _slice_changed(self, before: ResourceSlice | None, after: ResourceSlice | None) -> None:
        for one in (before, after):
            if one is None or not any(_evicting(device.taints) for device in one.spec.devices):
                continue
            pool = f"{one.spec.driver}/{one.spec.pool.name}"
            for claim in self._claims.indexed(POOL_INDEX, pool):
                self._context.queue.add(Key(claim.metadata.namespace, claim.metadata.name))

    async def _evict(self, pod: Pod, since: datetime) -> None:
        """Delete a pod that should have left since a date."""
        if pod.metadata.deletionTimestamp is not None or is_terminal(pod):
            return
        meta = pod.metadata
        self._context.events.event(
            pod, NORMAL, "DeviceTaintManagerEviction", "Marking for deletion"
        )
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByDeviceTaintManager",
            "message": "Device Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": format_time(self._context.clock.now()),
        }
        try:
            await self._client.patch(
                Pod,
                meta.name,
                {"metadata": {"uid": meta.uid}, "status": {"conditions": [target]}},
                meta.namespace,
                patch_type="strategic",
                subresource="status",
            )
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid)
        except NotFound:
            return
        DELETIONS.increase()
        DELETION_SECONDS.observe((self._context.clock.now() - since).total_seconds())


def leave_at(claim: ResourceClaim, slices: Mirror[ResourceSlice], now: datetime) -> datetime | None:
    """Return when the pods of an allocated claim have to leave because of taints of its devices; None: they stay."""
    allocation = claim.status.allocation
    times = [
        since + timedelta(seconds=seconds)
        for result in (allocation.devices.results if allocation is not None else ())
        for taint in _taints_of(result, slices)
        if (seconds := tolerated_seconds(result, taint)) is not None
        for since in [parse_time(taint.timeAdded) if taint.timeAdded else now]
    ]
    return min(times, default=None)


def tolerated_seconds(result: DeviceRequestAllocationResult, taint: DeviceTaint) -> int | None:
    """Return for how long a taint is tolerated; None: for ever."""
    found = [one for one in result.tolerations if one.effect == NO_EXECUTE and covers(one, taint)]
    if any(one.tolerationSeconds is None for one in found):
        return None
    return min((max(one.tolerationSeconds or 0, 0) for one in found), default=0)


def _taints_of(
    result: DeviceRequestAllocationResult, slices: Mirror[ResourceSlice]
) -> Iterator[DeviceTaint]:
    """Yield the taints that evict from a device, as the newest slices of its pool have them."""
    pool = slices.indexed(POOL_INDEX, f"{result.driver}/{result.pool}")
    newest = max((one.spec.pool.generation for one in pool), default=0)
    for one in pool:
        for device in one.spec.devices if one.spec.pool.generation == newest else ():
            if device.name == result.device:
                yield from _evicting(device.taints)


def _evicting(taints: Iterable[DeviceTaint]) -> list[DeviceTaint]:
    return [one for one in taints if one.effect == NO_EXECUTE]


def _pools_of(claim: ResourceClaim) -> Sequence[str]:
    allocation = claim.status.allocation
    results = allocation.devices.results if allocation is not None else ()
    return sorted({f"{one.driver}/{one.pool}" for one in results})


def _use_changed(before: ResourceClaim | None, after: ResourceClaim | None) -> bool:
    if after is None or not after.status.reservedFor:
        return False
    return before is None or before.status != after.status


def _placed(before: Pod | None, after: Pod | None) -> bool:
    if after is None or not after.spec.nodeName or not claims_of(after):
        return False
    return before is None or not before.spec.nodeName


def _claims_of(pod: Pod) -> Iterable[Key]:
    for name in claims_of(pod):
        yield Key(pod.metadata.namespace, name)
