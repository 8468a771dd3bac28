"""ResourceQuota: a namespace never uses more than its quotas allow, also under concurrent writes.

Each write adds its usage to the status of its quotas, in the same commit as the object. It adds to the writes in
flight, so many writes of a namespace share one commit to disk. That commit succeeds or fails as a whole, so the usage
is exact after any crash, and a failed write adds nothing. The quota controller subtracts freed usage.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.quota import ResourceQuota as ResourceQuotaKind
from kubelite.api.kinds.model import Kind
from kubelite.api.kinds.resource import DeviceClass, ResourceClaim
from kubelite.api.machinery.device_quota import Surroundings, first_claims
from kubelite.api.machinery.quota import (
    Amounts,
    added,
    in_scope,
    increase,
    matching,
    over,
    read,
    total,
    unspecified,
    usage,
    written,
)
from kubelite.api.registry.admission.refusal import forbidden
from kubelite.api.registry.admission.request import AdmissionRequest, Verb
from kubelite.api.registry.objects import decode, put
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.table import ResourceTable
from kubelite.clock import Clock
from kubelite.store.protocol import Operation, Store


class Counted:
    """The reservation of a write whose usage has been added to quotas."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._operations = operations

    def operations(self) -> Sequence[Operation]:
        """Return the new states of the quotas."""
        return self._operations

    def settled(self, *, committed: bool) -> None:
        """Do nothing: the commit has written the usage or has failed as a whole."""


class ResourceQuota:
    """Adds the usage of writes to quotas and rejects those that exceed them."""

    name: ClassVar = "ResourceQuota"

    def __init__(self, store: Store, resources: ResourceTable, clock: Clock) -> None:
        self._store = store
        self._resources = resources
        self._clock = clock

    async def validate(self, request: AdmissionRequest) -> None:
        """Reserve the usage of a write in all its quotas; raises Forbidden."""
        namespace = request.attributes.namespace
        if request.object is None or not namespace or not self._counts(request):
            return
        # This plugin is the last one, so nothing is awaited from here until the store has planned the commit. If
        # something were, the expected revisions of the operations would cause a retry of the write.
        operations = self._planned(request)
        if operations:
            request.reserve(Counted(operations))

    def _counts(self, request: AdmissionRequest) -> bool:
        resource, subresource = request.resource, request.attributes.subresource
        if request.operation is Verb.CREATE:
            return not subresource
        if request.operation is not Verb.UPDATE or request.old is None or resource.group:
            return False
        if resource.plural == "pods":
            return subresource == "resize" or (not subresource and _changes_scope(request))
        if resource.plural == "persistentvolumeclaims":
            return subresource in ("", "status")
        return resource.plural == "services" and not subresource

    def _planned(self, request: AdmissionRequest) -> list[Operation]:
        operations: list[Operation] = []
        kind = self._resources.by_kind(ResourceQuotaKind.gvk)
        assert kind is not None
        for entry in self._store.planned(f"{kind.prefix}{request.attributes.namespace}/"):
            quota = decode.decode(entry.value)
            used = self._after(request, quota)
            if used is None:
                continue
            hard = (quota.get("spec") or {}).get("hard") or {}
            quota["status"] = {"hard": hard, "used": written(used)}
            operations.append(put(kind, quota, entry.revision))
        return operations

    def _after(self, request: AdmissionRequest, quota: dict[str, Any]) -> Amounts | None:
        """Return the usage of a quota after the write; None if the write does not use it."""
        item = request.object
        assert item is not None
        plural, group = request.resource.plural, request.resource.group
        hard = read((quota.get("spec") or {}).get("hard"))
        names = matching(plural, group, hard)
        if not names or not in_scope(quota, plural, group, item):
            return None
        title = quota["metadata"]["name"]
        if plural == "pods" and (problem := unspecified(item, names)):
            raise forbidden(request, f"failed quota: {title}: {problem}")
        now = self._clock.now()
        before: Amounts = {}
        around = self._around(request.attributes.namespace)
        if request.old is not None and in_scope(quota, plural, group, request.old):
            before = usage(plural, group, request.old, now, around)
        after = usage(plural, group, item, now, around)
        more = {name: q for name, q in increase(after, before).items() if name in names}
        if not more:
            return None
        used = self._used(request.attributes.namespace, quota, hard)
        wanted = added(used, more)
        exceeded = over(wanted, hard, list(more))
        if exceeded and request.attributes.subresource != "status":
            raise forbidden(
                request,
                f"exceeded quota: {title}, requested: {_listed(more, exceeded)}, used: {_listed(used, exceeded)}, "
                f"limited: {_listed(hard, exceeded)}",
            )
        return wanted

    def _used(self, namespace: str, quota: dict[str, Any], hard: Amounts) -> Amounts:
        """Return the present usage: from the status, or counted for a resource that is not in the status yet."""
        used = read((quota.get("status") or {}).get("used"))
        used = {name: amount for name, amount in used.items() if name in hard}
        for name in hard:
            if name not in used:
                used[name] = self._count(namespace, quota, name)
        return used

    def _count(self, namespace: str, quota: dict[str, Any], name: str) -> Any:
        now = self._clock.now()
        around = self._around(namespace)
        amounts = total(
            usage(resource.plural, resource.group, item, now, around)
            for resource in self._using(name)
            for item in self._objects(resource, namespace)
            if in_scope(quota, resource.plural, resource.group, item)
        )
        return amounts.get(name, read({name: "0"})[name])

    def _using(self, name: str) -> list[Resource]:
        """Return the resources whose objects can use the quota resource `name`, each stored kind once."""
        return [
            resource
            for resource in self._resources.all()
            if resource.namespaced
            and resource.is_canonical
            and matching(resource.plural, resource.group, [name])
        ]

    def _around(self, namespace: str) -> Surroundings:
        """Return what the claims of a namespace are counted by; nothing is read before it is asked for."""
        named: dict[str, str] = {}

        def resource_of(name: str) -> str:
            if name not in named:
                found = self._one(DeviceClass, name) or {}
                named[name] = (found.get("spec") or {}).get("extendedResourceName") or ""
            return named[name]

        def first_claim(uid: str) -> str:
            mark = uid.encode()
            claims = self._resources.of(ResourceClaim)
            entries = self._store.planned(f"{claims.prefix}{namespace}/")
            # A namespace may have thousands of claims, of which one or two are the pod's.
            found = (decode.decode(entry.value) for entry in entries if mark in entry.value)
            return first_claims(found).get(uid, "")

        return Surroundings(
            resource_of, lambda name: self._one(Pod, f"{namespace}/{name}"), first_claim
        )

    def _one(self, kind: type[Kind], key: str) -> dict[str, Any] | None:
        """Return an object as it will be."""
        wanted = f"{self._resources.of(kind).prefix}{key}"
        for entry in self._store.planned(wanted):
            if entry.key == wanted:
                return decode.decode(entry.value)
        return None

    def _objects(self, resource: Resource, namespace: str) -> Iterable[dict[str, Any]]:
        entries = self._store.planned(f"{resource.prefix}{namespace}/")
        return (decode.decode(entry.value) for entry in entries)


def _listed(amounts: Amounts, names: Sequence[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)


def _changes_scope(request: AdmissionRequest) -> bool:
    """Return whether an update changes whether a pod is Terminating; no other update of a pod changes usage."""
    deadlines = [
        ((item or {}).get("spec") or {}).get("activeDeadlineSeconds") is not None
        for item in (request.old, request.object)
    ]
    return deadlines[0] is not deadlines[1]
