"""The DRA drivers of a node: registered, watched, and their slices removed once they stay away.

A driver may register several times, as when a new version of it runs beside the old one: the last one that answers is
used. A driver is away while none of its connections is up, and after a grace period its slices are deleted, which its
own process publishes again when it is back. Behaviour and numbers are upstream's (pkg/kubelet/cm/dra/plugin).
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, Protocol

from kubelite.backoff import backoff_seconds
from kubelite.grpc.method import A, Method, Q
from kubelite.grpc.status import Code, GrpcError
from kubelite.node.devices.protocol import AllocationFailed
from kubelite.node.dra.health import DriverHealth, Health, Place
from kubelite.node.dra.messages import (
    SERVICES,
    WATCH_HEALTH,
    Claim,
    ClaimsRequest,
    Empty,
    HealthReport,
    PrepareResponse,
    UnprepareResponse,
    prepare_of,
    unprepare_of,
)
from kubelite.node.dra.metrics import observed_call
from kubelite.node.plugins.messages import PluginInfo
from kubelite.node.plugins.registry import Refused
from kubelite.tasks import TaskSet
from kubelite.text_formats import dns_subdomain

log = logging.getLogger(__name__)

CALL_SECONDS: Final = 45.0
AWAY_SECONDS: Final = 30.0
HEALTH_RETRY_SECONDS: Final = 5.0
CONNECT_FIRST_SECONDS, CONNECT_MAX_SECONDS = 1.0, 120.0  # as gRPC's
NAME_LENGTH_MAX: Final = 63


class Channel(Protocol):
    """A connection to the socket of a driver."""

    async def unary(self, method: Method[Q, A], request: Q, *, timeout_seconds: float) -> A:
        """Make one call. Raises GrpcError."""
        ...

    def stream(self, method: Method[Q, A], request: Q) -> AsyncGenerator[A, None]:
        """Yield the answers to a call. Raises GrpcError."""
        ...

    async def connect(self) -> asyncio.Event:
        """Connect, unless that is done; return what is set once the connection is lost. Raises GrpcError."""
        ...

    async def close(self) -> None:
        """Close the connection; calls in flight fail."""
        ...


Connect = Callable[[Path], Channel]


def service_of(info: PluginInfo, endpoint: Path) -> str:
    """Return the newest service of a driver that this node can call. Raises Refused."""
    if len(info.name) > NAME_LENGTH_MAX or dns_subdomain(info.name):
        raise Refused(f"invalid DRA driver name {info.name[:100]!r}")
    for version, service in SERVICES.items():
        if version in info.supported_versions:
            return service
    reason = "empty list of supported gRPC services (aka supported versions)"
    if info.supported_versions:
        offered, known = _quoted(info.supported_versions[:5]), _quoted(list(SERVICES))
        reason = f"none of services supported by the plugin ({offered}) are supported by the kubelet ({known})"
    raise Refused(
        f"invalid supported gRPC versions of DRA driver plugin {info.name} at endpoint {endpoint}: {reason}"
    )


def _quoted(texts: Sequence[str]) -> str:
    return "[" + " ".join(f'"{text[:100]}"' for text in texts) + "]"


class NotRegistered(AllocationFailed):
    """A driver is not there."""

    def __init__(self, driver: str) -> None:
        super().__init__(f"DRA driver {driver} is not registered")
        self.driver = driver


class Driver:
    """One registration of a driver. Its calls raise GrpcError."""

    def __init__(self, name: str, endpoint: Path, service: str, channel: Channel) -> None:
        self.name = name
        self.endpoint = endpoint
        self.channel = channel
        self.is_up = False
        self.watch: asyncio.Task[None] | None = None
        self._prepare = prepare_of(service)
        self._unprepare = unprepare_of(service)

    async def prepare(self, claims: list[Claim]) -> PrepareResponse:
        """Make claims usable by containers."""
        request = ClaimsRequest(claims=claims)
        return await self._call(self._prepare, request)

    async def unprepare(self, claims: list[Claim]) -> UnprepareResponse:
        """Undo `prepare`."""
        request = ClaimsRequest(claims=claims)
        return await self._call(self._unprepare, request)

    async def _call(self, method: Method[Q, A], request: Q) -> A:
        with observed_call(self.name, method.path):
            return await self.channel.unary(method, request, timeout_seconds=CALL_SECONDS)


class Drivers:
    """The drivers of one node, by name. `wipe` deletes the slices of one."""

    def __init__(
        self,
        connect: Connect,
        wipe: Callable[[str], Awaitable[None]],
        changed: Callable[[str, set[Place]], None],
        registered: Callable[[str], None],
        *,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        """`changed` is called with a driver and the devices whose health changed, `registered` with a driver."""
        self._connect = connect
        self._wipe = wipe
        self._changed = changed
        self._registered = registered
        self._away_seconds = away_seconds
        self._drivers: dict[str, list[Driver]] = {}
        self._health: dict[str, DriverHealth] = {}
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._wipes: dict[str, asyncio.Task[None]] = {}
        self._tasks = TaskSet()

    def get(self, name: str) -> Driver:
        """Return a driver to call: one that is connected, if any. Raises AllocationFailed, also NotRegistered."""
        if not name:
            raise AllocationFailed("DRA driver name is empty")
        known = self._drivers.get(name)
        if not known:
            raise NotRegistered(name)
        return next((one for one in reversed(known) if one.is_up), known[-1])

    def health(self, name: str, place: Place) -> Health:
        """Return the health of a device."""
        known = self._health.get(name)
        return known.get(place) if known is not None else Health()

    async def register(self, info: PluginInfo, endpoint: Path) -> None:
        """Take a driver, in place of the one at the same socket. Raises Refused."""
        service = service_of(info, endpoint)
        await self.unregister(info.name, endpoint)
        driver = Driver(info.name, endpoint, service, self._connect(endpoint))
        self._drivers.setdefault(info.name, []).append(driver)
        driver.watch = self._tasks.start(self._follow(driver), name=f"DRA driver {info.name}")
        self._check_away(info.name)
        self._registered(info.name)

    async def unregister(self, name: str, endpoint: Path) -> None:
        """Let go of a driver whose socket was removed."""
        known = self._drivers.get(name, [])
        for driver in [one for one in known if one.endpoint == endpoint]:
            known.remove(driver)
            if not known:
                del self._drivers[name]
            if driver.watch is not None:
                driver.watch.cancel()
                await asyncio.wait([driver.watch])
            await driver.channel.close()
            self._check_away(name)

    async def close(self) -> None:
        """Close all connections."""
        for expiry in self._expiries.values():
            expiry.cancel()
        await self._tasks.stop()
        for known in self._drivers.values():
            for driver in known:
                await driver.channel.close()
        self._drivers.clear()

    # Connections

    async def _follow(self, driver: Driver) -> None:
        """Keep a connection, by which the end of a driver's process is noticed."""
        failures = 0
        while True:
            try:
                lost = await driver.channel.connect()
            except GrpcError as error:
                log.log(
                    logging.WARNING if failures == 0 else logging.DEBUG,
                    "cannot reach DRA driver: %s",
                    error,
                    extra={"driver": driver.name},
                )
                pause = backoff_seconds(failures, CONNECT_FIRST_SECONDS, CONNECT_MAX_SECONDS)
                await asyncio.sleep(pause)
                failures += 1
                continue
            failures = 0
            driver.is_up = True
            self._check_away(driver.name)
            hearing = self._tasks.start(self._hear(driver), name=f"health of {driver.name}")
            try:
                await lost.wait()
            finally:
                hearing.cancel()
                driver.is_up = False
                self._check_away(driver.name)

    def _check_away(self, name: str) -> None:
        """Delete the slices of a driver after a time without any connection."""
        is_here = any(one.is_up for one in self._drivers.get(name, ()))
        if is_here and (wipe := self._wipes.pop(name, None)) is not None:
            wipe.cancel()
        if not is_here and name not in self._wipes:
            self._wipes[name] = self._tasks.start(self._wipe_later(name), name=f"slices of {name}")

    async def _wipe_later(self, name: str) -> None:
        await asyncio.sleep(self._away_seconds)
        await self._wipe(name)
        log.info("DRA driver is away, its ResourceSlices are deleted", extra={"driver": name})
        self._wipes.pop(name, None)

    # Health

    async def _hear(self, driver: Driver) -> None:
        """Follow the health of a driver's devices, if it tells it."""
        while True:
            try:
                async with aclosing(driver.channel.stream(WATCH_HEALTH, Empty())) as reports:
                    async for report in reports:
                        self._take(driver.name, report)
            except GrpcError as error:
                if error.code is Code.UNIMPLEMENTED:
                    return
                log.debug("health of devices is not told: %s", error, extra={"driver": driver.name})
            finally:
                self._forget_health(driver.name)
            await asyncio.sleep(HEALTH_RETRY_SECONDS)

    def _take(self, name: str, report: HealthReport) -> None:
        known = self._health.setdefault(name, DriverHealth())
        self._tell(name, known.report(report.devices, self._now()))
        self._await_expiry(name, known)

    def _await_expiry(self, name: str, known: DriverHealth) -> None:
        if (before := self._expiries.pop(name, None)) is not None:
            before.cancel()
        date = known.next_expiry
        if date is not None:
            loop = asyncio.get_running_loop()
            self._expiries[name] = loop.call_at(date, self._expired, name, known)

    def _expired(self, name: str, known: DriverHealth) -> None:
        self._expiries.pop(name, None)
        self._tell(name, known.expire(self._now()))
        self._await_expiry(name, known)

    def _forget_health(self, name: str) -> None:
        if (before := self._expiries.pop(name, None)) is not None:
            before.cancel()
        if (known := self._health.pop(name, None)) is not None:
            self._tell(name, known.clear())

    def _tell(self, name: str, places: set[Place]) -> None:
        if places:
            self._changed(name, places)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
