"""Storage classes, CSI drivers and volume attachments."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.node_affinity import TopologySelectorTerm
from kubelite.api.kinds.core.persistent_volumes import PersistentVolumeSpec
from kubelite.api.kinds.enums import BINDING_MODES, RECLAIM_POLICIES
from kubelite.api.kinds.meta import LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Int32,
    Int64,
    Kind,
    Model,
    NilList,
    Quantity,
    Time,
    list_map,
    merge_by,
)


class TokenRequest(Model):
    """A service account token that a CSI driver wants with each mount."""

    audience: Annotated[str, REQUIRED] = ""
    expirationSeconds: Int64 | None = None


class CSIDriverSpec(Model):
    """What is wanted of a CSI driver."""

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
    """What a CSI driver can do and needs."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIDriver")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CSIDriverSpec, REQUIRED] = CSIDriverSpec()


class CSIDriverList(Kind):
    """A list of CSI drivers."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIDriverList")

    items: Annotated[list[CSIDriver], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class VolumeNodeResources(Model):
    """How many volumes of a driver a node can take."""

    count: Int32 | None = None


class CSINodeDriver(Model):
    """A CSI driver as one node knows it."""

    name: Annotated[str, REQUIRED] = ""
    nodeID: Annotated[str, REQUIRED] = ""
    allocatable: VolumeNodeResources | None = None
    topologyKeys: Annotated[NilList[str], ATOMIC] = []


class CSINodeSpec(Model):
    """What is wanted of a CSI node."""

    drivers: Annotated[NilList[CSINodeDriver], REQUIRED, list_map("name"), merge_by("name")] = []


class CSINode(Kind):
    """The CSI drivers of a node."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSINode")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[CSINodeSpec, REQUIRED] = CSINodeSpec()


class CSINodeList(Kind):
    """A list of CSI nodes."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSINodeList")

    items: Annotated[list[CSINode], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class CSIStorageCapacity(Kind):
    """How much storage of a class is left in some part of the cluster."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIStorageCapacity")

    storageClassName: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    capacity: Quantity | None = None
    maximumVolumeSize: Quantity | None = None
    nodeTopology: LabelSelector | None = None


class CSIStorageCapacityList(Kind):
    """A list of CSI storage capacities."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "CSIStorageCapacityList")

    items: Annotated[list[CSIStorageCapacity], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class StorageClass(Kind):
    """A sort of storage, and who makes volumes of it."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "StorageClass")

    provisioner: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    allowVolumeExpansion: bool | None = None
    allowedTopologies: Annotated[list[TopologySelectorTerm], ATOMIC] = []
    mountOptions: Annotated[list[str], ATOMIC] = []
    parameters: dict[str, str] = {}
    reclaimPolicy: Annotated[str | None, RECLAIM_POLICIES] = None
    volumeBindingMode: Annotated[str | None, BINDING_MODES] = None


class StorageClassList(Kind):
    """A list of storage classes."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "StorageClassList")

    items: Annotated[list[StorageClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class VolumeAttachmentSource(Model):
    """The volume to attach."""

    inlineVolumeSpec: PersistentVolumeSpec | None = None
    persistentVolumeName: str | None = None


class VolumeAttachmentSpec(Model):
    """What is wanted of a volume attachment."""

    attacher: Annotated[str, REQUIRED] = ""
    nodeName: Annotated[str, REQUIRED] = ""
    source: Annotated[VolumeAttachmentSource, REQUIRED] = VolumeAttachmentSource()


class VolumeError(Model):
    """What went wrong with a volume, and when."""

    errorCode: Int32 | None = None
    message: str = ""
    time: Time = ""


class VolumeAttachmentStatus(Model):
    """What was last observed of a volume attachment."""

    attached: Annotated[bool, REQUIRED] = False
    attachError: VolumeError | None = None
    attachmentMetadata: dict[str, str] = {}
    detachError: VolumeError | None = None


class VolumeAttachment(Kind):
    """Asks to attach a volume to a node."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachment")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[VolumeAttachmentSpec, REQUIRED] = VolumeAttachmentSpec()
    status: VolumeAttachmentStatus = VolumeAttachmentStatus()


class VolumeAttachmentList(Kind):
    """A list of volume attachments."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttachmentList")

    items: Annotated[list[VolumeAttachment], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class VolumeAttributesClass(Kind):
    """A set of attributes that a volume can be given, even later."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttributesClass")

    driverName: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    parameters: dict[str, str] = {}


class VolumeAttributesClassList(Kind):
    """A list of volume attributes classes."""

    gvk: ClassVar = GroupVersionKind("storage.k8s.io", "v1", "VolumeAttributesClassList")

    items: Annotated[list[VolumeAttributesClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()
