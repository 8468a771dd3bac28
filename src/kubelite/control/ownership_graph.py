"""The graph of owners and dependents over all served objects.

The cost of a query is proportional to its result, not to the references of the objects: one may name thousands of
owners.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from kubelite.api.client.protocol import ServedResource
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.object_metadata import KeptMetadata

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Member(Struct, frozen=True, gc=False):
    """An object as the garbage collector sees it."""

    resource: ServedResource
    meta: KeptMetadata | ObjectMeta

    @property
    def is_being_deleted(self) -> bool:
        """Return whether the object is being deleted."""
        return self.meta.deletionTimestamp is not None

    @property
    def awaits_dependents(self) -> bool:
        """Return whether the object is being deleted in the foreground: it goes after its dependents."""
        return self.is_being_deleted and FOREGROUND in self.meta.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """Return whether the object is being deleted and orphans its dependents."""
        return self.is_being_deleted and ORPHAN in self.meta.finalizers


class Graph:
    """Objects by uid, and the dependents of each owner, whether the owner is in the graph or not."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        # By owner's uid, then dependent's uid: whether it blocks the owner. A dict keeps order, so simulations are
        # repeatable.
        self._dependents: dict[str, dict[str, bool]] = {}
        self._blocking: Counter[str] = Counter()  # by owner's uid: how many dependents block it

    def __len__(self) -> int:
        """Return how many objects the graph has."""
        return len(self._members)

    def get(self, uid: str) -> Member | None:
        """Return the object of a uid, or None."""
        return self._members.get(uid)

    def dependents(self, uid: str) -> list[Member]:
        """Return the dependents of an owner: the objects that name its uid."""
        return [self._members[one] for one in self._dependents.get(uid, ())]

    def has_dependents(self, uid: str) -> bool:
        """Return whether any object names an owner of this uid."""
        return uid in self._dependents

    def is_blocked(self, uid: str) -> bool:
        """Return whether any dependent blocks this owner's deletion."""
        return self._blocking[uid] > 0

    def put(self, member: Member) -> Member | None:
        """Add or replace an object; return its earlier version, or None."""
        uid = member.meta.uid
        before = self._members.get(uid)
        self._members[uid] = member
        old = _owners(before.meta.ownerReferences) if before is not None else {}
        new = _owners(member.meta.ownerReferences)
        for owner in old.keys() - new.keys():
            self._unlink(owner, uid)
        for owner, blocks in new.items():
            if old.get(owner) != blocks:
                self._unlink(owner, uid)
                self._dependents.setdefault(owner, {})[uid] = blocks
                self._blocking[owner] += blocks
        return before

    def remove(self, uid: str) -> Member | None:
        """Remove an object and return it, or None; its dependents keep naming it."""
        member = self._members.pop(uid, None)
        if member is not None:
            for owner in _owners(member.meta.ownerReferences):
                self._unlink(owner, uid)
        return member

    def _unlink(self, owner: str, uid: str) -> None:
        dependents = self._dependents.get(owner)
        if dependents is None or uid not in dependents:
            return
        self._blocking[owner] -= dependents.pop(uid)
        if not dependents:
            del self._dependents[owner]
            del self._blocking[owner]


def _owners(references: Iterable[OwnerReference]) -> dict[str, bool]:
    """Return by owner's uid whether the object blocks that owner."""
    owners: dict[str, bool] = {}
    for reference in references:
        owners[reference.uid] = owners.get(reference.uid, False) or bool(
            reference.blockOwnerDeletion
        )
    return owners


class Owners(Struct, frozen=True):
    """The owners of an object by their state."""

    solid: Sequence[OwnerReference] = ()  # owners that exist
    dangling: Sequence[OwnerReference] = ()  # owners that do not exist
    waiting: Sequence[
        OwnerReference
    ] = ()  # owners that are being deleted in the foreground and wait for the object
