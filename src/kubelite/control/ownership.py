"""Controller references, and how controllers adopt and release objects by their selector.

As in Kubernetes at most one owner is the controller. An orphan whose labels match is adopted, an owned object whose
labels no longer match is released, and an owner that is being deleted does neither.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct, to_builtins

from kubelite.api.client.protocol import Client
from kubelite.api.errors import NotFound
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.model import Kind
from kubelite.control.runtime import Key
from kubelite.control.selection import MATCH_COST_BYTES, Matcher
from kubelite.offload import Offload

K = TypeVar("K", bound=Kind)

CONTROLLER_INDEX = "controller uid"


def controller_of(meta: ObjectMeta) -> OwnerReference | None:
    """Return the reference to the object's controller, or None."""
    for reference in meta.ownerReferences:
        if reference.controller:
            return reference
    return None


def controller_uid(item: Any) -> tuple[str, ...]:
    """Index objects by their controller's uid."""
    reference = controller_of(item.metadata)
    return (reference.uid,) if reference else ()


def orphan_in(item: Any) -> tuple[str, ...]:
    """Index objects without a controller by namespace."""
    return () if controller_of(item.metadata) else (item.metadata.namespace,)


def controller_reference(owner: Any) -> OwnerReference:
    """Return the reference that makes `owner` an object's controller."""
    kind: type[Kind] = type(owner)
    return OwnerReference(
        apiVersion=kind.gvk.api_version,
        kind=kind.gvk.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        blockOwnerDeletion=True,
    )


def controlled_by(kind: type[Kind]) -> Callable[[Any], Iterable[Key]]:
    """Return a function that maps an object to the key of its controller if that is of `kind`, else to none."""
    group, _, name = kind.gvk

    def keys(item: Any) -> Iterable[Key]:
        reference = controller_of(item.metadata)
        if reference is None or reference.kind != name or group_of(reference.apiVersion) != group:
            return ()
        return (Key(item.metadata.namespace, reference.name),)

    return keys


def group_of(api_version: str) -> str:
    """Return the group of ``group/version``; "" for the core group."""
    group, slash, _ = api_version.partition("/")
    return group if slash else ""


class Claims(Struct, Generic[K], frozen=True):
    """The items an owner has, and those to adopt and to release."""

    owned: Sequence[K]
    adopt: Sequence[K]
    release: Sequence[K]


def claims(owner: Any, matches: Matcher, items: Iterable[K]) -> Claims[K]:
    """Decide which items the owner keeps, adopts and releases."""
    owned: list[K] = []
    adopt: list[K] = []
    release: list[K] = []
    leaving = owner.metadata.deletionTimestamp is not None
    for item in items:
        meta: ObjectMeta = item.metadata  # type: ignore[attr-defined]  # every object that is stored has metadata
        reference = controller_of(meta)
        if reference is not None:
            if reference.uid != owner.metadata.uid:
                continue
            if matches(meta.labels):
                owned.append(item)
            elif not leaving:
                release.append(item)
        elif not leaving and meta.deletionTimestamp is None and matches(meta.labels):
            adopt.append(item)
    return Claims(owned=owned, adopt=adopt, release=release)


async def owned_by(
    client: Client, offload: Offload, owner: Any, matches: Matcher, items: Sequence[K]
) -> Sequence[K]:
    """Adopt and release items by the selector; return all that are owned now. Raises Conflict."""
    cost_bytes = len(items) * MATCH_COST_BYTES
    decided = await offload.run(cost_bytes, lambda: claims(owner, matches, items))
    return await claim(client, owner, decided)


async def claim(client: Client, owner: Any, decided: Claims[K]) -> Sequence[K]:
    """Write the decided adoptions and releases; return all items owned now. Raises Conflict."""
    if not decided.adopt and not decided.release:
        return decided.owned
    owned = list(decided.owned)
    if decided.adopt:
        # The mirror may lag, and an owner that is being deleted must not adopt, so read the owner from the API.
        fresh = await client.get(type(owner), owner.metadata.name, owner.metadata.namespace)
        if fresh.metadata.uid == owner.metadata.uid and fresh.metadata.deletionTimestamp is None:
            for item in decided.adopt:
                references = [*_references(item), controller_reference(owner)]
                adopted = await _set_references(client, item, references)
                if adopted is not None:
                    owned.append(adopted)
    for item in decided.release:
        references = [ref for ref in _references(item) if ref.uid != owner.metadata.uid]
        await _set_references(client, item, references)
    return owned


def _references(item: Any) -> list[OwnerReference]:
    references: list[OwnerReference] = item.metadata.ownerReferences
    return references


async def _set_references(client: Client, item: K, references: list[OwnerReference]) -> K | None:
    meta: ObjectMeta = item.metadata  # type: ignore[attr-defined]  # every object that is stored has metadata
    try:
        return await client.patch(
            type(item),
            meta.name,
            {
                "metadata": {
                    "uid": meta.uid,
                    "resourceVersion": meta.resourceVersion,
                    "ownerReferences": to_builtins(references),
                }
            },
            meta.namespace,
        )
    except NotFound:
        return None
