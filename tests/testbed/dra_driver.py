"""A DRA driver as those of vendors are: it prepares claims on one socket, and registers through another."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from kubelite.grpc.method import Method
from kubelite.grpc.server import GrpcServer, Handler
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.dra.messages import (
    V1,
    WATCH_HEALTH,
    ClaimsRequest,
    Device,
    DeviceHealth,
    DeviceIdentifier,
    Empty,
    HealthReport,
    PreparedClaim,
    PrepareResponse,
    UnpreparedClaim,
    UnprepareResponse,
    prepare_of,
    unprepare_of,
)
from kubelite.node.plugins.messages import GET_INFO, NOTIFY, PluginInfo, RegistrationStatus
from kubelite.node.plugins.messages import Empty as Nothing


class DRADriver:
    """A driver in the kubelet's folder `root`; it gives each claim the devices that `devices` has for its name."""

    def __init__(
        self,
        root: Path,
        name: str = "gpu.example.com",
        *,
        service: str = V1,
        versions: tuple[str, ...] = ("v1.DRAPlugin",),
        tells_health: bool = True,
    ) -> None:
        self.name = name
        self.versions = versions
        self.devices: dict[str, list[Device]] = {}
        self.calls: list[str] = []  # such as "prepare gpu"
        self.errors: dict[str, str] = {}  # by name of the claim
        self.skips: set[str] = set()
        self.failure = ""  # of whole calls
        self.registered: list[tuple[bool, str]] = []
        self.health: dict[str, tuple[int, str]] = {}  # by name of the device in the pool "pool"
        self.hold = asyncio.Event()  # preparing waits for it
        self.hold.set()
        self._told = asyncio.Event()
        self.endpoint = root / "plugins" / name / "dra.sock"
        self._registration = root / "plugins_registry" / f"{name}-reg.sock"
        handlers: dict[Method[Any, Any], Handler] = {
            prepare_of(service): self._prepare,
            unprepare_of(service): self._unprepare,
        }
        if tells_health:
            handlers[WATCH_HEALTH] = self._watch
        self._handlers = handlers
        self._servers: list[GrpcServer] = []

    async def serve(self) -> None:
        """Serve without registering."""
        self.endpoint.parent.mkdir(parents=True, exist_ok=True)
        server = GrpcServer(self.endpoint, self._handlers)
        await server.start()
        self._servers.append(server)

    async def start(self) -> None:
        """Serve, and register."""
        await self.serve()
        self._registration.parent.mkdir(parents=True, exist_ok=True)
        handlers: dict[Method[Any, Any], Handler] = {
            GET_INFO: self._info,
            NOTIFY: self._notified,
        }
        server = GrpcServer(self._registration, handlers)
        await server.start()
        self._servers.append(server)

    async def stop(self) -> None:
        """Go away, with both sockets."""
        servers, self._servers = self._servers, []
        for server in reversed(servers):
            await server.stop()

    def tell(self, **health: tuple[int, str]) -> None:
        """Report the health of devices."""
        self.health |= health
        self._told.set()

    @property
    def info(self) -> PluginInfo:
        """What the driver says when it registers."""
        return PluginInfo(
            type="DRAPlugin",
            name=self.name,
            endpoint=str(self.endpoint),
            supported_versions=list(self.versions),
        )

    async def _info(self, _: Nothing) -> PluginInfo:
        return self.info

    async def _notified(self, status: RegistrationStatus) -> Nothing:
        self.registered.append((status.plugin_registered, status.error))
        return Nothing()

    async def _prepare(self, request: ClaimsRequest) -> PrepareResponse:
        self._note("prepare", request)
        await self.hold.wait()
        return PrepareResponse(
            claims={
                claim.uid: PreparedClaim(
                    devices=self.devices.get(claim.name, []),
                    error=self.errors.get(claim.name, ""),
                )
                for claim in request.claims
                if claim.name not in self.skips
            }
        )

    async def _unprepare(self, request: ClaimsRequest) -> UnprepareResponse:
        self._note("unprepare", request)
        return UnprepareResponse(
            claims={
                claim.uid: UnpreparedClaim(error=self.errors.get(claim.name, ""))
                for claim in request.claims
                if claim.name not in self.skips
            }
        )

    def _note(self, what: str, request: ClaimsRequest) -> None:
        self.calls += [f"{what} {claim.name}" for claim in request.claims]
        if self.failure:
            raise GrpcError(Code.UNKNOWN, self.failure)

    async def _watch(self, _: Empty) -> AsyncGenerator[HealthReport, None]:
        while True:
            self._told.clear()
            yield HealthReport(
                devices=[
                    DeviceHealth(
                        device=DeviceIdentifier(pool_name="pool", device_name=name),
                        health=state,
                        message=message,
                    )
                    for name, (state, message) in self.health.items()
                ]
            )
            await self._told.wait()
