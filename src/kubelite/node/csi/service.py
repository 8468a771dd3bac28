"""CSI on one node: its drivers, their volumes, and what is owed to them, composed."""

import asyncio
from datetime import datetime
from pathlib import Path

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.persistent_volumes import PersistentVolume, PersistentVolumeClaim
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.volumes import Volume
from kubelite.clock import Clock
from kubelite.node.csi.drivers import Drivers
from kubelite.node.csi.expansion import Expansion
from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.csi.statistics import Statistics
from kubelite.node.csi.volumes import CSIVolumes, PodFiles
from kubelite.node.plugins.channel import Connect
from kubelite.node.pod_files import VolumeFiles
from kubelite.node.volumes.host import HostVolumes


class CSIService:
    """The CSI volumes of a node's pods; `run` settles what drivers are owed."""

    def __init__(
        self,
        node: str,
        folders: KubeletFolders,
        client: Client,
        clock: Clock,
        events: EventRecorder,
        volumes: HostVolumes,
        connect: Connect,
    ) -> None:
        """`volumes` mount the volumes of drivers with this service from now on."""

        def changed(pod_uid: str) -> None:
            volumes.changed(pod_uid)  # read late, since the agent sets it after construction

        def tell(pod: Pod, reason: str, message: str) -> None:
            events.event(pod, WARNING, reason, message)

        async def give(pod: Pod, place: Path, group: int, policy: str) -> None:
            await volumes.walks.give(pod, place, group, policy, tell)

        self.drivers = Drivers(node, client, connect)
        self._statistics = Statistics(self.drivers.get, tell)
        files = PodFiles(volumes.content, give, self._statistics)
        self._expansion = Expansion(client, events, changed)
        self._volumes = CSIVolumes(
            node, folders, client, clock, self.drivers, files, self._expansion, changed
        )
        volumes.use(self)

    async def restore(self) -> None:
        """Find what was mounted before the agent started. Call it before any pod is set up."""
        await self._volumes.restore()

    async def run(self) -> None:
        """Keep the node's list of drivers, and settle what they are owed, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.drivers.run())
                group.create_task(self._volumes.run())
        finally:
            self._expansion.close()
            await self._statistics.stop()

    async def set_up(
        self,
        pod: Pod,
        volume: Volume,
        claim: PersistentVolumeClaim | None,
        claimed: PersistentVolume | None,
    ) -> datetime | None:
        """Mount a volume, or refresh it; return when to refresh. Raises ConfigUnavailable, APIError and OSError."""
        return await self._volumes.set_up(pod, volume, claim, claimed)

    def path(self, pod_uid: str, volume: Volume, claimed: PersistentVolume | None) -> Path:
        """Return the path of a pod's volume on the host. Raises ConfigUnavailable."""
        return self._volumes.path(pod_uid, volume, claimed)

    async def device(self, pod_uid: str, volume: Volume, claimed: PersistentVolume) -> Path:
        """Return the path of a pod's block volume, which is a device. Raises ConfigUnavailable."""
        return await self._volumes.device(pod_uid, volume, claimed)

    async def statistics(self, pod_uid: str) -> tuple[VolumeFiles, ...]:
        """Return how full a pod's volumes are, as far as their drivers tell it soon."""
        return await self._statistics.of(pod_uid)

    async def tear_down(self, pod_uid: str) -> None:
        """Unmount a pod's volumes. Raises VolumeBusy and OSError."""
        await self._volumes.tear_down(pod_uid)
