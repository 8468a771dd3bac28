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
from kubelite.api.kinds.enums import (
    ACCESS_MODES,
    AZURE_DISK_KINDS,
    CACHING_MODES,
    HOST_PATH_TYPES,
    PULL_POLICIES,
    VOLUME_MODES,
)
from kubelite.api.kinds.meta import LabelSelector, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    OMIT_EMPTY,
    REQUIRED,
    Int32,
    Int64,
    Model,
    NilList,
    Quantity,
    default,
)


class AWSElasticBlockStoreVolumeSource(Model):
    """A disk of AWS Elastic Block Store."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    partition: Int32 = 0
    readOnly: bool = False


class AzureDiskVolumeSource(Model):
    """A disk of Azure."""

    diskName: Annotated[str, REQUIRED] = ""
    diskURI: Annotated[str, REQUIRED] = ""
    cachingMode: Annotated[str | None, default("ReadWrite"), CACHING_MODES] = None
    fsType: Annotated[str | None, default("ext4")] = None
    kind: Annotated[str | None, default("Shared"), AZURE_DISK_KINDS] = None
    readOnly: Annotated[bool | None, default(False)] = None


class AzureFileVolumeSource(Model):
    """A share of Azure Files."""

    secretName: Annotated[str, REQUIRED] = ""
    shareName: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class CSIVolumeSource(Model):
    """A volume a CSI driver makes for the pod alone."""

    driver: Annotated[str, REQUIRED] = ""
    fsType: str | None = None
    nodePublishSecretRef: LocalObjectReference | None = None
    readOnly: bool | None = None
    volumeAttributes: dict[str, str] = {}


class CephFSVolumeSource(Model):
    """A path of a CephFS file system."""

    monitors: Annotated[list[str], REQUIRED, ATOMIC] = []
    path: str = ""
    readOnly: bool = False
    secretFile: str = ""
    secretRef: LocalObjectReference | None = None
    user: str = ""


class CinderVolumeSource(Model):
    """A volume of OpenStack Cinder."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None


class ClusterTrustBundleProjection(Model):
    """Trust anchors, as a file."""

    path: Annotated[str, REQUIRED] = ""
    labelSelector: LabelSelector | None = None
    name: str | None = None
    optional: bool | None = None
    signerName: str | None = None


class ConfigMapProjection(Model):
    """Keys of a config map, as files."""

    items: Annotated[list[KeyToPath], ATOMIC] = []
    name: str = ""
    optional: bool | None = None


class ConfigMapVolumeSource(Model):
    """The keys of a config map as files, kept up to date."""

    defaultMode: Int32 | None = None
    items: Annotated[list[KeyToPath], ATOMIC] = []
    name: str = ""
    optional: bool | None = None


class DownwardAPIVolumeFile(Model):
    """A file with a field of the pod or a resource of a container."""

    path: Annotated[str, REQUIRED] = ""
    fieldRef: ObjectFieldSelector | None = None
    mode: Int32 | None = None
    resourceFieldRef: ResourceFieldSelector | None = None


class DownwardAPIProjection(Model):
    """Facts about the pod, as files."""

    items: Annotated[list[DownwardAPIVolumeFile], ATOMIC] = []


class DownwardAPIVolumeSource(Model):
    """Facts about the pod as files, kept up to date."""

    defaultMode: Int32 | None = None
    items: Annotated[list[DownwardAPIVolumeFile], ATOMIC] = []


class EmptyDirVolumeSource(Model):
    """A folder that begins empty and goes with the pod."""

    medium: str = ""
    sizeLimit: Quantity | None = None


class VolumeResourceRequirements(Model):
    """How much storage is asked for, and how much at most."""

    limits: dict[str, Quantity] = {}
    requests: dict[str, Quantity] = {}


class PersistentVolumeClaimSpec(Model):
    """What is wanted of a persistent volume claim."""

    accessModes: Annotated[list[Annotated[str, ACCESS_MODES]], ATOMIC] = []
    dataSource: TypedLocalObjectReference | None = None
    dataSourceRef: TypedObjectReference | None = None
    resources: VolumeResourceRequirements = VolumeResourceRequirements()
    selector: LabelSelector | None = None
    storageClassName: str | None = None
    volumeAttributesClassName: str | None = None
    volumeMode: Annotated[str | None, VOLUME_MODES] = None
    volumeName: str = ""


class PersistentVolumeClaimTemplate(Model):
    """The claim that is made for a pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[PersistentVolumeClaimSpec, REQUIRED] = PersistentVolumeClaimSpec()


class EphemeralVolumeSource(Model):
    """A volume claimed for the pod alone, which goes with it."""

    volumeClaimTemplate: PersistentVolumeClaimTemplate | None = None


class FCVolumeSource(Model):
    """A disk reached over Fibre Channel."""

    fsType: str = ""
    lun: Int32 | None = None
    readOnly: bool = False
    targetWWNs: Annotated[list[str], ATOMIC] = []
    wwids: Annotated[list[str], ATOMIC] = []


class FlexVolumeSource(Model):
    """A volume of a FlexVolume driver."""

    driver: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    options: dict[str, str] = {}
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None


class FlockerVolumeSource(Model):
    """A volume of Flocker."""

    datasetName: str = ""
    datasetUUID: str = ""


class GCEPersistentDiskVolumeSource(Model):
    """A disk of Google Compute Engine."""

    pdName: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    partition: Int32 = 0
    readOnly: bool = False


class GitRepoVolumeSource(Model):
    """A folder filled from a git repository; no longer supported."""

    repository: Annotated[str, REQUIRED] = ""
    directory: str = ""
    revision: str = ""


class GlusterfsVolumeSource(Model):
    """A volume of GlusterFS."""

    endpoints: Annotated[str, REQUIRED] = ""
    path: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class HostPathVolumeSource(Model):
    """A file or folder of the node itself."""

    path: Annotated[str, REQUIRED] = ""
    type: Annotated[str | None, HOST_PATH_TYPES] = None


class ISCSIVolumeSource(Model):
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
    secretRef: LocalObjectReference | None = None


class ImageVolumeSource(Model):
    """The files of an image, read-only."""

    pullPolicy: Annotated[str, PULL_POLICIES] = ""
    reference: str = ""


class LocalVolumeSource(Model):
    """A disk or folder of one node, as a persistent volume."""

    path: Annotated[str, REQUIRED] = ""
    fsType: str | None = None


class NFSVolumeSource(Model):
    """A folder of an NFS server."""

    path: Annotated[str, REQUIRED] = ""
    server: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class PersistentVolumeClaimVolumeSource(Model):
    """The storage behind a claim."""

    claimName: Annotated[str, REQUIRED] = ""
    readOnly: bool = False


class PhotonPersistentDiskVolumeSource(Model):
    """A disk of Photon Controller."""

    pdID: Annotated[str, REQUIRED] = ""
    fsType: str = ""


class PodCertificateProjection(Model):
    """A key and a certificate made for the pod, as files."""

    keyType: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    signerName: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    certificateChainPath: str = ""
    credentialBundlePath: str = ""
    keyPath: str = ""
    maxExpirationSeconds: Int32 | None = None
    userAnnotations: dict[str, str] = {}


class PortworxVolumeSource(Model):
    """A volume of Portworx."""

    volumeID: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    readOnly: bool = False


class SecretProjection(Model):
    """Keys of a secret, as files."""

    items: Annotated[list[KeyToPath], ATOMIC] = []
    name: str = ""
    optional: bool | None = None


class ServiceAccountTokenProjection(Model):
    """A token of the pod's service account as a file, renewed in time."""

    path: Annotated[str, REQUIRED] = ""
    audience: str = ""
    expirationSeconds: Int64 | None = None


class VolumeProjection(Model):
    """One of the sources that share a volume."""

    clusterTrustBundle: ClusterTrustBundleProjection | None = None
    configMap: ConfigMapProjection | None = None
    downwardAPI: DownwardAPIProjection | None = None
    podCertificate: PodCertificateProjection | None = None
    secret: SecretProjection | None = None
    serviceAccountToken: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Model):
    """Several sources in one volume."""

    defaultMode: Int32 | None = None
    sources: Annotated[NilList[VolumeProjection], ATOMIC] = []


class QuobyteVolumeSource(Model):
    """A volume of Quobyte."""

    registry: Annotated[str, REQUIRED] = ""
    volume: Annotated[str, REQUIRED] = ""
    group: str = ""
    readOnly: bool = False
    tenant: str = ""
    user: str = ""


class RBDVolumeSource(Model):
    """An image of a Ceph block device."""

    image: Annotated[str, REQUIRED] = ""
    monitors: Annotated[list[str], REQUIRED, ATOMIC] = []
    fsType: str = ""
    keyring: Annotated[str, default("/etc/ceph/keyring")] = ""
    pool: Annotated[str, default("rbd")] = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    user: Annotated[str, default("admin")] = ""


class ScaleIOVolumeSource(Model):
    """A volume of ScaleIO."""

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
    """The keys of a secret as files, kept in memory and up to date."""

    defaultMode: Int32 | None = None
    items: Annotated[list[KeyToPath], ATOMIC] = []
    optional: bool | None = None
    secretName: str = ""


class StorageOSVolumeSource(Model):
    """A volume of StorageOS."""

    fsType: str = ""
    readOnly: bool = False
    secretRef: LocalObjectReference | None = None
    volumeName: str = ""
    volumeNamespace: str = ""


class VsphereVirtualDiskVolumeSource(Model):
    """A disk of vSphere."""

    volumePath: Annotated[str, REQUIRED] = ""
    fsType: str = ""
    storagePolicyID: str = ""
    storagePolicyName: str = ""


class Volume(Model):
    """Storage that containers of a pod can mount."""

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
