"""Deletes what belonged to owners that are gone, and lets owners go in the order that was asked for.

An object goes when none of its owners exists. An owner deleted in the foreground goes after its dependents, one that
orphans them after they no longer name it. An owner that is not in the graph is asked for by name before it counts as
absent, and counts as absent too if another object of another uid has taken its name.
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, to_builtins

from kubelite.api.errors import Conflict, MethodNotAllowed, NotFound
from kubelite.api.kinds.meta import OwnerReference, PartialObjectMetadata
from kubelite.control.dynamic import metadata_kind
from kubelite.control.options import Resource
from kubelite.control.ownership import group_of
from kubelite.control.ownership_graph import FOREGROUND, ORPHAN, Graph, Member, Owners
from kubelite.control.runtime import Context, Key, Watch

NOT_COLLECTED = frozenset({"events"})


class Plan(Struct, frozen=True):
    """What to do with an object: nothing, drop references to owners, or delete it."""

    drop: tuple[str, ...] = ()  # uids of owners
    delete: str = ""  # the propagation policy


def plan(member: Member, owners: Owners, dependents: Sequence[Member]) -> Plan:
    """Decide what becomes of an object whose owners have been looked up."""
    if owners.solid:
        return Plan(drop=tuple(ref.uid for ref in (*owners.dangling, *owners.waiting)))
    if not owners.dangling and not owners.waiting:
        return Plan()
    if owners.waiting and dependents:
        return Plan(delete="Foreground")
    if ORPHAN in member.meta.finalizers:
        return Plan(delete="Orphan")
    if FOREGROUND in member.meta.finalizers:
        return Plan(delete="Foreground")
    return Plan(delete="Background")


class GarbageCollector:
    """Reconciles objects by uid; the key's name is the uid."""

    name = "generic-garbage-collector"
    workers = 20

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._graph = Graph()
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._ends: dict[Resource, Callable[[], None]] = {}
        self._follow_all()
        context.options.resources.subscribe(self._follow_all)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch nothing by type: all resources are followed by their metadata."""
        return ()

    async def reconcile(self, key: Key) -> float | None:
        """Let the object go, its dependents first if it says so, or see whether it should go."""
        member = self._graph.get(key.name)
        if member is None:
            return None
        if member.orphans_dependents:
            await self._orphan(member)
        elif member.awaits_dependents:
            await self._await_dependents(member)
        elif not member.is_leaving and member.meta.ownerReferences:
            await self._judge(member)
        return None

    def _follow_all(self) -> None:
        """Follow what is served now, and no longer what is not."""
        served = set(self._context.options.resources.resources())
        for resource in [one for one in self._ends if one not in served]:
            self._ends.pop(resource)()
            self._by_kind.pop((resource.group, resource.kind), None)
        for resource in self._context.options.resources.resources():
            self._follow(resource)

    def _follow(self, resource: Resource) -> None:
        if resource.resource in NOT_COLLECTED or resource in self._ends:
            return
        self._by_kind[resource.group, resource.kind] = resource
        mirror = self._context.dynamic_mirror(resource.group, resource.version, resource.resource)
        self._context.wanted.append(mirror)
        self._ends[resource] = mirror.subscribe(self._listener(resource))

    def _listener(self, resource: Resource) -> Callable[[Any, Any], None]:
        def changed(
            before: PartialObjectMetadata | None, after: PartialObjectMetadata | None
        ) -> None:
            if after is not None:
                self._put(Member(resource=resource, meta=after.metadata))
            if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
                self._removed(before.metadata.uid)

        return changed

    def _put(self, member: Member) -> None:
        before = self._graph.put(member)
        uid = member.meta.uid
        kept = {reference.uid for reference in member.meta.ownerReferences}
        for reference in before.meta.ownerReferences if before else ():
            owner = self._graph.get(reference.uid)
            if reference.uid not in kept and owner is not None and owner.awaits_dependents:
                self._look_at(reference.uid)
        if member.is_leaving:
            if member.awaits_dependents or member.orphans_dependents:
                self._look_at(uid)
                self._look_at_dependents(uid)
            return
        for reference in member.meta.ownerReferences:
            owner = self._graph.get(reference.uid)
            if owner is None or owner.awaits_dependents:
                self._look_at(uid)
                return

    def _removed(self, uid: str) -> None:
        member = self._graph.remove(uid)
        self._look_at_dependents(uid)
        for reference in member.meta.ownerReferences if member else ():
            owner = self._graph.get(reference.uid)
            if owner is not None and owner.awaits_dependents:
                self._look_at(reference.uid)

    def _look_at(self, uid: str) -> None:
        self._context.queue.add(Key("", uid))

    def _look_at_dependents(self, uid: str) -> None:
        for dependent in self._graph.dependents(uid):
            self._look_at(dependent.meta.uid)

    async def _judge(self, member: Member) -> None:
        if any(self._is_out_of_reach(one, member) for one in member.meta.ownerReferences):
            return
        owners = await self._owners(member)
        decided = plan(member, owners, self._graph.dependents(member.meta.uid))
        if decided.drop:
            await self._drop_references(member, decided.drop)
        elif decided.delete:
            await self._delete(member, decided.delete)

    async def _owners(self, member: Member) -> Owners:
        solid: list[OwnerReference] = []
        dangling: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        for reference in member.meta.ownerReferences:
            owner = self._graph.get(reference.uid)
            if owner is None or not _is_meant(reference, owner, member):
                exists = await self._exists(reference, member)
                (solid if exists else dangling).append(reference)
            elif owner.awaits_dependents:
                waiting.append(reference)
            else:
                solid.append(reference)
        return Owners(solid=solid, dangling=dangling, waiting=waiting)

    def _is_out_of_reach(self, reference: OwnerReference, member: Member) -> bool:
        """Tell whether an object outside of namespaces names an owner in one: a mistake that deletes nothing."""
        resource = self._by_kind.get((group_of(reference.apiVersion), reference.kind))
        return resource is not None and resource.namespaced and not member.meta.namespace

    async def _exists(self, reference: OwnerReference, member: Member) -> bool:
        """Ask for an owner by name; a kind that is not served (any more) may come back, so it counts as existing."""
        resource = self._by_kind.get((group_of(reference.apiVersion), reference.kind))
        if resource is None:
            return True
        namespace = member.meta.namespace if resource.namespaced else ""
        try:
            found = await self._client.get(metadata_kind(resource), reference.name, namespace)
        except NotFound:
            return False
        return found.metadata.uid == reference.uid

    async def _orphan(self, member: Member) -> None:
        for dependent in self._graph.dependents(member.meta.uid):
            await self._drop_references(dependent, (member.meta.uid,))
        await self._drop_finalizer(member, ORPHAN)

    async def _await_dependents(self, member: Member) -> None:
        if self._graph.blockers(member.meta.uid):
            self._look_at_dependents(member.meta.uid)
            return
        await self._drop_finalizer(member, FOREGROUND)

    async def _drop_references(self, member: Member, uids: Sequence[str]) -> None:
        rest = [ref for ref in member.meta.ownerReferences if ref.uid not in uids]
        await self._patch(member, {"ownerReferences": to_builtins(rest)})

    async def _drop_finalizer(self, member: Member, finalizer: str) -> None:
        rest = [name for name in member.meta.finalizers if name != finalizer]
        await self._patch(member, {"finalizers": rest})

    async def _patch(self, member: Member, fields: dict[str, Any]) -> None:
        meta = member.meta
        guard = {"uid": meta.uid, "resourceVersion": meta.resourceVersion}
        try:
            await self._client.patch(
                metadata_kind(member.resource),
                meta.name,
                {"metadata": {**guard, **fields}},
                meta.namespace,
            )
        except NotFound:
            return

    async def _delete(self, member: Member, propagation: Any) -> None:
        meta = member.meta
        try:
            await self._client.delete(
                metadata_kind(member.resource),
                meta.name,
                meta.namespace,
                uid=meta.uid,
                resource_version=meta.resourceVersion,
                propagation=propagation,
            )
        except (NotFound, MethodNotAllowed):
            return
        except Conflict:
            # It changed, or its name is somebody else's now: the change brings another look.
            if self._graph.get(meta.uid) is member:
                raise


def _is_meant(reference: OwnerReference, owner: Member, member: Member) -> bool:
    """Tell whether an object of the owner's uid is the one that is named, in a place where it may own."""
    resource = owner.resource
    return (
        reference.name == owner.meta.name
        and reference.kind == resource.kind
        and group_of(reference.apiVersion) == resource.group
        and (not resource.namespaced or owner.meta.namespace == member.meta.namespace)
    )
