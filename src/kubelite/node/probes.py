"""Finds out whether containers have started, are alive and are ready.

Each probe of a running container has a task of its own, since each has its own period. What they find is a `Health`; a
change wakes the pod.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.kinds.core.containers import HTTPGetAction, LifecycleHandler, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import EXEC_PROBE_OUTPUT
from kubelite.node.grpc_health import GRPCFailed, grpc_health
from kubelite.node.http_get import HTTPFailed, http_get
from kubelite.node.observed import Health
from kubelite.node.pods import AnyContainer, reference_to
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, RuntimeFailure
from kubelite.tasks import TaskSet

DEFAULT_PERIOD_SECONDS = 10
DEFAULT_FAILURES = 3

ProbeType = Literal["Startup", "Liveness", "Readiness"]


class Target(Struct, frozen=True):
    """A running container and where it is reached."""

    pod: Pod
    container: AnyContainer
    container_id: str
    address: str


class Outcome(Struct, frozen=True):
    """What one probe found."""

    healthy: bool
    message: str = ""


class Prober(Protocol):
    """Carries out probes and lifecycle hooks."""

    async def probe(self, target: Target, probe: Probe) -> Outcome:
        """Ask once, for as long as the probe allows at most; raises EngineUnavailable when nobody can tell."""
        ...

    async def hook(self, target: Target, handler: LifecycleHandler) -> Outcome:
        """Run a hook to its end."""
        ...


class NetworkProber:
    """Probes by executing, connecting and asking for real."""

    def __init__(self, runtime: ContainerRuntime) -> None:
        self._runtime = runtime

    async def probe(self, target: Target, probe: Probe) -> Outcome:
        """Ask once, for as long as the probe allows at most; raises EngineUnavailable when nobody can tell."""
        seconds = probe.timeoutSeconds or 1
        try:
            async with asyncio.timeout(seconds):
                return await self._ask(target, probe)
        except TimeoutError:
            if probe.exec is not None:
                command = " ".join(probe.exec.command)
                return Outcome(
                    healthy=False,
                    message=f'command timed out: "{command}" timed out after {seconds}s',
                )
            return Outcome(
                healthy=False,
                message="context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            )

    async def _ask(self, target: Target, probe: Probe) -> Outcome:
        if probe.exec is not None:
            return await self._execute(target.container_id, probe.exec.command)
        if probe.httpGet is not None:
            return await _ask_http(target, probe.httpGet)
        if probe.tcpSocket is not None:
            host = probe.tcpSocket.host or target.address
            return await _ask_tcp(host, port_number(target.container, probe.tcpSocket.port))
        if probe.grpc is not None:
            try:
                await grpc_health(target.address, probe.grpc.port, probe.grpc.service or "")
            except GRPCFailed as error:
                return Outcome(healthy=False, message=str(error))
        return Outcome(healthy=True)

    async def hook(self, target: Target, handler: LifecycleHandler) -> Outcome:
        """Run a hook to its end."""
        if handler.exec is not None:
            return await self._execute(target.container_id, handler.exec.command)
        if handler.httpGet is not None:
            return await _ask_http(target, handler.httpGet)
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
        return Outcome(healthy=True)

    async def _execute(self, container_id: str, command: list[str]) -> Outcome:
        try:
            session = await self._runtime.exec(container_id, command, tty=False, stdin=False)
        except RuntimeFailure as error:
            return Outcome(healthy=False, message=str(error))
        output = bytearray()
        has_ended = False
        try:
            while (piece := await session.read()) is not None:
                left = EXEC_PROBE_OUTPUT.value - len(output)
                if left < len(piece[1]):
                    EXEC_PROBE_OUTPUT.reached()
                output += piece[1][:left]
            code = await session.exit_code()
            has_ended = True
        finally:
            if (
                not has_ended
            ):  # out of time, or given up: the process would go on beside the next one's
                session.kill()
            await session.close()
        return Outcome(healthy=code == 0, message=output.decode("utf-8", "replace"))


async def _ask_http(target: Target, action: HTTPGetAction) -> Outcome:
    port = port_number(target.container, action.port)
    headers = [(header.name, header.value) for header in action.httpHeaders]
    host = action.host or target.address
    scheme = (action.scheme or "HTTP").lower()
    try:
        answer = await http_get(scheme, host, port, action.path or "/", headers)
    except HTTPFailed as error:
        url = f"{scheme}://{host}:{port}{action.path}"
        return Outcome(healthy=False, message=f'Get "{url}": {error}')
    if 200 <= answer.status < 400:
        return Outcome(healthy=True)
    return Outcome(healthy=False, message=f"HTTP probe failed with statuscode: {answer.status}")


async def _ask_tcp(host: str, port: int) -> Outcome:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Outcome(healthy=False, message=f"dial tcp {host}:{port}: {error.strerror or error}")
    writer.close()
    return Outcome(healthy=True)


def port_number(container: AnyContainer, port: int | str) -> int:
    """Resolve a port's name to its number; 0 if the container has none of that name."""
    if isinstance(port, int):
        return port
    named = [known.containerPort for known in container.ports if known.name == port]
    return named[0] if named else int(port) if port.isdecimal() else 0


def has_probes(container: AnyContainer) -> bool:
    """Whether anything of a container is probed."""
    return bool(container.startupProbe or container.livenessProbe or container.readinessProbe)


def first_health(container: AnyContainer, *, was_started: bool, was_ready: bool) -> Health:
    """Return what is assumed before the first probe; after a restart of the node agent, what was known."""
    return Health(
        started=container.startupProbe is None or was_started,
        ready=container.readinessProbe is None or was_ready,
    )


class ContainerProbes:
    """Runs the probes of one running container."""

    def __init__(
        self,
        target: Target,
        health: Health,
        prober: Prober,
        events: EventRecorder,
        changed: Callable[[], None],
    ) -> None:
        self._target = target
        self.health = health
        self._prober = prober
        self._events = events
        self._changed = changed
        self._started = asyncio.Event()
        if health.started:
            self._started.set()
        self._tasks = TaskSet()

    def start(self, age_seconds: float) -> None:
        """Begin; `age_seconds` is how long the container has run already."""
        container, name = self._target.container, self._target.container.name
        steps: list[tuple[Probe | None, Callable[[Probe, float], Coroutine[Any, Any, None]]]] = [
            (None if self.health.started else container.startupProbe, self._run_startup),
            (container.livenessProbe, self._run_liveness),
            (container.readinessProbe, self._run_readiness),
        ]
        for probe, run in steps:
            if probe is not None:
                self._tasks.start(run(probe, age_seconds), name=f"probe {name}")

    async def stop(self) -> None:
        """End all probes."""
        await self._tasks.stop()

    async def _run_startup(self, probe: Probe, age_seconds: float) -> None:
        await asyncio.sleep(max(probe.initialDelaySeconds - age_seconds, 0))
        if await self._until_decided(probe, "Startup"):
            self._started.set()
            self._change(msgspec.structs.replace(self.health, started=True))
        else:
            self._fail("startup")

    async def _run_liveness(self, probe: Probe, age_seconds: float) -> None:
        await self._started.wait()
        await asyncio.sleep(max(probe.initialDelaySeconds - age_seconds, 0))
        failures = 0
        while failures < (probe.failureThreshold or DEFAULT_FAILURES):
            if (healthy := await self._ask(probe, "Liveness")) is not None:
                failures = 0 if healthy else failures + 1
            if failures < (probe.failureThreshold or DEFAULT_FAILURES):
                await asyncio.sleep(probe.periodSeconds or DEFAULT_PERIOD_SECONDS)
        self._fail("liveness")

    async def _run_readiness(self, probe: Probe, age_seconds: float) -> None:
        await self._started.wait()
        await asyncio.sleep(max(probe.initialDelaySeconds - age_seconds, 0))
        successes = failures = 0
        while True:
            healthy = await self._ask(probe, "Readiness")
            if healthy:
                successes, failures = successes + 1, 0
            elif healthy is not None:
                successes, failures = 0, failures + 1
            if successes >= (probe.successThreshold or 1):
                self._change(msgspec.structs.replace(self.health, ready=True))
            elif failures >= (probe.failureThreshold or DEFAULT_FAILURES):
                self._change(msgspec.structs.replace(self.health, ready=False))
            await asyncio.sleep(probe.periodSeconds or DEFAULT_PERIOD_SECONDS)

    async def _until_decided(self, probe: Probe, kind: ProbeType) -> bool:
        """Ask until one success, or as many failures in a row as the threshold."""
        failures = 0
        while True:
            if healthy := await self._ask(probe, kind):
                return True
            failures += healthy is not None
            if failures >= (probe.failureThreshold or DEFAULT_FAILURES):
                return False
            await asyncio.sleep(probe.periodSeconds or DEFAULT_PERIOD_SECONDS)

    async def _ask(self, probe: Probe, kind: ProbeType) -> bool | None:
        """Ask once; None when the engine could not carry the probe out, which says nothing of the container."""
        try:
            outcome = await self._prober.probe(self._target, probe)
        except EngineUnavailable:
            return None
        if not outcome.healthy:
            about = reference_to(self._target.pod, self._target.container)
            self._events.event(
                about, WARNING, "Unhealthy", f"{kind} probe failed: {outcome.message}"
            )
        return outcome.healthy

    def _fail(self, kind: str) -> None:
        message = f"Container {self._target.container.name} failed {kind} probe, will be restarted"
        self._change(msgspec.structs.replace(self.health, failure=message))

    def _change(self, health: Health) -> None:
        if health != self.health:
            self.health = health
            self._changed()
