"""Deletes the volumes of `control.local_provisioner` once they are released, by their reclaim policy.

A volume with the policy Delete has a finalizer, which the node that keeps its folder removes after the folder. The
folder of a node that does not exist any more cannot be removed, so its volumes go without.
"""

from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import replace

from kubelite.api.client.events import WARNING
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    IN_USE,
    is_provisioned_here,
    keeper_of,
)
from kubelite.control.runtime import Context, Key, Watch

KEEPER_INDEX = "node that keeps the folder"
Step = Literal["nothing", "guard", "unguard", "delete", "abandon"]


def next_step(volume: PersistentVolume, *, has_node: bool) -> Step:
    """Return what to write: the finalizer follows the policy; a released volume is deleted if its policy says so.

    `has_node` says whether the node that keeps the folder exists. "abandon": the folder stays, the finalizer goes.
    """
    if not is_provisioned_here(volume):
        return "nothing"
    is_deleted = volume.spec.persistentVolumeReclaimPolicy == "Delete"
    is_guarded = FINALIZER in volume.metadata.finalizers
    if volume.metadata.deletionTimestamp is not None:
        if not is_guarded:
            return "nothing"
        if not is_deleted:
            return "unguard"
        return "nothing" if has_node or IN_USE in volume.metadata.finalizers else "abandon"
    if is_deleted != is_guarded and (is_guarded or keeper_of(volume)):
        return "guard" if is_deleted else "unguard"
    return "delete" if is_deleted and volume.status.phase == "Released" else "nothing"


def _keeper(volume: PersistentVolume) -> tuple[str, ...]:
    name = keeper_of(volume)
    return (name,) if name else ()


class LocalPathReclaimer:
    """Reconciles volumes."""

    name = "local-path-reclaimer"
    identity = "local-path-provisioner"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._nodes = context.mirror(Node)
        self._volumes = context.mirror(PersistentVolume)
        self._volumes.add_index(KEEPER_INDEX, _keeper)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch volumes, and Nodes that are deleted."""
        return (
            Watch(PersistentVolume),
            Watch(Node, self._kept_by, where=lambda _, after: after is None),
        )

    def _kept_by(self, node: Node) -> Sequence[Key]:
        volumes = self._volumes.indexed(KEEPER_INDEX, node.metadata.name)
        return [Key("", volume.metadata.name) for volume in volumes]

    async def reconcile(self, key: Key) -> float | None:
        """Take the volume's next step."""
        volume = self._volumes.get(key.name)
        if volume is None:
            return None
        meta, node = volume.metadata, keeper_of(volume)
        step = next_step(volume, has_node=self._nodes.get(node) is not None)
        if step == "delete":
            await self._client.delete(
                PersistentVolume, meta.name, uid=meta.uid, resource_version=meta.resourceVersion
            )
        elif step != "nothing":
            others = [name for name in meta.finalizers if name != FINALIZER]
            finalizers = [*others, FINALIZER] if step == "guard" else others
            await self._client.update(
                replace(volume, metadata=replace(meta, finalizers=finalizers))
            )
        if step == "abandon":
            path = volume.spec.local.path if volume.spec.local is not None else "of the volume"
            text = f'Node "{node}" does not exist any more, so folder {path} was not removed'
            self._events.event(volume, WARNING, "VolumeFolderLeft", text)
        return None
