"""Persistent volumes and claims."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.node_affinity import VolumeNodeAffinity
from kubelite.api.kinds.core.references import ObjectReference, SecretReference
from kubelite.api.kinds.core.volumes import (
    AWSElasticBlockStoreVolumeSource,
    AzureDiskVolumeSource,
    FCVolumeSource,
    FlockerVolumeSource,
    GCEPersistentDiskVolumeSource,
    HostPathVolumeSource,
    LocalVolumeSource,
    NFSVolumeSource,
    PersistentVolumeClaimSpec,
    PhotonPersistentDiskVolumeSource,
    PortworxVolumeSource,
    QuobyteVolumeSource,
    VsphereVirtualDiskVolumeSource,
)
from kubelite.api.kinds.enums import (
    ACCESS_MODES,
    CLAIM_PHASES,
    CLAIM_RESIZE_STATES,
    MODIFY_VOLUME_STATES,
    RECLAIM_POLICIES,
    VOLUME_MODES,
    VOLUME_PHASES,
)
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    GRANULAR,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Kind,
    Model,
    Quantity,
    Time,
    default,
    list_map,
    merge_by,
)


class AzureFilePersistentVolumeSource(Model):
    """A share of Azure Files."""

    secretName: Annotated[str, REQUIRED] = ""
    shareName: Annotated[str, REQUIRED] = ""
    readOnly: bool = False
    secretNamespace: str | None = None


class CSIPersistentVolumeSource(Model):
    """A volume of a CSI driver."""

    driver: Annotated[str, REQUIRED] = ""
    volumeHandle: Annotated[str, REQUIRED] = ""
    controllerExpandSecretRef: SecretReference | None = None
    controllerPublishSecretRef: SecretReference | None = None
    fsType: str = ""
    nodeExpandSecretRef: SecretReference | None = None
    nodePublishSecretRef: SecretReference | None = None
    nodeStageSecretRef: SecretReference | None = None
    readOnly: bool = False
    volumeAttributes: dict[str, str] = {}


class CephFSPersistentVolumeSource(Model):
    """A path of a CephFS file system."""

    monitors: Annotated[list[str], REQUIRED, ATOMIC] = []
    path: str = ""
    readOnly: bool = False
    secretFile: str = ""
    secretRef: SecretReference | None = None
    user: str = ""


class CinderPersistentVolumeSource(Model):
    """A volume of OpenStack Cinder."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    readOnly: bool = False
    secretRef: SecretReference | None = None


class FlexPersistentVolumeSource(Model):
    """A volume of a FlexVolume driver."""

    driver: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    options: dict[str, str] = {}
    readOnly: bool = False
    secretRef: SecretReference | None = None


class GlusterfsPersistentVolumeSource(Model):
    """A volume of GlusterFS."""

    endpoints: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    endpointsNamespace: str | None = None
    readOnly: bool = False


class ISCSIPersistentVolumeSource(Model):
    """A disk reached over iSCSI."""

    iqn: Annotated[str, REQUIRED] = ""
    lun: Annotated[Int32, REQUIRED] = 0
    targetPortal: Annotated[str, REQUIRED] = ""
    chapAuthDiscovery: bool = False
    chapAuthSession: bool = False
    fsType: str = ""
    initiatorName: str | None = None
    iscsiInterface: Annotated[str, default("default")] = ""
    portals: Annotated[list[str], ATOMIC] = []
    readOnly: bool = False
    secretRef: SecretReference | None = None


class ModifyVolumeStatus(Model):
    """How far a change of a claim's volume attributes has come."""

    status: Annotated[str, REQUIRED, MODIFY_VOLUME_STATES] = ""
    targetVolumeAttributesClassName: str = ""


class RBDPersistentVolumeSource(Model):
    """An image of a Ceph block device."""

    image: Annotated[str, REQUIRED] = ""
    monitors: Annotated[list[str], REQUIRED, ATOMIC] = []
    fsType: str = ""
    keyring: Annotated[str, default("/etc/ceph/keyring")] = ""
    pool: Annotated[str, default("rbd")] = ""
    readOnly: bool = False
    secretRef: SecretReference | None = None
    user: Annotated[str, default("admin")] = ""


class ScaleIOPersistentVolumeSource(Model):
    """A volume of ScaleIO."""

    gateway: Annotated[str, REQUIRED] = ""
    secretRef: Annotated[SecretReference | None, REQUIRED] = None
    system: Annotated[str, REQUIRED] = ""
    fsType: Annotated[str, default("xfs")] = ""
    protectionDomain: str = ""
    readOnly: bool = False
    sslEnabled: bool = False
    storageMode: Annotated[str, default("ThinProvisioned")] = ""
    storagePool: str = ""
    volumeName: str = ""


class StorageOSPersistentVolumeSource(Model):
    """A volume of StorageOS."""

    fsType: str = ""
    readOnly: bool = False
    secretRef: ObjectReference | None = None
    volumeName: str = ""
    volumeNamespace: str = ""


class PersistentVolumeSpec(Model):
    """What is wanted of a persistent volume."""

    accessModes: Annotated[list[Annotated[str, ACCESS_MODES]], ATOMIC] = []
    awsElasticBlockStore: AWSElasticBlockStoreVolumeSource | None = None
    azureDisk: AzureDiskVolumeSource | None = None
    azureFile: AzureFilePersistentVolumeSource | None = None
    capacity: dict[str, Quantity] = {}
    cephfs: CephFSPersistentVolumeSource | None = None
    cinder: CinderPersistentVolumeSource | None = None
    claimRef: Annotated[ObjectReference | None, GRANULAR] = None
    csi: CSIPersistentVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flexVolume: FlexPersistentVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gcePersistentDisk: GCEPersistentDiskVolumeSource | None = None
    glusterfs: GlusterfsPersistentVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    iscsi: ISCSIPersistentVolumeSource | None = None
    local: LocalVolumeSource | None = None
    mountOptions: Annotated[list[str], ATOMIC] = []
    nfs: NFSVolumeSource | None = None
    nodeAffinity: VolumeNodeAffinity | None = None
    persistentVolumeReclaimPolicy: Annotated[str, RECLAIM_POLICIES] = ""
    photonPersistentDisk: PhotonPersistentDiskVolumeSource | None = None
    portworxVolume: PortworxVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDPersistentVolumeSource | None = None
    scaleIO: ScaleIOPersistentVolumeSource | None = None
    storageClassName: str = ""
    storageos: StorageOSPersistentVolumeSource | None = None
    volumeAttributesClassName: str | None = None
    volumeMode: Annotated[str | None, VOLUME_MODES] = None
    vsphereVolume: VsphereVirtualDiskVolumeSource | None = None


class PersistentVolumeStatus(Model):
    """What was last observed of a persistent volume."""

    lastPhaseTransitionTime: Time | None = None
    message: str = ""
    phase: Annotated[str, VOLUME_PHASES] = ""
    reason: str = ""


class PersistentVolume(Kind):
    """A piece of storage that exists apart from any pod."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PersistentVolume")

    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


class PersistentVolumeClaimCondition(Model):
    """One aspect of a persistent volume claim's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class PersistentVolumeClaimStatus(Model):
    """What was last observed of a persistent volume claim."""

    accessModes: Annotated[list[Annotated[str, ACCESS_MODES]], ATOMIC] = []
    allocatedResourceStatuses: Annotated[
        dict[str, Annotated[str, CLAIM_RESIZE_STATES]], GRANULAR
    ] = {}
    allocatedResources: dict[str, Quantity] = {}
    capacity: dict[str, Quantity] = {}
    conditions: Annotated[
        list[PersistentVolumeClaimCondition], list_map("type"), merge_by("type")
    ] = []
    currentVolumeAttributesClassName: str | None = None
    modifyVolumeStatus: ModifyVolumeStatus | None = None
    phase: Annotated[str, CLAIM_PHASES] = ""


class PersistentVolumeClaim(Kind):
    """A user's wish for storage, met by a persistent volume."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PersistentVolumeClaim")

    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class PersistentVolumeClaimList(Kind):
    """A list of persistent volume claims."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PersistentVolumeClaimList")

    items: Annotated[list[PersistentVolumeClaim], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class PersistentVolumeList(Kind):
    """A list of persistent volumes."""

    gvk: ClassVar = GroupVersionKind("", "v1", "PersistentVolumeList")

    items: Annotated[list[PersistentVolume], REQUIRED] = []
    metadata: ListMeta = ListMeta()
