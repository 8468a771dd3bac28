"""Storage classes, CSI drivers and volume attachments."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.node_affinity import TopologySelectorTerm
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeSpec
from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    Quantity,
    Time,
    list_map,
    merge_by,
)


class TokenRequest(Model):
    """TokenRequest."""

    audience: Annotated[str, REQUIRED] = ""
    expirationSeconds: Int64 | None = None


class CSIDriverSpec(Model):
    """CSIDriverSpec."""

    attachRequired: bool | None = None
    fsGroupPolicy: str | None = None
    nodeAllocatableUpdatePeriodSeconds: Int64 | None = None
    podInfoOnMount: bool | None = None
    preventPodSchedulingIfMissing: bool | None = None
    requiresRepublish: bool | None = None
    seLinuxMount: bool | None = None
    serviceAccountTokenInSecrets: bool | None = None
    storageCapacity: bool | None = None
    tokenRequests: Annotated[list[TokenRequest], ATOMIC] = []
    volumeLifecycleModes: Annotated[list[str], SET] = []


class CSIDriver(Kind):
    """CSIDriver."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIDriver")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CSIDriverSpec, REQUIRED] = CSIDriverSpec()


class CSIDriverList(Kind):
    """CSIDriverList."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIDriverList")

    items: Annotated[list[CSIDriver], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class VolumeNodeResources(Model):
    """VolumeNodeResources."""

    count: Int32 | None = None


class CSINodeDriver(Model):
    """CSINodeDriver."""

    name: Annotated[str, REQUIRED] = ""
    nodeID: Annotated[str, REQUIRED] = ""
    allocatable: VolumeNodeResources | None = None
    topologyKeys: Annotated[list[str], ATOMIC, ALWAYS] = []


class CSINodeSpec(Model):
    """CSINodeSpec."""

    drivers: Annotated[list[CSINodeDriver], REQUIRED, list_map("name"), merge_by("name")] = []


class CSINode(Kind):
    """CSINode."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSINode")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CSINodeSpec, REQUIRED] = CSINodeSpec()


class CSINodeList(Kind):
    """CSINodeList."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSINodeList")

    items: Annotated[list[CSINode], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class CSIStorageCapacity(Kind):
    """CSIStorageCapacity."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIStorageCapacity")

    storageClassName: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    capacity: Quantity | None = None
    maximumVolumeSize: Quantity | None = None
    nodeTopology: LabelSelector | None = None


class CSIStorageCapacityList(Kind):
    """CSIStorageCapacityList."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIStorageCapacityList")

    items: Annotated[list[CSIStorageCapacity], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class StorageClass(Kind):
    """StorageClass."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "StorageClass")

    provisioner: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    allowVolumeExpansion: bool | None = None
    allowedTopologies: Annotated[list[TopologySelectorTerm], ATOMIC] = []
    mountOptions: Annotated[list[str], ATOMIC] = []
    parameters: dict[str, str] = {}
    reclaimPolicy: str | None = None
    volumeBindingMode: str | None = None


class StorageClassList(Kind):
    """StorageClassList."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "StorageClassList")

    items: Annotated[list[StorageClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class VolumeAttachmentSource(Model):
    """VolumeAttachmentSource."""

    inlineVolumeSpec: PersistentVolumeSpec | None = None
    persistentVolumeName: str | None = None


class VolumeAttachmentSpec(Model):
    """VolumeAttachmentSpec."""

    attacher: Annotated[str, REQUIRED] = ""
    nodeName: Annotated[str, REQUIRED] = ""
    source: Annotated[VolumeAttachmentSource, REQUIRED] = VolumeAttachmentSource()


class VolumeError(Model):
    """VolumeError."""

    errorCode: Int32 | None = None
    message: str = ""
    time: Time = ""


class VolumeAttachmentStatus(Model):
    """VolumeAttachmentStatus."""

    attached: Annotated[bool, REQUIRED] = False
    attachError: VolumeError | None = None
    attachmentMetadata: dict[str, str] = {}
    detachError: VolumeError | None = None


class VolumeAttachment(Kind):
    """VolumeAttachment."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachment")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[VolumeAttachmentSpec, REQUIRED] = VolumeAttachmentSpec()
    status: VolumeAttachmentStatus = VolumeAttachmentStatus()


class VolumeAttachmentList(Kind):
    """VolumeAttachmentList."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachmentList")

    items: Annotated[list[VolumeAttachment], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class VolumeAttributesClass(Kind):
    """VolumeAttributesClass."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttributesClass")

    driverName: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    parameters: dict[str, str] = {}


class VolumeAttributesClassList(Kind):
    """VolumeAttributesClassList."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttributesClassList")

    items: Annotated[list[VolumeAttributesClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()
