"""What the volumes of a pod ask of the plugins that serve some of them: CSI drivers."""

from datetime import datetime
from pathlib import Path
from typing import Protocol

from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume
from kubelite.node.pod_files import VolumeFiles


class VolumeBusy(Exception):
    """A volume of a pod could not be unmounted; try again."""


class PluginVolumes(Protocol):
    """Mounts and unmounts the volumes that plugins serve."""

    async def set_up(
        self,
        pod: Pod,
        volume: Volume,
        claim: PersistentVolumeClaim | None,
        claimed: PersistentVolume | None,
    ) -> datetime | None:
        """Mount a volume, or refresh it; return when to refresh. Raises ConfigUnavailable, APIError and OSError."""
        ...

    def path(self, pod_uid: str, volume: Volume, claimed: PersistentVolume | None) -> Path:
        """Return the path of a pod's volume on the host. Raises ConfigUnavailable."""
        ...

    async def device(self, pod_uid: str, volume: Volume, claimed: PersistentVolume) -> Path:
        """Return the path of a pod's block volume, which is a device. Raises ConfigUnavailable."""
        ...

    async def statistics(self, pod_uid: str) -> tuple[VolumeFiles, ...]:
        """Return how full a pod's volumes are, as far as their drivers tell it soon."""
        ...

    async def tear_down(self, pod_uid: str) -> None:
        """Unmount a pod's volumes. Raises VolumeBusy and OSError."""
        ...
