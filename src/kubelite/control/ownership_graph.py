"""Who owns whom, over all objects that are served."""

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
    def is_leaving(self) -> bool:
        """It is being deleted."""
        return self.meta.deletionTimestamp is not None

    @property
    def awaits_dependents(self) -> bool:
        """It is being deleted and goes after those that it owns."""
        return self.is_leaving and FOREGROUND in self.meta.finalizers

    @property
    def orphans_dependents(self) -> bool:
        """It is being deleted and leaves those that it owns behind."""
        return self.is_leaving and ORPHAN in self.meta.finalizers


class Graph:
    """Objects by uid, and the dependents of each owner, known or not."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self._dependents: dict[str, dict[str, None]] = {}  # a dict keeps order, so that runs repeat

    def __len__(self) -> int:
        """Return how many objects are known."""
        return len(self._members)

    def get(self, uid: str) -> Member | None:
        """Return an object."""
        return self._members.get(uid)

    def dependents(self, uid: str) -> list[Member]:
        """Return the objects that name an owner of this uid."""
        return [self._members[one] for one in self._dependents.get(uid, ())]

    def blockers(self, uid: str) -> list[Member]:
        """Return the dependents that must go before their owner."""
        return [
            member
            for member in self.dependents(uid)
            if any(ref.uid == uid and ref.blockOwnerDeletion for ref in member.meta.ownerReferences)
        ]

    def put(self, member: Member) -> Member | None:
        """Add or replace an object; return what it was before."""
        uid = member.meta.uid
        before = self._members.get(uid)
        self._members[uid] = member
        old = _owners(before.meta.ownerReferences) if before is not None else set()
        new = _owners(member.meta.ownerReferences)
        for owner in sorted(old - new):
            self._unlink(owner, uid)
        for owner in sorted(new - old):
            self._dependents.setdefault(owner, {})[uid] = None
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
        if dependents is not None:
            dependents.pop(uid, None)
            if not dependents:
                del self._dependents[owner]


def _owners(references: Iterable[OwnerReference]) -> set[str]:
    return {reference.uid for reference in references}


class Owners(Struct, frozen=True):
    """The owners of an object, sorted by what they mean for it."""

    solid: Sequence[OwnerReference] = ()  # exist
    dangling: Sequence[OwnerReference] = ()  # do not
    waiting: Sequence[OwnerReference] = ()  # are being deleted and wait for the object to go first
