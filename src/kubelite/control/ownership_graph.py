"""Who owns whom, over all objects that are served.

Each question costs what its answer holds, not what the objects name: an object may name thousands of owners.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.control.options import Resource

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Member(Struct, frozen=True):
    """An object as the garbage collector sees it."""

    resource: Resource
    meta: ObjectMeta

    @property
    def is_being_deleted(self) -> bool:
        """It is being deleted."""
        return self.meta.deletionTimestamp is not None

    @property
    def awaits_dependents(self) -> bool:
        """It is being deleted and goes after those that it owns."""
        return self.is_being_deleted and FOREGROUND in self.meta.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """It is being deleted and leaves those that it owns behind."""
        return self.is_being_deleted and ORPHAN in self.meta.finalizers


class Graph:
    """Objects by uid, and the dependents of each owner, known or not."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        # By owner; a dict keeps order, so that runs repeat. True: the dependent must go before the owner.
        self._dependents: dict[str, dict[str, bool]] = {}
        self._blocking: Counter[str] = Counter()  # by owner: how many of them must

    def __len__(self) -> int:
        """Return how many objects are known."""
        return len(self._members)

    def get(self, uid: str) -> Member | None:
        """Return an object."""
        return self._members.get(uid)

    def dependents(self, uid: str) -> list[Member]:
        """Return the objects that name an owner of this uid."""
        return [self._members[one] for one in self._dependents.get(uid, ())]

    def has_dependents(self, uid: str) -> bool:
        """Return whether any object names an owner of this uid."""
        return uid in self._dependents

    def is_blocked(self, uid: str) -> bool:
        """Return whether any dependent must go before this owner."""
        return self._blocking[uid] > 0

    def put(self, member: Member) -> Member | None:
        """Add or replace an object; return what it was before."""
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
        """Forget an object; its dependents keep naming it."""
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
    """Return the uids of the owners, and whether the object blocks each."""
    owners: dict[str, bool] = {}
    for reference in references:
        owners[reference.uid] = owners.get(reference.uid, False) or bool(
            reference.blockOwnerDeletion
        )
    return owners


class Owners(Struct, frozen=True):
    """The owners of an object, sorted by what they mean for it."""

    solid: Sequence[OwnerReference] = ()  # exist
    dangling: Sequence[OwnerReference] = ()  # do not
    waiting: Sequence[OwnerReference] = ()  # are being deleted and wait for the object to go first
