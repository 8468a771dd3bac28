"""Provisions the claims of StorageClasses with the provisioner `kubelite.io/local-path`, and grows them.

A volume is a folder of the node that the scheduler selected for the claim's first pod. The controller only writes
objects: the node makes the folder before the pod's containers start. `control.local_reclaimer` deletes the volumes.
"""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import AlreadyExists, APIError
from kubelite.api.kinds.core.node_affinity import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    VolumeNodeAffinity,
)
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import (
    PersistentVolume,
    PersistentVolumeClaim,
    PersistentVolumeClaimCondition,
    PersistentVolumeSpec,
)
from kubelite.api.kinds.core.volumes import LocalVolumeSource
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery.local_volumes import (
    FINALIZER,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER_NAME,
    folder_name,
    is_provisioned_here,
    storage_path,
)
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import format_time
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.volume_matching import SELECTED_NODE, class_of, is_for, reference_to_claim

HOSTNAME = "kubernetes.io/hostname"
SINGLE_NODE_MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
RESIZE_IN_PROGRESS = "ControllerResizeInProgress"
RESIZING = frozenset({"Resizing", "FileSystemResizePending"})


def unsupported(claim: PersistentVolumeClaim, storage_class: StorageClass) -> str:
    """Return why no folder can be what a claim requests, on any node; "" if one can."""
    spec = claim.spec
    if spec.volumeMode == "Block":
        return "volumeMode Block is not supported: a folder is no block device"
    if not set(spec.accessModes) <= SINGLE_NODE_MODES:
        return (
            "only the access modes ReadWriteOnce and ReadWriteOncePod are supported: "
            "other nodes cannot reach a folder"
        )
    if spec.selector is not None:
        return "claim.spec.selector is not supported"
    if spec.dataSource is not None or spec.dataSourceRef is not None:
        return "claim.spec.dataSource is not supported: a new folder is empty"
    if storage_class.parameters:
        names = ", ".join(sorted(storage_class.parameters)[:5])
        return f"parameters of the StorageClass are not supported: {names}"
    if storage_class.volumeBindingMode != "WaitForFirstConsumer":
        return "no node was selected: the StorageClass needs volumeBindingMode WaitForFirstConsumer"
    return ""


def volume_name(claim: PersistentVolumeClaim) -> str:
    """Return the name of the volume that is provisioned for a claim; one claim never gets two."""
    return f"pvc-{claim.metadata.uid}"


def volume_for(
    claim: PersistentVolumeClaim, storage_class: StorageClass, node: Node, path: str
) -> PersistentVolume:
    """Return the volume to create for a claim, below the folder `path` of a node."""
    policy = storage_class.reclaimPolicy or "Delete"
    hostname = node.metadata.labels.get(HOSTNAME, node.metadata.name)
    here = NodeSelectorRequirement(key=HOSTNAME, operator="In", values=[hostname])
    volume = PersistentVolume(
        metadata=ObjectMeta(
            name=volume_name(claim),
            labels={NODE_LABEL: node.metadata.name},
            annotations={PROVISIONED_BY: PROVISIONER_NAME},
            finalizers=[FINALIZER] if policy == "Delete" else [],
        ),
        spec=PersistentVolumeSpec(
            capacity={"storage": claim.spec.resources.requests["storage"]},
            accessModes=claim.spec.accessModes,
            claimRef=reference_to_claim(claim),
            persistentVolumeReclaimPolicy=policy,
            storageClassName=storage_class.metadata.name,
            mountOptions=storage_class.mountOptions,
            volumeMode="Filesystem",
            nodeAffinity=VolumeNodeAffinity(
                required=NodeSelector(nodeSelectorTerms=[NodeSelectorTerm(matchExpressions=[here])])
            ),
        ),
    )
    source = LocalVolumeSource(path=f"{path.rstrip('/')}/{folder_name(volume)}")
    return replace(volume, spec=replace(volume.spec, local=source))


class LocalPathProvisioner:
    """Reconciles claims."""

    name = "local-path-provisioner"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._clock = context.clock
        self._claims = context.mirror(PersistentVolumeClaim)
        self._volumes = context.mirror(PersistentVolume)
        self._classes = context.mirror(StorageClass)
        self._nodes = context.mirror(Node)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch claims: a claim that can be provisioned was just given a node by the scheduler."""
        return (Watch(PersistentVolumeClaim, where=lambda _, after: after is not None),)

    async def reconcile(self, key: Key) -> float | None:
        """Create the volume of a claim that has a node, or grow the volume of one that is bound."""
        claim = self._claims.get(key.name, key.namespace)
        if claim is None or claim.metadata.deletionTimestamp is not None:
            return None
        if claim.spec.volumeName:
            await self._grow(claim)
            return None
        storage_class = self._classes.get(class_of(claim))
        if storage_class is None or storage_class.provisioner != PROVISIONER_NAME:
            return None
        selected = claim.metadata.annotations.get(SELECTED_NODE, "")
        waits = storage_class.volumeBindingMode == "WaitForFirstConsumer" and not selected
        if not waits and self._volumes.get(volume_name(claim)) is None:
            await self._provision(claim, storage_class, selected)
        return None

    async def _provision(
        self, claim: PersistentVolumeClaim, storage_class: StorageClass, selected: str
    ) -> None:
        if reason := unsupported(claim, storage_class):
            self._failed(claim, reason)
            return
        node = self._nodes.get(selected)
        path = storage_path(node) if node is not None else ""
        if node is None or not path:
            what = "does not exist" if node is None else "keeps no local volumes"
            self._failed(claim, f'node "{selected}" {what}')
            await self._reschedule(claim)
            return
        await self._create(claim, volume_for(claim, storage_class, node, path))

    async def _create(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        name = f"{claim.metadata.namespace}/{claim.metadata.name}"
        text = f'External provisioner is provisioning volume for claim "{name}"'
        self._events.event(claim, NORMAL, "Provisioning", text)
        try:
            await self._client.create(volume)
        except AlreadyExists:
            return
        except APIError as error:
            self._failed(claim, error.message)
            raise
        text = f"Successfully provisioned volume {volume.metadata.name}"
        self._events.event(claim, NORMAL, "ProvisioningSucceeded", text)

    def _failed(self, claim: PersistentVolumeClaim, reason: str) -> None:
        name = class_of(claim)
        text = f'failed to provision volume with StorageClass "{name}": {reason}'
        self._events.event(claim, WARNING, "ProvisioningFailed", text)

    async def _reschedule(self, claim: PersistentVolumeClaim) -> None:
        """Remove the selected node, so that the scheduler tries again and may select another."""
        meta = claim.metadata
        change = {"resourceVersion": meta.resourceVersion, "annotations": {SELECTED_NODE: None}}
        patch = {"metadata": change}
        await self._client.patch(PersistentVolumeClaim, meta.name, patch, meta.namespace)

    async def _grow(self, claim: PersistentVolumeClaim) -> None:
        """Let the capacity of volume and claim follow a raised request; the node's quota follows the volume."""
        volume = self._volumes.get(claim.spec.volumeName)
        if volume is None or not is_provisioned_here(volume) or not is_for(volume, claim):
            return
        wanted = claim.spec.resources.requests.get("storage", "0")
        if claim.status.phase != "Bound" or not _is_less(claim.status.capacity, wanted):
            return
        if _is_less(volume.spec.capacity, wanted):
            claim = await self._begin(claim, volume.metadata.name, wanted)
            capacity = {**volume.spec.capacity, "storage": wanted}
            volume = await self._client.update(
                replace(volume, spec=replace(volume.spec, capacity=capacity))
            )
        await self._finish(claim, volume)

    async def _begin(
        self, claim: PersistentVolumeClaim, volume: str, wanted: str
    ) -> PersistentVolumeClaim:
        text = f"External resizer is resizing volume {volume}"
        self._events.event(claim, NORMAL, "Resizing", text)
        if any(condition.type == "Resizing" for condition in claim.status.conditions):
            return claim
        since = format_time(self._clock.now())
        resizing = PersistentVolumeClaimCondition(
            type="Resizing", status="True", lastTransitionTime=since
        )
        status = replace(
            claim.status,
            conditions=[*claim.status.conditions, resizing],
            allocatedResources={**claim.status.allocatedResources, "storage": wanted},
            allocatedResourceStatuses={
                **claim.status.allocatedResourceStatuses,
                "storage": RESIZE_IN_PROGRESS,
            },
        )
        return await self._client.update(replace(claim, status=status), "status")

    async def _finish(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        capacity = {**claim.status.capacity, **_storage_of(volume)}
        others = [one for one in claim.status.conditions if one.type not in RESIZING]
        steps = {
            name: step
            for name, step in claim.status.allocatedResourceStatuses.items()
            if name != "storage"
        }
        status = replace(
            claim.status,
            capacity=capacity,
            conditions=others,
            allocatedResources={**claim.status.allocatedResources, **_storage_of(volume)},
            allocatedResourceStatuses=steps,
        )
        await self._client.update(replace(claim, status=status), "status")
        self._events.event(claim, NORMAL, "VolumeResizeSuccessful", "Resize volume succeeded")


def _storage_of(volume: PersistentVolume) -> dict[str, str]:
    return {"storage": volume.spec.capacity["storage"]}


def _is_less(capacity: dict[str, str], wanted: str) -> bool:
    return parse_quantity(capacity.get("storage", "0")) < parse_quantity(wanted)
