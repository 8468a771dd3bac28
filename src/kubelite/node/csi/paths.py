"""Where CSI volumes are below the kubelet's folder, in upstream's layout, which drivers parse."""

import hashlib
from pathlib import Path

from msgspec import Struct

from kubelite.api.machinery.csi_volumes import PLUGIN
from kubelite.node.trusted_text import path_name

ESCAPED_PLUGIN = PLUGIN.replace("/", "~")
DATA_FILE = "vol_data.json"


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
