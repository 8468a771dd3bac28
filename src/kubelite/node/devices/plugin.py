"""One device plugin, as the node calls it."""

from collections.abc import AsyncGenerator, Callable, Collection
from pathlib import Path
from typing import Final, Protocol

from kubelite.grpc.method import A, Method, Q
from kubelite.grpc.status import GrpcError
from kubelite.node.devices.messages import (
    ALLOCATE,
    GET_OPTIONS,
    GET_PREFERRED,
    LIST_AND_WATCH,
    PRE_START,
    AllocateRequest,
    ContainerAllocation,
    ContainerPreference,
    DeviceIDs,
    DeviceList,
    Empty,
    PluginOptions,
    PreferredRequest,
)
from kubelite.node.devices.protocol import AllocationFailed

CONNECT_SECONDS: Final = 10.0
PRE_START_SECONDS: Final = 30.0
# Upstream waits for as long as it takes; a plugin that hangs would keep all pods from its resource for good.
ALLOCATE_SECONDS: Final = 60.0


class Channel(Protocol):
    """Calls the server on a socket."""

    async def unary(self, method: Method[Q, A], request: Q, *, timeout_seconds: float) -> A:
        """Return the answer to a call. Raises GrpcError."""
        ...

    def stream(self, method: Method[Q, A], request: Q) -> AsyncGenerator[A, None]:
        """Yield the answers to a call. Raises GrpcError."""
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...


Connect = Callable[[Path], Channel]


class Plugin:
    """A registered plugin of one resource."""

    def __init__(self, resource: str, channel: Channel) -> None:
        self.resource = resource
        self._channel = channel
        self._options = PluginOptions()
        self._is_stopped = False

    async def introduce(self) -> None:
        """Ask a plugin for its options. Raises GrpcError."""
        self._options = await self._channel.unary(
            GET_OPTIONS, Empty(), timeout_seconds=CONNECT_SECONDS
        )

    def lists(self) -> AsyncGenerator[DeviceList, None]:
        """Yield the plugin's devices at once and after each change. Raises GrpcError."""
        return self._channel.stream(LIST_AND_WATCH, Empty())

    async def preferred(
        self, available: Collection[str], must_include: Collection[str], size: int
    ) -> tuple[str, ...]:
        """Return the devices that the plugin would allocate; none if it does not care. Raises AllocationFailed."""
        self._check_runs()
        if not self._options.has_preferred_allocation:
            return ()
        asked = ContainerPreference(
            available=sorted(available), must_include=sorted(must_include), size=size
        )
        try:
            answer = await self._channel.unary(
                GET_PREFERRED,
                PreferredRequest(containers=[asked]),
                timeout_seconds=ALLOCATE_SECONDS,
            )
        except GrpcError as error:
            raise AllocationFailed(
                f"device plugin GetPreferredAllocation rpc failed with err: {error}"
            ) from error
        return tuple(answer.containers[0].device_ids) if answer.containers else ()

    async def allocate(self, devices: Collection[str]) -> ContainerAllocation:
        """Return what puts devices into a container. Raises AllocationFailed."""
        self._check_runs()
        asked = AllocateRequest(containers=[DeviceIDs(device_ids=sorted(devices))])
        try:
            answer = await self._channel.unary(ALLOCATE, asked, timeout_seconds=ALLOCATE_SECONDS)
        except GrpcError as error:
            raise AllocationFailed(str(error)) from error
        if not answer.containers:
            raise AllocationFailed("no containers return in allocation response ")
        return answer.containers[0]

    async def pre_start(self, devices: Collection[str]) -> None:
        """Tell a plugin that wants to know it of the start of a container. Raises AllocationFailed."""
        if not self._options.pre_start_required:
            return
        self._check_runs()
        asked = DeviceIDs(device_ids=sorted(devices))
        try:
            await self._channel.unary(PRE_START, asked, timeout_seconds=PRE_START_SECONDS)
        except GrpcError as error:
            raise AllocationFailed(
                f"device plugin PreStartContainer rpc failed with err: {error}"
            ) from error

    async def close(self) -> None:
        """Close the connection; later calls are refused."""
        self._is_stopped = True
        await self._channel.close()

    def _check_runs(self) -> None:
        if self._is_stopped:
            raise AllocationFailed(f"endpoint {self.resource} has been stopped")
