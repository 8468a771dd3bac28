"""What a driver is told of a volume: capability, context, and who owns its files; pure."""

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Struct

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import CSIVolumeSource
from kubelite.api.kinds.storage import CSIDriver
from kubelite.node.csi.messages import (
    AccessMode,
    AccessModeMessage,
    BlockVolume,
    Capability,
    MountVolume,
    VolumeCapability,
)

Lifecycle = Literal["Persistent", "Ephemeral"]
TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
DEFAULT_GROUP_POLICY = "ReadWriteOnceWithFSType"


class CSISource(Struct, frozen=True):
    """A CSI volume of a pod. `name` is that of the PersistentVolume, or of the pod's own volume."""

    name: str
    driver: str
    handle: str
    lifecycle: Lifecycle
    fs_type: str = ""
    read_only: bool = False
    attributes: Mapping[str, str] = {}
    access_modes: tuple[str, ...] = ()
    mount_options: tuple[str, ...] = ()
    is_block: bool = False
    stage_secret: tuple[str, str] | None = None  # namespace and name
    publish_secret: tuple[str, str] | None = None
    expand_secret: tuple[str, str] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Driver and handle, which identify the volume on this node."""
        return self.driver, self.handle


def persistent_source(volume: PersistentVolume, *, read_only: bool) -> CSISource | None:
    """Return the CSI volume of a PersistentVolume; None for another type."""
    source = volume.spec.csi
    if source is None:
        return None
    secrets = [
        (ref.namespace, ref.name) if ref is not None else None
        for ref in (
            source.nodeStageSecretRef,
            source.nodePublishSecretRef,
            source.nodeExpandSecretRef,
        )
    ]
    return CSISource(
        volume.metadata.name,
        source.driver,
        source.volumeHandle,
        "Persistent",
        source.fsType,
        source.readOnly or read_only,
        source.volumeAttributes,
        tuple(volume.spec.accessModes),
        tuple(volume.spec.mountOptions),
        volume.spec.volumeMode == "Block",
        *secrets,
    )


def inline_source(pod: Pod, name: str, source: CSIVolumeSource) -> CSISource:
    """Return the CSI volume that a pod defines itself; its handle is upstream's hash of the pod's uid and its name."""
    handle = f"csi-{hashlib.sha256(f'{pod.metadata.uid}{name}'.encode()).hexdigest()}"
    ref = source.nodePublishSecretRef
    secret = None if ref is None else (pod.metadata.namespace, ref.name)
    return CSISource(
        name,
        source.driver,
        handle,
        "Ephemeral",
        source.fsType or "",
        bool(source.readOnly),
        source.volumeAttributes,
        publish_secret=secret,
    )


def access_mode(modes: tuple[str, ...], capabilities: Collection[int]) -> AccessMode:
    """Return the access mode for the first of a volume's modes; ReadWriteOnce without one.

    A driver that tells one pod of a node from several is told the difference.
    """
    mode = modes[0] if modes else "ReadWriteOnce"
    tells_apart = Capability.SINGLE_NODE_MULTI_WRITER in capabilities
    if mode == "ReadOnlyMany":
        return AccessMode.MULTI_NODE_READER_ONLY
    if mode == "ReadWriteMany":
        return AccessMode.MULTI_NODE_MULTI_WRITER
    if mode == "ReadWriteOncePod" and tells_apart:
        return AccessMode.SINGLE_NODE_SINGLE_WRITER
    if mode == "ReadWriteOnce" and tells_apart:
        return AccessMode.SINGLE_NODE_MULTI_WRITER
    return AccessMode.SINGLE_NODE_WRITER


def capability(
    source: CSISource, capabilities: Collection[int], group: int | None
) -> VolumeCapability:
    """Return how a volume is used; `group` is the pod's fsGroup, for a driver that applies it itself."""
    mode = AccessModeMessage(mode=access_mode(source.access_modes, capabilities))
    if source.is_block:
        return VolumeCapability(block=BlockVolume(), access_mode=mode)
    applies = Capability.VOLUME_MOUNT_GROUP in capabilities and group is not None
    mount = MountVolume(
        fs_type=source.fs_type,
        mount_flags=list(source.mount_options),
        volume_mount_group=str(group) if applies else "",
    )
    return VolumeCapability(mount=mount, access_mode=mode)


def pod_attributes(pod: Pod, lifecycle: Lifecycle) -> dict[str, str]:
    """Return what a driver with podInfoOnMount is told of the pod."""
    return {
        "csi.storage.k8s.io/pod.name": pod.metadata.name,
        "csi.storage.k8s.io/pod.namespace": pod.metadata.namespace,
        "csi.storage.k8s.io/pod.uid": pod.metadata.uid,
        "csi.storage.k8s.io/serviceAccount.name": pod.spec.serviceAccountName,
        "csi.storage.k8s.io/ephemeral": str(lifecycle == "Ephemeral").lower(),
    }


def tokens_attribute(tokens: Mapping[str, tuple[str, str]]) -> str:
    """Return the tokens for a driver as text; `tokens` has token and date of expiry by audience."""
    return json.dumps(
        {
            audience: {"token": token, "expirationTimestamp": expires_at}
            for audience, (token, expires_at) in sorted(tokens.items())
        },
        separators=(",", ":"),
    )


def refused_lifecycle(driver: CSIDriver | None, name: str, lifecycle: Lifecycle) -> str:
    """Return why a driver cannot serve a volume of this lifecycle, in upstream's words; "" if it can."""
    if driver is None:
        if lifecycle == "Persistent":  # which every driver serves
            return ""
        return f'volume mode "{lifecycle}" not supported by driver {name} (no CSIDriver object)'
    modes = driver.spec.volumeLifecycleModes or ["Persistent"]
    if lifecycle in modes:
        return ""
    listed = " ".join(f'"{mode}"' for mode in modes)
    return f'volume mode "{lifecycle}" not supported by driver {name} (only supports [{listed}])'


def is_group_ours(
    source: CSISource, driver: CSIDriver | None, capabilities: Collection[int], group: int | None
) -> bool:
    """Return whether the node gives the files of a volume to the pod's fsGroup, by the driver's fsGroupPolicy."""
    if group is None or source.is_block or source.read_only:
        return False
    if Capability.VOLUME_MOUNT_GROUP in capabilities:
        return False
    policy = (driver.spec.fsGroupPolicy if driver is not None else None) or DEFAULT_GROUP_POLICY
    if policy == "File":
        return True
    if policy == "None" or not source.fs_type:
        return False
    if source.lifecycle == "Ephemeral":
        return True
    return "ReadWriteOnce" in source.access_modes or "ReadWriteOncePod" in source.access_modes
