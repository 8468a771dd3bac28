"""The garbage collector: deletes dependents of absent owners, and completes foreground and orphaning deletions.

An object is deleted when none of its owners exists. An owner deleted in the foreground goes after its dependents; one
that orphans them goes once they no longer name it. An owner that is not in the graph is read by name before it counts
as absent. It counts as absent too if its name now has another uid, or if the object of that uid has another kind, name
or namespace than the reference says. Owners that wait for each other in a cycle are unblocked and deleted.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from kubelite.api.client.events import WARNING
from kubelite.api.client.protocol import Mirror, ServedResource
from kubelite.api.errors import Conflict, MethodNotAllowed, NotFound
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import OwnerReference
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.control.ownership import group_of
from kubelite.control.ownership_graph import FOREGROUND, ORPHAN, Graph, Member, Owners
from kubelite.control.runtime import Context, Key, Watch
from kubelite.tasks import in_slices

NOT_COLLECTED = frozenset({("", "events"), ("events.k8s.io", "events")})
DEPENDENTS = "dependents of"  # namespace of keys that stand for all dependents of an owner
CIRCLE_LIMIT = 10_000  # objects visited in the search for a cycle of owners


class Plan(Struct, frozen=True):
    """The writes for an object: none, drop owner references, or delete it."""

    drop: tuple[str, ...] = ()  # uids of the owners whose references to drop
    unblock: bool = False  # before that, clear blockOwnerDeletion in its references
    delete: str = ""  # the propagation policy; "" to keep the object


def plan(member: Member, owners: Owners, dependents: Sequence[Member]) -> Plan:
    """Decide the writes for an object whose owners have been resolved."""
    if owners.solid:
        return Plan(drop=tuple(ref.uid for ref in (*owners.dangling, *owners.waiting)))
    if not owners.dangling and not owners.waiting:
        return Plan()
    if owners.waiting and dependents:
        # A waiting dependent may be what the owner waits for, a cycle, so the object must not block its owners.
        return Plan(unblock=any(one.awaits_dependents for one in dependents), delete="Foreground")
    if ORPHAN in member.meta.finalizers:
        return Plan(delete="Orphan")
    if FOREGROUND in member.meta.finalizers:
        return Plan(delete="Foreground")
    return Plan(delete="Background")


class _Followed(NamedTuple):
    """A resource's mirror, and the call that ends the subscription to it."""

    mirror: Mirror[ObjectMetadata]
    end: Callable[[], None]


class GarbageCollector:
    """Reconciles objects of all resources; a key's name is the object's uid."""

    name = "generic-garbage-collector"
    workers = 20

    def __init__(self, context: Context) -> None:
        self._context = context
        self._graph = Graph()
        self._by_kind: dict[tuple[str, str], ServedResource] = {}
        self._followed: dict[ServedResource, _Followed] = {}
        self._follow_all()
        context.ends += [context.resources.subscribe(self._follow_all), self._forget_all]

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch no kind: the metadata of all resources is followed instead."""
        return ()

    async def reconcile(self, key: Key) -> float | None:
        """Complete the deletion of an object, or delete it if its owners are absent."""
        if key.namespace == DEPENDENTS:
            await self._enqueue_dependents(key.name)
            return None
        member = self._graph.get(key.name)
        if member is None:
            return None
        if member.orphans_dependents:
            await self._orphan(member)
        elif member.awaits_dependents:
            await self._await_dependents(member)
        elif not member.is_being_deleted and member.meta.ownerReferences:
            await self._judge(member)
        return None

    def _follow_all(self) -> None:
        """Follow all resources served now, and forget those no longer served; a new version first replaces its old."""
        served = dict.fromkeys(
            one
            for one in self._context.resources.resources()
            if (one.group, one.resource) not in NOT_COLLECTED
        )
        self._by_kind = {(one.group, one.kind): one for one in served}
        for resource in served:
            if resource not in self._followed:
                self._follow(resource)
        for resource in [one for one in self._followed if one not in served]:
            self._forget(resource)

    def _follow(self, resource: ServedResource) -> None:
        try:
            mirror = self._context.metadata_mirror(resource)
        except NotFound:
            return  # it has gone since
        self._context.wanted[resource] = mirror
        self._followed[resource] = _Followed(mirror, mirror.subscribe(self._listener(resource)))

    def _forget(self, resource: ServedResource) -> None:
        """Let a resource go; its objects are absent, and what waits for them goes on."""
        followed = self._followed.pop(resource)
        followed.end()
        for item in followed.mirror.list():
            self._removed(item.metadata.uid, resource)
        self._context.wanted.pop(resource).close()

    def _forget_all(self) -> None:
        for resource in tuple(self._followed):
            self._followed.pop(resource).end()

    def _listener(self, resource: ServedResource) -> Callable[[Any, Any], None]:
        def changed(before: ObjectMetadata | None, after: ObjectMetadata | None) -> None:
            if after is not None:
                self._put(Member(resource, after.metadata))
            if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
                self._removed(before.metadata.uid, resource)

        return changed

    def _put(self, member: Member) -> None:
        before = self._graph.put(member)
        uid = member.meta.uid
        references = member.meta.ownerReferences
        if before is None and self._graph.has_dependents(uid):
            self._changed(uid, DEPENDENTS)  # a reference may have a wrong kind, name or namespace
        if before is not None and before.meta.ownerReferences != references:
            self._owners_changed(before.meta.ownerReferences, references)
        if member.is_being_deleted:
            if member.awaits_dependents or member.orphans_dependents:
                self._changed(uid)
                self._changed(uid, DEPENDENTS)
        elif self._needs_judgement(member):
            self._changed(uid)

    def _owners_changed(
        self, before: Iterable[OwnerReference], after: Iterable[OwnerReference]
    ) -> None:
        """Enqueue the waiting owners that the object no longer names, or no longer blocks."""
        blocked = {reference.uid for reference in after if reference.blockOwnerDeletion}
        for reference in before:
            owner = self._graph.get(reference.uid)
            if reference.uid not in blocked and owner is not None and owner.awaits_dependents:
                self._changed(reference.uid)

    def _removed(self, uid: str, resource: ServedResource) -> None:
        known = self._graph.get(uid)
        if known is not None and known.resource != resource:
            return  # it is followed in another version by now
        member = self._graph.remove(uid)
        if self._graph.has_dependents(uid):
            self._changed(uid, DEPENDENTS)
        for reference in member.meta.ownerReferences if member else ():
            owner = self._graph.get(reference.uid)
            if owner is not None and owner.awaits_dependents:
                self._changed(reference.uid)

    def _changed(self, uid: str, namespace: str = "") -> None:
        self._context.queue.add(Key(namespace, uid))

    def _needs_judgement(self, member: Member) -> bool:
        """Return whether an owner of the object is not in the graph, waits for it, or does not match the reference."""
        for reference in member.meta.ownerReferences:
            owner = self._graph.get(reference.uid)
            if owner is None or owner.awaits_dependents or not _is_meant(reference, owner, member):
                return True
        return False

    async def _enqueue_dependents(self, uid: str) -> None:
        """Enqueue the dependents of an owner that appeared, is being deleted or is gone.

        In slices, since there may be 100,000.
        """
        async for some in in_slices(self._graph.dependents(uid)):
            for dependent in some:
                if not dependent.is_being_deleted and self._needs_judgement(dependent):
                    self._changed(dependent.meta.uid)

    async def _judge(self, member: Member) -> None:
        if any(self._is_out_of_reach(one, member) for one in member.meta.ownerReferences):
            return
        owners = await self._owners(member)
        dependents = self._graph.dependents(member.meta.uid) if owners.waiting else []
        decided = plan(member, owners, dependents)
        if decided.drop:
            await self._drop_references(member, decided.drop)
        elif decided.unblock and _blocks_any(member):
            await self._unblock(member)  # the change requeues the object, and then it is deleted
        elif decided.delete:
            await self._delete(member, decided.delete)

    async def _owners(self, member: Member) -> Owners:
        solid: list[OwnerReference] = []
        dangling: list[OwnerReference] = []
        waiting: list[OwnerReference] = []
        async for some in in_slices(member.meta.ownerReferences, 50):
            for reference in some:
                owner = self._graph.get(reference.uid)
                if owner is None or not _is_meant(reference, owner, member):
                    self._tell_of_other_namespace(reference, owner, member)
                    exists = await self._exists(reference, member)
                    (solid if exists else dangling).append(reference)
                elif owner.awaits_dependents:
                    waiting.append(reference)
                else:
                    solid.append(reference)
        return Owners(solid=solid, dangling=dangling, waiting=waiting)

    def _tell_of_other_namespace(
        self, reference: OwnerReference, owner: Member | None, member: Member
    ) -> None:
        """Record a warning event if the uid of an owner belongs to an object in another namespace."""
        namespace = member.meta.namespace
        if owner is None or not owner.resource.namespaced or owner.meta.namespace == namespace:
            return
        owner_text = (
            f"[{reference.apiVersion}/{reference.kind}, namespace: {namespace}, "
            f"name: {reference.name}, uid: {reference.uid}]"
        )
        self._context.events.event(
            _reference_to(member),
            WARNING,
            "OwnerRefInvalidNamespace",
            f'ownerRef {owner_text} does not exist in namespace "{namespace}"',
        )

    def _is_out_of_reach(self, reference: OwnerReference, member: Member) -> bool:
        """Return whether a cluster-scoped object names a namespaced owner: a mistake, for which nothing is deleted."""
        resource = self._by_kind.get((group_of(reference.apiVersion), reference.kind))
        if resource is None or not resource.namespaced or member.meta.namespace:
            return False
        self._tell_of_other_namespace(reference, self._graph.get(reference.uid), member)
        return True

    async def _exists(self, reference: OwnerReference, member: Member) -> bool:
        """Return whether an owner exists; reads it by name.

        A kind that is not served may be served again, so its objects count as existing.
        """
        resource = self._by_kind.get((group_of(reference.apiVersion), reference.kind))
        if resource is None:
            return True
        namespace = member.meta.namespace if resource.namespaced else ""
        try:
            found = await self._context.client_of(resource).get(reference.name, namespace)
        except NotFound:
            return False
        uid: str = found["metadata"]["uid"]
        return uid == reference.uid

    async def _orphan(self, member: Member) -> None:
        for dependent in self._graph.dependents(member.meta.uid):
            await self._drop_references(dependent, (member.meta.uid,))
        await self._drop_finalizer(member, ORPHAN)

    async def _await_dependents(self, member: Member) -> None:
        """Remove the foreground finalizer once no dependent blocks the owner; each dependent that goes requeues it."""
        if not self._graph.is_blocked(member.meta.uid):
            await self._drop_finalizer(member, FOREGROUND)
        elif await self._waits_for_itself(member):
            await self._unblock(member)

    async def _waits_for_itself(self, member: Member) -> bool:
        """Return whether the object is in a cycle of owners that wait for each other."""
        seen: set[str] = set()
        ahead = [member]
        while ahead and len(seen) <= CIRCLE_LIMIT:
            async for some in in_slices(ahead.pop().meta.ownerReferences):
                for reference in some:
                    owner = self._graph.get(reference.uid)
                    if not reference.blockOwnerDeletion or owner is None or reference.uid in seen:
                        continue
                    if reference.uid == member.meta.uid:
                        return True
                    if owner.awaits_dependents:
                        seen.add(reference.uid)
                        ahead.append(owner)
        return False

    async def _unblock(self, member: Member) -> None:
        """Clear blockOwnerDeletion in an object's references, so that its owners may go before it."""
        references = [replace(ref, blockOwnerDeletion=False) for ref in member.meta.ownerReferences]
        await self._patch(member, {"ownerReferences": to_builtins(references)})

    async def _drop_references(self, member: Member, uids: Iterable[str]) -> None:
        dropped = frozenset(uids)
        rest = [ref for ref in member.meta.ownerReferences if ref.uid not in dropped]
        await self._patch(member, {"ownerReferences": to_builtins(rest)})

    async def _drop_finalizer(self, member: Member, finalizer: str) -> None:
        rest = [name for name in member.meta.finalizers if name != finalizer]
        await self._patch(member, {"finalizers": rest})

    async def _patch(self, member: Member, fields: dict[str, Any]) -> None:
        meta = member.meta
        guard = {"uid": meta.uid, "resourceVersion": meta.resourceVersion}
        try:
            await self._context.client_of(member.resource).patch(
                meta.name, {"metadata": {**guard, **fields}}, meta.namespace
            )
        except NotFound:
            return

    async def _delete(self, member: Member, propagation: Any) -> None:
        meta = member.meta
        try:
            await self._context.client_of(member.resource).delete(
                meta.name,
                meta.namespace,
                uid=meta.uid,
                resource_version=meta.resourceVersion,
                propagation=propagation,
            )
        except (NotFound, MethodNotAllowed):
            return
        except Conflict:
            # The object changed, or its name has another uid now. If the graph has that change, it requeues the
            # object.
            if self._graph.get(meta.uid) is member:
                raise


def _blocks_any(member: Member) -> bool:
    return any(reference.blockOwnerDeletion for reference in member.meta.ownerReferences)


def _reference_to(member: Member) -> ObjectReference:
    resource, meta = member.resource, member.meta
    return ObjectReference(
        apiVersion=f"{resource.group}/{resource.version}" if resource.group else resource.version,
        kind=resource.kind,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        resourceVersion=meta.resourceVersion,
    )


def _is_meant(reference: OwnerReference, owner: Member, member: Member) -> bool:
    """Return whether kind, name and scope of the object with the owner's uid match the reference."""
    resource = owner.resource
    return (
        reference.name == owner.meta.name
        and reference.kind == resource.kind
        and group_of(reference.apiVersion) == resource.group
        and (not resource.namespaced or owner.meta.namespace == member.meta.namespace)
    )
