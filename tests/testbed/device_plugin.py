"""A device plugin as those of vendors are: it serves its methods on a socket, and registers with the node."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from msgspec.structs import replace

from kubelite.grpc.client import GrpcClient
from kubelite.grpc.server import GrpcServer
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.devices.messages import (
    ALLOCATE,
    GET_OPTIONS,
    GET_PREFERRED,
    HEALTHY,
    LIST_AND_WATCH,
    PRE_START,
    REGISTER,
    VERSION,
    AllocateRequest,
    AllocateResponse,
    ContainerAllocation,
    DeviceIDs,
    DeviceList,
    Empty,
    PluginDevice,
    PluginOptions,
    PreferredDevices,
    PreferredRequest,
    PreferredResponse,
    RegisterRequest,
)

Answer = Callable[[list[str]], ContainerAllocation]


def _named(devices: list[str]) -> ContainerAllocation:
    return ContainerAllocation(envs={"DEVICES": ",".join(devices)})


class DevicePlugin:
    """A plugin of one resource in the node's folder `device-plugins`."""

    def __init__(
        self,
        folder: Path,
        resource: str,
        devices: dict[str, str] | None = None,
        *,
        answer: Answer = _named,
        options: PluginOptions | None = None,
    ) -> None:
        """`devices` are healths by id; `answer` is what an allocation puts into a container."""
        self.devices = devices if devices is not None else {"a": HEALTHY, "b": HEALTHY}
        self.resource = resource
        self.allocations: list[list[str]] = []
        self.preferences: list[tuple[list[str], list[str], int]] = []
        self.prefers: list[str] = []
        self.starts: list[list[str]] = []
        self.refusal = ""  # of allocations
        self._answer = answer
        self._options = options or PluginOptions()
        self._folder = folder
        self._name = resource.replace("/", "_") + ".sock"
        self._changed = asyncio.Event()
        self._server = GrpcServer(
            folder / self._name,
            {
                GET_OPTIONS: self._get_options,
                LIST_AND_WATCH: self._list,
                GET_PREFERRED: self._prefer,
                ALLOCATE: self._allocate,
                PRE_START: self._start,
            },
        )

    async def start(self) -> None:
        """Serve, and register."""
        await self._server.start()
        try:
            await self.register()
        except BaseException:
            await self.stop()
            raise

    async def register(self, **changes: str) -> None:
        """Register with the node. Raises GrpcError if it refuses."""
        request = RegisterRequest(version=VERSION, endpoint=self._name, resource_name=self.resource)
        client = GrpcClient(self._folder / "kubelet.sock")
        try:
            await client.unary(REGISTER, replace(request, **changes), timeout_seconds=30)
        finally:
            await client.close()

    async def stop(self) -> None:
        """Go away, as a plugin that is killed."""
        await self._server.stop()

    def change(self, devices: dict[str, str]) -> None:
        """Tell the node of other devices, or of another health."""
        self.devices = devices
        self._changed.set()

    async def _get_options(self, _: Empty) -> PluginOptions:
        return self._options

    async def _list(self, _: Empty) -> AsyncGenerator[DeviceList, None]:
        while True:
            self._changed.clear()
            found = [PluginDevice(ID=name, health=state) for name, state in self.devices.items()]
            yield DeviceList(devices=found)
            await self._changed.wait()

    async def _prefer(self, request: PreferredRequest) -> PreferredResponse:
        (asked,) = request.containers
        self.preferences.append((asked.available, asked.must_include, asked.size))
        return PreferredResponse(containers=[PreferredDevices(device_ids=self.prefers)])

    async def _allocate(self, request: AllocateRequest) -> AllocateResponse:
        if self.refusal:
            raise GrpcError(Code.UNKNOWN, self.refusal)
        answers = []
        for container in request.containers:
            self.allocations.append(container.device_ids)
            answers.append(self._answer(container.device_ids))
        return AllocateResponse(containers=answers)

    async def _start(self, request: DeviceIDs) -> Empty:
        self.starts.append(request.device_ids)
        return Empty()
