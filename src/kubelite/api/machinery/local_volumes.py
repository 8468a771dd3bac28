"""The volumes that kubelite provisions: a folder of one node for each.

The controller that creates such a volume, the node that keeps its folder, and the rules that say what a node may do
agree here on how they tell one. The label says which node keeps the folder; only administrators and the controller can
write it. The folder's name is computed from the volume by both sides and never read from it.
"""

from pathlib import PurePosixPath

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.machinery.quantity import parse_quantity

PROVISIONER_NAME = "kubelite.io/local-path"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
NODE_LABEL = "kubelite.io/node"  # of a volume: the node that keeps its folder
STORAGE_PATH = "kubelite.io/local-storage-path"  # annotation of a Node: the folder of its volumes
# Annotation of a Node whose disk for volumes is nearly full: the bytes that a new volume may have.
STORAGE_ROOM = "kubelite.io/local-storage-room"
# As the kubelet counts a disk as under pressure by default: less than a tenth is free.
FULL_PARTS, ROOM_PARTS, ROOM_DIGITS_MAX = 10, 100, 20
# As the library of external provisioners calls it: the volume stays until its folder is removed.
FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
IN_USE = "kubernetes.io/pv-protection"  # finalizer of a volume that may be bound
NAME_BYTES_MAX = 255  # of a file, NAME_MAX of Linux
PATH_BYTES_MAX = 1024  # of a node's folder of volumes


def is_provisioned_here(volume: PersistentVolume) -> bool:
    """Return whether a volume says that this provisioner created it; anyone who may create volumes can say so."""
    return volume.metadata.annotations.get(PROVISIONED_BY) == PROVISIONER_NAME


def keeper_of(volume: PersistentVolume) -> str:
    """Return the name of the node that keeps a volume's folder; "" for a volume of another provisioner."""
    return volume.metadata.labels.get(NODE_LABEL, "") if is_provisioned_here(volume) else ""


def folder_name(volume: PersistentVolume) -> str:
    """Return the name of a volume's folder: ``<volume>_<namespace>_<claim>``; "" without a claim.

    No name of an object has an underscore, so two volumes never share a folder, also where the end is cut off.
    """
    reference = volume.spec.claimRef
    if reference is None or not volume.metadata.name:
        return ""
    name = f"{volume.metadata.name}_{reference.namespace}_{reference.name}"
    return name[:NAME_BYTES_MAX]


def capacity_bytes(volume: PersistentVolume) -> int | None:
    """Return what a volume may hold; None if it does not say."""
    text = volume.spec.capacity.get("storage")
    return None if text is None else parse_quantity(text).value()


def storage_path(node: Node) -> str:
    """Return the folder in which a node keeps volumes; "" if it keeps none, or says something that is no path."""
    text = node.metadata.annotations.get(STORAGE_PATH, "")
    path = PurePosixPath(text)
    is_plain = path.is_absolute() and ".." not in path.parts and text.isprintable()
    return str(path) if is_plain and len(text.encode()) <= PATH_BYTES_MAX else ""


def room_told(capacity_bytes: int, available_bytes: int) -> str:
    """Return what a node says of a disk; "" if any volume may be made there.

    Sizes of volumes are not enforced on most disks, so a claim may ask for more than there is as long as the disk is
    not nearly full. In steps of a hundredth of the disk, so that it does not change all the time.
    """
    if available_bytes * FULL_PARTS >= capacity_bytes:
        return ""
    step = max(capacity_bytes // ROOM_PARTS, 1)
    return str(available_bytes // step * step)


def storage_room(node: Node) -> int | None:
    """Return the bytes that a new volume may have on a node; None if any size may be."""
    text = node.metadata.annotations.get(STORAGE_ROOM, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= ROOM_DIGITS_MAX else None


def awaits_removal(volume: PersistentVolume, node: str) -> bool:
    """Return whether a node has to remove the folder of a volume that is deleted, unbound, and of policy Delete."""
    finalizers = volume.metadata.finalizers
    return (
        keeper_of(volume) == node
        and volume.metadata.deletionTimestamp is not None
        and FINALIZER in finalizers
        and IN_USE not in finalizers
        and volume.spec.persistentVolumeReclaimPolicy == "Delete"
    )
