"""Volumes of a pod and where their content comes from."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.core.references import (
    KeyToPath,
    LocalObjectReference,
    ObjectFieldSelector,
    ResourceFieldSelector,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    ATOMIC,
    REQUIRED,
    Int32,
    Int64,
    Model,
    Quantity,
    default,
)


class AWSElasticBlockStoreVolumeSource(Model):
    """AWSElasticBlockStoreVolumeSource."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    partition: Int32 = 0
    readOnly: bool = False


class AzureDiskVolumeSource(Model):
    """AzureDiskVolumeSource."""

    diskName: Annotated[str, REQUIRED] = ""
    diskURI: Annotated[str, REQUIRED] = ""
    cachingMode: Annotated[str | None, default("ReadWrite")] = None
    fsType: Annotated[str | None, default("ext4")] = None
    kind: Annotated[str | None, default("Shared")] = None
    readOnly: Annotated[bool | None, default(False)] = None


class AzureFileVolumeSource(Model):
    """AzureFileVolumeSource."""

    secretName: Annotated[str, REQUIRED] = ""
    shareName: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class CSIVolumeSource(Model):
    """CSIVolumeSource."""

    driver: Annotated[str, REQUIRED] = ""
    fsType: str | None = None
    nodePublishSecretRef: LocalObjectReference | None = None
    readOnly: bool | None = None
    volumeAttributes: dict[str, str] = {}


class CephFSVolumeSource(Model):
    """CephFSVolumeSource."""

    monitors: Annotated[list[str], REQUIRED, ATOMIC] = []
    path: str = ""
    readOnly: bool = False
    secretFile: str = ""
    secretRef: LocalObjectReference | None = None
    user: str = ""


class CinderVolumeSource(Model):
    """CinderVolumeSource."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None


class ClusterTrustBundleProjection(Model):
    """ClusterTrustBundleProjection."""

    path: Annotated[str, REQUIRED] = ""
    labelSelector: LabelSelector | None = None
    name: str | None = None
    optional: bool | None = None
    signerName: str | None = None


class ConfigMapProjection(Model):
    """ConfigMapProjection."""

    items: Annotated[list[KeyToPath], ATOMIC] = []
    name: str = ""
    optional: bool | None = None


class ConfigMapVolumeSource(Model):
    """ConfigMapVolumeSource."""

    defaultMode: Int32 | None = None
    items: Annotated[list[KeyToPath], ATOMIC] = []
    name: str = ""
    optional: bool | None = None


class DownwardAPIVolumeFile(Model):
    """DownwardAPIVolumeFile."""

    path: Annotated[str, REQUIRED] = ""
    fieldRef: ObjectFieldSelector | None = None
    mode: Int32 | None = None
    resourceFieldRef: ResourceFieldSelector | None = None


class DownwardAPIProjection(Model):
    """DownwardAPIProjection."""

    items: Annotated[list[DownwardAPIVolumeFile], ATOMIC] = []


class DownwardAPIVolumeSource(Model):
    """DownwardAPIVolumeSource."""

    defaultMode: Int32 | None = None
    items: Annotated[list[DownwardAPIVolumeFile], ATOMIC] = []


class EmptyDirVolumeSource(Model):
    """EmptyDirVolumeSource."""

    medium: str = ""
    sizeLimit: Quantity | None = None


class VolumeResourceRequirements(Model):
    """VolumeResourceRequirements."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class PersistentVolumeClaimSpec(Model):
    """PersistentVolumeClaimSpec."""

    accessModes: Annotated[list[str], ATOMIC] = []
    dataSource: TypedLocalObjectReference | None = None
    dataSourceRef: TypedObjectReference | None = None
    resources: VolumeResourceRequirements = VolumeResourceRequirements()
    selector: LabelSelector | None = None
    storageClassName: str | None = None
    volumeAttributesClassName: str | None = None
    volumeMode: str | None = None
    volumeName: str = ""


class PersistentVolumeClaimTemplate(Model):
    """PersistentVolumeClaimTemplate."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[PersistentVolumeClaimSpec, REQUIRED] = PersistentVolumeClaimSpec()


class EphemeralVolumeSource(Model):
    """EphemeralVolumeSource."""

    volumeClaimTemplate: PersistentVolumeClaimTemplate | None = None


class FCVolumeSource(Model):
    """FCVolumeSource."""

    fsType: str = ""
    lun: Int32 | None = None
    readOnly: bool = False
    targetWWNs: Annotated[list[str], ATOMIC] = []
    wwids: Annotated[list[str], ATOMIC] = []


class FlexVolumeSource(Model):
    """FlexVolumeSource."""

    driver: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    options: dict[str, str] = {}
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None


class FlockerVolumeSource(Model):
    """FlockerVolumeSource."""

    datasetName: str = ""
    datasetUUID: str = ""


class GCEPersistentDiskVolumeSource(Model):
    """GCEPersistentDiskVolumeSource."""

    pdName: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    partition: Int32 = 0
    readOnly: bool = False


class GitRepoVolumeSource(Model):
    """GitRepoVolumeSource."""

    repository: Annotated[str, REQUIRED] = ""
    directory: str = ""
    revision: str = ""


class GlusterfsVolumeSource(Model):
    """GlusterfsVolumeSource."""

    endpoints: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class HostPathVolumeSource(Model):
    """HostPathVolumeSource."""

    path: Annotated[str, REQUIRED] = ""
    type: str | None = None


class ISCSIVolumeSource(Model):
    """ISCSIVolumeSource."""

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
    secretRef: LocalObjectReference | None = None


class ImageVolumeSource(Model):
    """ImageVolumeSource."""

    pullPolicy: str = ""
    reference: str = ""


class LocalVolumeSource(Model):
    """LocalVolumeSource."""

    path: Annotated[str, REQUIRED] = ""
    fsType: str | None = None


class NFSVolumeSource(Model):
    """NFSVolumeSource."""

    path: Annotated[str, REQUIRED] = ""
    server: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class PersistentVolumeClaimVolumeSource(Model):
    """PersistentVolumeClaimVolumeSource."""

    claimName: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class PhotonPersistentDiskVolumeSource(Model):
    """PhotonPersistentDiskVolumeSource."""

    pdID: Annotated[str, REQUIRED] = ""
    fsType: str = ""


class PodCertificateProjection(Model):
    """PodCertificateProjection."""

    keyType: Annotated[str, REQUIRED] = ""
    signerName: Annotated[str, REQUIRED] = ""
    certificateChainPath: str = ""
    credentialBundlePath: str = ""
    keyPath: str = ""
    maxExpirationSeconds: Int32 | None = None
    userAnnotations: dict[str, str] = {}


class PortworxVolumeSource(Model):
    """PortworxVolumeSource."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    readOnly: bool = False


class SecretProjection(Model):
    """SecretProjection."""

    items: Annotated[list[KeyToPath], ATOMIC] = []
    name: str = ""
    optional: bool | None = None


class ServiceAccountTokenProjection(Model):
    """ServiceAccountTokenProjection."""

    path: Annotated[str, REQUIRED] = ""
    audience: str = ""
    expirationSeconds: Int64 | None = None


class VolumeProjection(Model):
    """VolumeProjection."""

    clusterTrustBundle: ClusterTrustBundleProjection | None = None
    configMap: ConfigMapProjection | None = None
    downwardAPI: DownwardAPIProjection | None = None
    podCertificate: PodCertificateProjection | None = None
    secret: SecretProjection | None = None
    serviceAccountToken: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Model):
    """ProjectedVolumeSource."""

    defaultMode: Int32 | None = None
    sources: Annotated[list[VolumeProjection], ATOMIC, ALWAYS] = []


class QuobyteVolumeSource(Model):
    """QuobyteVolumeSource."""

    registry: Annotated[str, REQUIRED] = ""
    volume: Annotated[str, REQUIRED] = ""
    group: str = ""
    readOnly: bool = False
    tenant: str = ""
    user: str = ""


class RBDVolumeSource(Model):
    """RBDVolumeSource."""

    image: Annotated[str, REQUIRED] = ""
    monitors: Annotated[list[str], REQUIRED, ATOMIC] = []
    fsType: str = ""
    keyring: Annotated[str, default("/etc/ceph/keyring")] = ""
    pool: Annotated[str, default("rbd")] = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    user: Annotated[str, default("admin")] = ""


class ScaleIOVolumeSource(Model):
    """ScaleIOVolumeSource."""

    gateway: Annotated[str, REQUIRED] = ""
    secretRef: Annotated[LocalObjectReference | None, REQUIRED] = None
    system: Annotated[str, REQUIRED] = ""
    fsType: Annotated[str, default("xfs")] = ""
    protectionDomain: str = ""
    readOnly: bool = False
    sslEnabled: bool = False
    storageMode: Annotated[str, default("ThinProvisioned")] = ""
    storagePool: str = ""
    volumeName: str = ""


class SecretVolumeSource(Model):
    """SecretVolumeSource."""

    defaultMode: Int32 | None = None
    items: Annotated[list[KeyToPath], ATOMIC] = []
    optional: bool | None = None
    secretName: str = ""


class StorageOSVolumeSource(Model):
    """StorageOSVolumeSource."""

    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    volumeName: str = ""
    volumeNamespace: str = ""


class VsphereVirtualDiskVolumeSource(Model):
    """VsphereVirtualDiskVolumeSource."""

    volumePath: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    storagePolicyID: str = ""
    storagePolicyName: str = ""


class Volume(Model):
    """Volume."""

    name: Annotated[str, REQUIRED] = ""
    awsElasticBlockStore: AWSElasticBlockStoreVolumeSource | None = None
    azureDisk: AzureDiskVolumeSource | None = None
    azureFile: AzureFileVolumeSource | None = None
    cephfs: CephFSVolumeSource | None = None
    cinder: CinderVolumeSource | None = None
    configMap: ConfigMapVolumeSource | None = None
    csi: CSIVolumeSource | None = None
    downwardAPI: DownwardAPIVolumeSource | None = None
    emptyDir: EmptyDirVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    fc: FCVolumeSource | None = None
    flexVolume: FlexVolumeSource | None = None
    flocker: FlockerVolumeSource | None = None
    gcePersistentDisk: GCEPersistentDiskVolumeSource | None = None
    gitRepo: GitRepoVolumeSource | None = None
    glusterfs: GlusterfsVolumeSource | None = None
    hostPath: HostPathVolumeSource | None = None
    image: ImageVolumeSource | None = None
    iscsi: ISCSIVolumeSource | None = None
    nfs: NFSVolumeSource | None = None
    persistentVolumeClaim: PersistentVolumeClaimVolumeSource | None = None
    photonPersistentDisk: PhotonPersistentDiskVolumeSource | None = None
    portworxVolume: PortworxVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    quobyte: QuobyteVolumeSource | None = None
    rbd: RBDVolumeSource | None = None
    scaleIO: ScaleIOVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    storageos: StorageOSVolumeSource | None = None
    vsphereVolume: VsphereVirtualDiskVolumeSource | None = None
