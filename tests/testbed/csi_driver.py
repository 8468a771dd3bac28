"""A CSI driver for tests, as csi-driver-host-path is one: volumes are folders of the host, mounted by bind mounts.

Block volumes are files with loop devices, which are published by bind mounts of the devices.

`handlers` are what a gRPC server serves. Without `mounts` a published volume is an empty folder, for tests without
privileges. `calls` has the method and the request of each call, in order.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Message
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.csi import messages
from kubelite.node.csi.messages import Capability, Empty
from kubelite.node.plugins.messages import GET_INFO, NOTIFY, PluginInfo, RegistrationStatus
from kubelite.node.volumes.loop_devices import attach, detach
from kubelite.node.volumes.tmpfs import bind_mount, mounts_below, unmount

Handler = Callable[[Any], Awaitable[Message]]
BLOCK_BYTES = 4 << 20
ALL = (Capability.STAGE_UNSTAGE_VOLUME, Capability.EXPAND_VOLUME)


class HostPathDriver:
    """One driver on one node. `root` is where the volumes' folders are made."""

    def __init__(
        self,
        root: Path,
        *,
        name: str = "hostpath.example.com",
        node_id: str = "node-1",
        endpoint: str = "",
        capabilities: tuple[int, ...] = ALL,
        topology: Mapping[str, str] | None = None,
        volumes_max: int = 0,
        mounts: bool = True,
        paths: Callable[[str], Path] = Path,
    ) -> None:
        """`paths` maps a path that the node tells to where this process finds it."""
        self.root = root
        self.name = name
        self.node_id = node_id
        self.endpoint = endpoint
        self.capabilities = capabilities
        self.topology = topology or {}
        self.volumes_max = volumes_max
        self.mounts = mounts
        self.paths = paths
        self.calls: list[tuple[str, Any]] = []
        self.failures: dict[str, list[GrpcError]] = {}  # by method: raised before it succeeds
        self.registered: list[tuple[bool, str]] = []
        self.versions = ["1.0.0"]
        self.usage: messages.NodeGetVolumeStatsResponse | None = None  # None: as measured

    @property
    def names(self) -> list[str]:
        """The methods that were called for volumes, in order."""
        return [name for name, _ in self.calls if not name.startswith("NodeGet")]

    def requests(self, name: str) -> list[Any]:
        """Return the requests of one method."""
        return [request for known, request in self.calls if known == name]

    def handlers(self) -> dict[Method[Any, Any], Handler]:
        """Return the calls that this driver answers, also those of its registration."""
        return {
            GET_INFO: self._plugin_info,
            NOTIFY: self._notified,
            messages.NODE_GET_INFO: self._counted("NodeGetInfo", self._node_info),
            messages.NODE_GET_CAPABILITIES: self._counted("NodeGetCapabilities", self._can),
            messages.NODE_STAGE: self._counted("NodeStageVolume", self._stage),
            messages.NODE_UNSTAGE: self._counted("NodeUnstageVolume", self._unstage),
            messages.NODE_PUBLISH: self._counted("NodePublishVolume", self._publish),
            messages.NODE_UNPUBLISH: self._counted("NodeUnpublishVolume", self._unpublish),
            messages.NODE_GET_VOLUME_STATS: self._counted("NodeGetVolumeStats", self._usage),
            messages.NODE_EXPAND: self._counted("NodeExpandVolume", self._expand),
        }

    def _counted(self, name: str, handler: Handler) -> Handler:
        async def counted(request: Any) -> Message:
            self.calls.append((name, request))
            if self.failures.get(name):
                raise self.failures[name].pop(0)
            return await handler(request)

        return counted

    async def _plugin_info(self, _: Empty) -> Message:
        return PluginInfo(
            type="CSIPlugin",
            name=self.name,
            endpoint=self.endpoint,
            supported_versions=self.versions,
        )

    async def _notified(self, status: RegistrationStatus) -> Message:
        self.registered.append((status.plugin_registered, status.error))
        return Empty()

    async def _node_info(self, _: Empty) -> Message:
        topology = messages.Topology(segments=dict(self.topology)) if self.topology else None
        return messages.NodeGetInfoResponse(
            node_id=self.node_id,
            max_volumes_per_node=self.volumes_max,
            accessible_topology=topology,
        )

    async def _can(self, _: Empty) -> Message:
        return messages.NodeGetCapabilitiesResponse(
            capabilities=[
                messages.NodeServiceCapability(rpc=messages.Rpc(type=number))
                for number in self.capabilities
            ]
        )

    async def _stage(self, request: messages.NodeStageVolumeRequest) -> Message:
        target = self.paths(request.staging_target_path)
        if not target.is_dir():
            raise GrpcError(Code.INVALID_ARGUMENT, "the staging path does not exist")
        if _is_block(request):
            await asyncio.to_thread(self.device, request.volume_id)
            return Empty()
        await self._mount(self._volume(request.volume_id), target)
        return Empty()

    async def _unstage(self, request: messages.NodeUnstageVolumeRequest) -> Message:
        await self._unmount(self.paths(request.staging_target_path))
        await asyncio.to_thread(detach, self.mark(request.volume_id))
        return Empty()

    async def _publish(self, request: messages.NodePublishVolumeRequest) -> Message:
        target = self.paths(request.target_path)
        if not target.parent.is_dir():
            raise GrpcError(Code.INVALID_ARGUMENT, "the parent of the target does not exist")
        if _is_block(request):
            target.touch()
            await self._mount(self.device(request.volume_id), target)
            return Empty()
        target.mkdir(exist_ok=True)
        source = request.staging_target_path
        await self._mount(self.paths(source) if source else self._volume(request.volume_id), target)
        return Empty()

    async def _unpublish(self, request: messages.NodeUnpublishVolumeRequest) -> Message:
        target = self.paths(request.target_path)
        await self._unmount(target)
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)
        return Empty()

    async def _expand(self, request: messages.NodeExpandVolumeRequest) -> Message:
        assert request.capacity_range is not None
        return messages.NodeExpandVolumeResponse(
            capacity_bytes=request.capacity_range.required_bytes
        )

    async def _usage(self, request: messages.NodeGetVolumeStatsRequest) -> Message:
        if self.usage is not None:
            return self.usage
        found = os.statvfs(self.paths(request.volume_path))
        return messages.NodeGetVolumeStatsResponse(
            usage=[
                messages.VolumeUsage(
                    total=found.f_blocks * found.f_frsize,
                    available=found.f_bavail * found.f_frsize,
                    used=(found.f_blocks - found.f_bfree) * found.f_frsize,
                    unit=messages.Unit.BYTES,
                )
            ]
        )

    def device(self, handle: str) -> Path:
        """Return the device of a block volume, which is attached now if it is not."""
        self.root.mkdir(parents=True, exist_ok=True)
        file = self.root / f"{handle}.img"
        with file.open("ab") as opened:
            if not opened.tell():
                opened.truncate(BLOCK_BYTES)
        return attach(file, self.mark(handle))

    def mark(self, handle: str) -> str:
        """Return the mark of a block volume's device."""
        text = f"{self.root}\0{handle}"
        return f"csi-test-{hashlib.sha256(text.encode()).hexdigest()[:48]}"

    def _volume(self, handle: str) -> Path:
        folder = self.root / handle
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    async def _mount(self, source: Path, target: Path) -> None:
        if self.mounts and not self.is_mounted(target):
            await asyncio.to_thread(bind_mount, source, target)

    async def _unmount(self, target: Path) -> None:
        if self.mounts and self.is_mounted(target):
            await asyncio.to_thread(unmount, target)

    def is_mounted(self, target: Path) -> bool:
        """Return whether something is mounted at a path."""
        place = os.path.realpath(target)
        return any(str(point) == place for point in mounts_below(Path(place).parent))


def _is_block(request: Any) -> bool:
    return request.volume_capability.block is not None


class DirectChannel:
    """Calls a driver's handlers without a socket; while it is away all calls fail as on a closed socket."""

    def __init__(self, handlers: Mapping[Method[Any, Any], Handler]) -> None:
        self._handlers = handlers
        self.is_away = False
        self.closed = 0

    async def unary(self, method: Any, request: Any, *, timeout_seconds: float) -> Any:
        """Make one call."""
        assert timeout_seconds > 0
        if self.is_away:
            raise GrpcError(Code.UNAVAILABLE, "connection refused")
        return await self._handlers[method](request)

    async def close(self) -> None:
        """Count the close."""
        self.closed += 1
