"""Names and rules of CSI volumes that the control plane and the node share; pure.

The names are upstream's (pkg/volume/csi), since CSI sidecars and drivers compute and parse them too.
"""

import hashlib

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume
from kubelite.api.kinds.storage import CSIDriver

PLUGIN = "kubernetes.io/csi"
# On a Node: its kubelet leaves attaching to the attach-detach controller.
MANAGED_ATTACH = "volumes.kubernetes.io/controller-managed-attach-detach"
NODE_ID = "csi.volume.kubernetes.io/nodeid"  # on a Node: its ids by driver, as JSON
SHARED_MODES = frozenset({"ReadWriteMany", "ReadOnlyMany"})


def unique_name(driver: str, handle: str) -> str:
    """Return the name of a volume in `volumesAttached` and `volumesInUse` of a Node's status."""
    return f"{PLUGIN}/{driver}^{handle}"


def attachment_name(driver: str, handle: str, node: str) -> str:
    """Return the name of the VolumeAttachment of a volume on a node."""
    return f"csi-{hashlib.sha256(f'{handle}{driver}{node}'.encode()).hexdigest()}"


def needs_attachment(driver: CSIDriver | None) -> bool:
    """Return whether volumes of a driver are attached before they are mounted; an unknown driver's are."""
    return driver is None or driver.spec.attachRequired is not False


def is_attached_once(volume: PersistentVolume) -> bool:
    """Return whether a volume may be attached to one node only; without access modes the driver decides."""
    modes = volume.spec.accessModes
    return bool(modes) and not SHARED_MODES & set(modes)
