"""Where CSI volumes are below the kubelet's folder, in upstream's layout, which drivers parse."""

import hashlib
from pathlib import Path

from msgspec import Struct

from kubelite.api.machinery.csi_volumes import PLUGIN
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.trusted_text import path_name

ESCAPED_PLUGIN = PLUGIN.replace("/", "~")
DATA_FILE = "vol_data.json"
DEVICES = "volumeDevices"
RESERVED = frozenset({"publish", "staging"})  # folders beside those of block volumes


class KubeletFolders(Struct, frozen=True):
    """The kubelet's folder: `root` as this process reaches it, `shown` as drivers do, who are given paths below it."""

    root: Path
    shown: Path

    @property
    def pods(self) -> Path:
        """The folders of pods, by uid."""
        return self.root / "pods"

    @property
    def registry(self) -> Path:
        """The folder of the sockets through which plugins register."""
        return self.root / "plugins_registry"

    @property
    def plugins(self) -> Path:
        """The folder of the sockets of plugins."""
        return self.root / "plugins"

    @property
    def volumes(self) -> Path:
        """The folder of staged volumes, by driver."""
        return self.plugins / PLUGIN

    @property
    def owed(self) -> Path:
        """The folder of the calls that are still owed to drivers that are away."""
        return self.root / "csi-owed"

    def as_shown(self, path: Path) -> str:
        """Return a path below `root` as drivers reach it."""
        return str(self.shown / path.relative_to(self.root))

    def volumes_of(self, pod_uid: str) -> Path:
        """Return the folder of a pod's CSI volumes. Raises ConfigUnavailable."""
        return self.pods / path_name(pod_uid, "uid of the pod") / "volumes" / ESCAPED_PLUGIN

    def published(self, pod_uid: str, name: str) -> Path:
        """Return the folder of a pod's volume, which holds its data file and `mount`. Raises ConfigUnavailable."""
        return self.volumes_of(pod_uid) / path_name(name, "name of the volume")

    def staged(self, driver: str, handle: str) -> Path:
        """Return the folder of a staged volume: its data file and `globalmount`. Raises ConfigUnavailable."""
        digest = hashlib.sha256(handle.encode()).hexdigest()
        return self.volumes / path_name(driver, "name of the CSI driver") / digest

    # --- block volumes, by the name of their PersistentVolume

    @property
    def devices(self) -> Path:
        """The folder of all block volumes."""
        return self.volumes / DEVICES

    def device(self, name: str) -> Path:
        """Return the folder of a block volume: its data file is in `data`, its pins by pod in `dev`.

        Raises ConfigUnavailable.
        """
        if name in RESERVED:
            raise ConfigUnavailable(f'a block volume cannot have the name "{name}"')
        return self.devices / path_name(name, "name of the persistent volume")

    def device_staged(self, name: str) -> Path:
        """Return the folder in which a driver stages a block volume. Raises ConfigUnavailable."""
        return self.devices / "staging" / self.device(name).name

    def device_published(self, pod_uid: str, name: str) -> Path:
        """Return the path at which a driver puts the device for a pod. Raises ConfigUnavailable."""
        uid = path_name(pod_uid, "uid of the pod")
        return self.devices / "publish" / self.device(name).name / uid

    def device_pinned(self, pod_uid: str, name: str) -> Path:
        """Return the path at which the node keeps the device of a pod. Raises ConfigUnavailable."""
        return self.device(name) / "dev" / path_name(pod_uid, "uid of the pod")
