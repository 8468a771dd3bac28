"""All devices of a node: those of device plugins, and those of claims, which are loaded with the first of them."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.container_status import ResourceStatus
from kubelite.api.kinds.core.pods import Pod
from kubelite.grpc.client import GrpcClient
from kubelite.grpc.server import GrpcServer, Handlers
from kubelite.node.devices.injection import joined
from kubelite.node.devices.manager import DeviceManager
from kubelite.node.devices.protocol import CLAIMS_FILE, Injection
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.pods import AnyContainer
from kubelite.tasks import TaskSet

if TYPE_CHECKING:
    from kubelite.node.dra.manager import ClaimManager


class NodeDevices:
    """The devices of one node; as a plugin handler, that of DRA drivers."""

    def __init__(
        self,
        folder: Path,
        node: str,
        client: Client,
        connect: Callable[[Path], GrpcClient] = GrpcClient,
        plugins: DeviceManager | None = None,
    ) -> None:
        """`folder` is that of the kubelet."""
        self._folder = folder
        self._node = node
        self._client = client
        self._connect = connect
        self._claims: ClaimManager | None = None
        self.plugins = plugins or DeviceManager(folder / "device-plugins", connect)
        self.on_health: Callable[[str], None] = lambda _uid: None
        self.on_driver: Callable[[str], None] = lambda _uid: None  # with a pod that waits for it
        self.pods: Callable[[], Sequence[Pod]] = lambda: ()  # that run or will
        self._resources = GrpcServer(folder / "pod-resources" / "kubelet.sock", self._lister)

    async def restore(self) -> None:
        """Read what was handed out before the start."""
        self.plugins.on_health = self._wake
        await self.plugins.restore()
        if await asyncio.to_thread((self._folder / CLAIMS_FILE).exists):
            await self._loaded().restore()

    async def run(self) -> None:
        """Serve device plugins, and those who ask for the devices of pods, until cancelled."""
        from kubelite.node.dra.slices import wipe_slices

        # No driver has registered yet, so what they offer cannot be prepared; each offers it again.
        tasks = TaskSet()
        tasks.start(wipe_slices(self._client, self._node), name="ResourceSlices")
        try:
            await asyncio.to_thread(_make_folder, self._folder / "pod-resources")
            await self._resources.start()
            await self.plugins.run()
        finally:
            await self._resources.stop()
            await tasks.stop()
            if self._claims is not None:
                await self._claims.close()

    def _wake(self, uid: str) -> None:
        self.on_health(uid)

    def _retry(self, uid: str) -> None:
        self.on_driver(uid)

    def _loaded(self) -> "ClaimManager":
        if self._claims is None:
            from kubelite.node.dra.manager import ClaimManager

            self._claims = ClaimManager(
                self._folder, self._node, self._client, self._connect, self._wake, self._retry
            )
        return self._claims

    def _lister(self) -> Handlers:
        # Imported with the first who asks.
        from kubelite.node.pod_resources.lister import PodResourcesLister

        return PodResourcesLister(self, self.pods).handlers()

    @property
    def claims(self) -> "ClaimManager | None":
        """The claims of pods; None before there are any."""
        return self._claims

    # DRA drivers

    async def register(self, info: PluginInfo, endpoint: Path) -> None:
        """Register a DRA driver. Raises Refused."""
        await self._loaded().drivers.register(info, endpoint)

    async def unregister(self, name: str, endpoint: Path) -> None:
        """Let go of a DRA driver whose socket was removed."""
        await self._loaded().drivers.unregister(name, endpoint)

    # Pods

    async def allocate(self, pod: Pod) -> None:
        """Allocate the devices of plugins for a pod that is being admitted. Raises AllocationFailed."""
        await self.plugins.allocate(pod)

    async def prepare(self, pod: Pod) -> None:
        """Prepare the resource claims of a pod. Raises AllocationFailed."""
        if _has_claims(pod):
            await self._loaded().prepare(pod)

    async def injection(self, pod: Pod, container: AnyContainer) -> Injection:
        """Return what puts its devices into a container. Raises AllocationFailed or ConfigUnavailable."""
        found = await self.plugins.injection(pod, container)
        if _has_claims(pod):
            return joined(found, await self._loaded().injection(pod, container))
        return found

    def statuses(self, pod: Pod) -> Mapping[str, list[ResourceStatus]]:
        """Return the health of a pod's devices by container."""
        found = self.plugins.statuses(pod)
        if self._claims is None or not _has_claims(pod):
            return found
        claimed = self._claims.statuses(pod)
        names = found.keys() | claimed.keys()
        return {name: [*found.get(name, ()), *claimed.get(name, ())] for name in names}

    async def unprepare(self, pod_uid: str) -> None:
        """Give a pod's claims back. Raises DevicesBusy."""
        if self._claims is not None:
            await self._claims.unprepare(pod_uid)

    async def release(self, pod_uid: str) -> None:
        """Free the devices of a pod. Raises DevicesBusy."""
        await self.unprepare(pod_uid)
        await self.plugins.release(pod_uid)

    def leftovers(self) -> Collection[str]:
        """Return the uids of the pods that have claims."""
        return self._claims.holders() if self._claims is not None else ()


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)


def _has_claims(pod: Pod) -> bool:
    return bool(pod.spec.resourceClaims) or pod.status.extendedResourceClaimStatus is not None
