"""Recounts the use of quotas. Admission only adds to a quota's use; this controller finds what is freed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from kubelite.api.client.protocol import Mirror, ServedResource
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.quota import ResourceQuota
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.model import Kind, to_wire
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.api.kinds.resource import DeviceClass, ResourceClaim
from kubelite.api.machinery.device_quota import PLURAL as CLAIMS
from kubelite.api.machinery.device_quota import Surroundings, first_claims
from kubelite.api.machinery.extended_resources import is_extended_claim
from kubelite.api.machinery.quantity import ZERO
from kubelite.api.machinery.quota import in_scope, matching, read, scopes, total, usage, written
from kubelite.api.machinery.times import parse_time
from kubelite.control.pods import ITEM_COST_BYTES, containers_and_ports, is_terminal
from kubelite.control.runtime import Context, Key, Watch
from kubelite.limits import INLINE_WORK

FULL: Mapping[str, type[Kind]] = {
    "pods": Pod,
    "services": Service,
    "persistentvolumeclaims": PersistentVolumeClaim,
}
Counted = Kind | ObjectMetadata
OBJECT_COST_BYTES = 100  # cost of an object, for the offload: about thirty microseconds


def used(
    quota: ResourceQuota,
    objects: Mapping[tuple[str, str], Iterable[dict[str, Any]]],
    now: datetime,
    around: Surroundings | None = None,
) -> dict[str, str]:
    """Return how much of the quota's resources the objects use; they are keyed by plural and group."""
    fields = to_wire(quota)
    hard = read(quota.spec.hard)
    sums = total(
        usage(plural, group, item, now, around)
        for (plural, group), items in objects.items()
        for item in items
        if not scopes(fields) or in_scope(fields, plural, group, item)
    )
    return written({name: sums.get(name, ZERO) for name in hard})


def seconds_until_less(pods: Iterable[Pod], now: datetime) -> float | None:
    """Return the seconds until the first pod that is being deleted no longer counts, or None.

    A pod stops counting at the end of its grace period, even if its node does not report.
    """
    dates = (
        parse_time(pod.metadata.deletionTimestamp)
        + timedelta(seconds=pod.metadata.deletionGracePeriodSeconds)
        for pod in pods
        if pod.metadata.deletionTimestamp and pod.metadata.deletionGracePeriodSeconds is not None
    )
    # Dates have whole seconds and a pod still counts at its last one, so add one.
    waits = ((date - now).total_seconds() + 1 for date in dates)
    return min((wait for wait in waits if wait > 0), default=None)


class ResourceQuotaController:
    """Reconciles quotas."""

    name = "resourcequota-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._quotas = context.mirror(ResourceQuota)
        self._full: dict[str, Any] = {plural: context.mirror(kind) for plural, kind in FULL.items()}
        self._ends: dict[ServedResource, Callable[[], None]] = {}  # unsubscribe from mirrors
        self._served = frozenset(context.resources.resources())
        self._claims = context.mirror(ResourceClaim)
        self._classes: Mirror[DeviceClass] | None = None  # from the first quota of claims on
        context.follow(ResourceQuota, self._quota_changed)
        context.ends.append(context.resources.subscribe(self._resources_changed))

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch quotas, and objects that stop using them."""
        return (
            Watch(ResourceQuota, where=_spec_changed),
            Watch(Pod, self._quotas_of, where=_use_changed),
            Watch(Service, self._quotas_of, where=_gone_or_changed),
            Watch(PersistentVolumeClaim, self._quotas_of, where=_claim_changed),
            Watch(ResourceClaim, self._quotas_of, where=_is_gone),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Recount and write the status if it differs. Return the seconds until a pod stops counting, or None."""
        quota = self._quotas.get(key.name, key.namespace)
        if quota is None:
            return None
        objects: dict[tuple[str, str], Sequence[Counted]] = {}
        self._release_uncounted()
        for resource in self._context.resources.resources():
            if _counts(quota, resource):
                objects[_name(resource)] = await self._objects(resource, key.namespace)
        around = await self._around(key.namespace) if CLAIMS in objects else None
        now, counted = self._context.clock.now(), quota
        pods: Any = objects.get(("pods", ""), ())
        amounts, again_seconds = await self._context.offload.run(
            sum(map(_cost_bytes, objects.values())),
            lambda: (
                used(
                    counted,
                    {name: map(_fields, items) for name, items in objects.items()},
                    now,
                    around,
                ),
                seconds_until_less(pods, now),
            ),
        )
        status = replace(quota.status, hard=written(read(quota.spec.hard)), used=amounts)
        if status != quota.status:
            await self._context.client.update(replace(quota, status=status), "status")
        return again_seconds

    async def _objects(self, resource: ServedResource, namespace: str) -> Sequence[Counted]:
        if resource.group == "" and resource.resource in FULL:
            full: Mirror[Any] = self._full[resource.resource]
            return full.list(namespace)
        if _name(resource) == CLAIMS:
            return self._claims.list(namespace)
        if resource not in self._ends:
            try:
                mirror = self._context.metadata_mirror(resource)
            except NotFound:
                return ()  # it is no longer served
            self._context.wanted[resource] = mirror
            self._ends[resource] = mirror.subscribe(self._gone)
        counted: Mirror[Any] = self._context.wanted[resource]
        await counted.synced()
        return counted.list(namespace)

    async def _around(self, namespace: str) -> Surroundings:
        """Return what the claims of a namespace are counted by."""
        if self._classes is None:
            self._classes = self._context.mirror(DeviceClass)
            await self._classes.synced()
            self._context.ends.append(self._classes.subscribe(self._class_changed))
        await self._classes.synced()
        named = {one.metadata.name: one.spec.extendedResourceName for one in self._classes.list()}
        pods: dict[str, Pod] = {
            one.metadata.name: one for one in self._full["pods"].list(namespace)
        }
        claims = self._claims.list(namespace)
        first: dict[str, str] = {}

        def pod(name: str) -> dict[str, Any] | None:
            return to_wire(pods[name]) if name in pods else None

        def first_claim(uid: str) -> str:
            if not first:
                first.update(first_claims(to_wire(one) for one in claims if is_extended_claim(one)))
            return first.get(uid, "")

        return Surroundings(lambda name: named.get(name) or "", pod, first_claim)

    def _class_changed(self, before: DeviceClass | None, after: DeviceClass | None) -> None:
        """Requeue the quotas of claims, whose devices may count for another resource."""
        if before is None or after is None or before.spec != after.spec:
            for quota in self._quotas.list():
                if matching(*CLAIMS, quota.spec.hard):
                    self._context.queue.add(Key(quota.metadata.namespace, quota.metadata.name))

    def _gone(self, before: Any, after: Any) -> None:
        """Requeue the quotas of a namespace in which an object was deleted."""
        if before is not None and after is None:
            for key in self._quotas_of(before):
                self._context.queue.add(key)

    def _quota_changed(self, _before: ResourceQuota | None, after: ResourceQuota | None) -> None:
        if after is None:
            self._release_uncounted()

    def _resources_changed(self) -> None:
        """Requeue the quotas that count a resource which came or went."""
        before, self._served = self._served, frozenset(self._context.resources.resources())
        changed = before ^ self._served
        for quota in self._quotas.list():
            if any(_counts(quota, one) for one in changed):
                self._context.queue.add(Key(quota.metadata.namespace, quota.metadata.name))
        self._release_uncounted()

    def _release_uncounted(self) -> None:
        """Let go of the mirrors that no quota counts, or whose resource is no longer served."""
        if not self._ends:
            return
        served, quotas = frozenset(self._context.resources.resources()), self._quotas.list()
        for resource in tuple(self._ends):
            if resource not in served or not any(_counts(quota, resource) for quota in quotas):
                self._ends.pop(resource)()
                self._context.wanted.pop(resource).close()

    def _quotas_of(self, item: Any) -> Iterable[Key]:
        return (
            Key(one.metadata.namespace, one.metadata.name)
            for one in self._quotas.list(item.metadata.namespace)
        )


def _fields(item: Counted) -> dict[str, Any]:
    if isinstance(item, Kind):
        return to_wire(item)
    fields: dict[str, Any] = to_builtins(item)
    return fields


def _name(resource: ServedResource) -> tuple[str, str]:
    return resource.resource, resource.group


def _counts(quota: ResourceQuota, resource: ServedResource) -> bool:
    return resource.namespaced and bool(matching(*_name(resource), quota.spec.hard))


def _cost_bytes(items: Sequence[Counted]) -> int:
    pods = (item for item in items if isinstance(item, Pod))
    more = ITEM_COST_BYTES * containers_and_ports(pods, INLINE_WORK.value)
    return OBJECT_COST_BYTES * len(items) + more


def _spec_changed(before: ResourceQuota | None, after: ResourceQuota | None) -> bool:
    if after is None:
        return False
    return before is None or before.spec != after.spec or after.status.hard != after.spec.hard


def _use_changed(before: Pod | None, after: Pod | None) -> bool:
    """Return whether a pod may count for less, or for other quotas; admission has counted new pods."""
    return before is not None and (after is None or _use(before) != _use(after))


def _use(pod: Pod) -> tuple[object, ...]:
    """Return all fields that decide what a pod counts for."""
    meta, spec = pod.metadata, pod.spec
    deletion = meta.deletionTimestamp, meta.deletionGracePeriodSeconds
    # The deadline is the scopes' Terminating and NotTerminating.
    amounts = spec.containers, spec.initContainers, spec.resources, spec.activeDeadlineSeconds
    return is_terminal(pod), deletion, amounts, pod.status.extendedResourceClaimStatus


def _claim_changed(
    before: PersistentVolumeClaim | None, after: PersistentVolumeClaim | None
) -> bool:
    return before is not None and (
        after is None
        or before.spec != after.spec
        or before.status.allocatedResources != after.status.allocatedResources
    )


def _is_gone(before: Any, after: Any) -> bool:
    return before is not None and after is None


def _gone_or_changed(before: Any, after: Any) -> bool:
    return before is not None and (after is None or before.spec != after.spec)
