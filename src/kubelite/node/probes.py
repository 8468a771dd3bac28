"""Runs the startup, liveness and readiness probes of containers.

Each probe of a running container has a task of its own, since each has its own period; `probe_schedule` says when it
asks and what follows. What they find is a `Health`; a change wakes the pod.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import WARNING, EventRecorder
from kubelite.api.kinds.core.containers import HTTPGetAction, LifecycleHandler, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import EXEC_PROBE_OUTPUT
from kubelite.node.grpc_health import GRPCFailed, grpc_health
from kubelite.node.http_get import HTTPFailed, http_get
from kubelite.node.name_lookup import NameLookups, Resolve, connect
from kubelite.node.observed import Health
from kubelite.node.pods import AnyContainer, reference_to
from kubelite.node.probe_schedule import ProbeSchedule, ProbeType
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, RuntimeFailure
from kubelite.tasks import TaskSet

EARLY_SECONDS = 0.001  # a timer may fire a moment before its time


class ProbeTarget(Struct, frozen=True):
    """A running container and where it is reached."""

    pod: Pod
    container: AnyContainer
    container_id: str
    address: str


class Outcome(Struct, frozen=True):
    """The outcome of one probe or hook."""

    healthy: bool
    message: str = ""


class Prober(Protocol):
    """Carries out probes and lifecycle hooks."""

    async def probe(self, target: ProbeTarget, probe: Probe) -> Outcome:
        """Run a probe once, within its timeoutSeconds. Raises EngineUnavailable if it could not be carried out."""
        ...

    async def hook(self, target: ProbeTarget, handler: LifecycleHandler) -> Outcome:
        """Run a hook to its end."""
        ...


class NetworkProber:
    """Probes by exec, TCP, HTTP and gRPC."""

    def __init__(self, runtime: ContainerRuntime) -> None:
        self._runtime = runtime
        self._names = NameLookups()

    async def probe(self, target: ProbeTarget, probe: Probe) -> Outcome:
        """Run a probe once, within its timeoutSeconds. Raises EngineUnavailable if it could not be carried out."""
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

    async def _ask(self, target: ProbeTarget, probe: Probe) -> Outcome:
        if probe.exec is not None:
            return await self._execute(target.container_id, probe.exec.command)
        if probe.httpGet is not None:
            return await _ask_http(target, probe.httpGet, self._resolve(target))
        if probe.tcpSocket is not None:
            host = probe.tcpSocket.host or target.address
            port = port_number(target.container, probe.tcpSocket.port)
            return await _ask_tcp(host, port, self._resolve(target))
        if probe.grpc is not None:
            try:
                await grpc_health(target.address, probe.grpc.port, probe.grpc.service or "")
            except GRPCFailed as error:
                return Outcome(healthy=False, message=str(error))
        return Outcome(healthy=True)

    def _resolve(self, target: ProbeTarget) -> Resolve:
        return self._names.for_pod(target.pod.metadata.uid)

    async def hook(self, target: ProbeTarget, handler: LifecycleHandler) -> Outcome:
        """Run a hook to its end."""
        if handler.exec is not None:
            return await self._execute(target.container_id, handler.exec.command)
        if handler.httpGet is not None:
            return await _ask_http(target, handler.httpGet, self._resolve(target))
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
        except RuntimeFailure as error:  # an engine may say only here that there is no such program
            return Outcome(healthy=False, message=str(error))
        finally:
            if not has_ended:
                # Out of time, or given up: the process would go on beside that of the next probe.
                session.kill()
            await session.close()
        return Outcome(healthy=code == 0, message=output.decode("utf-8", "replace"))


async def _ask_http(target: ProbeTarget, action: HTTPGetAction, resolve: Resolve) -> Outcome:
    port = port_number(target.container, action.port)
    headers = [(header.name, header.value) for header in action.httpHeaders]
    host = action.host or target.address
    scheme = (action.scheme or "HTTP").lower()
    try:
        answer = await http_get(scheme, host, port, action.path or "/", headers, resolve)
    except HTTPFailed as error:
        url = f"{scheme}://{host}:{port}{action.path}"
        return Outcome(healthy=False, message=f'Get "{url}": {error}')
    if 200 <= answer.status < 400:
        return Outcome(healthy=True)
    return Outcome(healthy=False, message=f"HTTP probe failed with statuscode: {answer.status}")


async def _ask_tcp(host: str, port: int, resolve: Resolve) -> Outcome:
    try:
        _, writer = await connect(resolve, host, port)
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
    """Return the health before the first probe: after a restart of the node agent, that of the last status."""
    return Health(
        started=container.startupProbe is None or was_started,
        ready=container.readinessProbe is None or was_ready,
    )


class ContainerProbes:
    """Runs the probes of one running container, each in a task, so that a slow one delays no other."""

    def __init__(
        self,
        target: ProbeTarget,
        health: Health,
        prober: Prober,
        events: EventRecorder,
        changed: Callable[[], None],
    ) -> None:
        self._target = target
        self._schedule = ProbeSchedule(target.container, health)
        self._prober = prober
        self._events = events
        self._changed = changed
        self._wakes = {kind: asyncio.Event() for kind in self._schedule.probes}
        self._tasks = TaskSet()
        self._start_time = 0.0  # of the container, by the loop's time
        self.counts: Counter[tuple[str, str]] = Counter()  # of probes, by type and result

    @property
    def health(self) -> Health:
        """The health by the outcomes so far."""
        return self._schedule.health

    def move(self, address: str) -> None:
        """Probe at another address from the next time on."""
        self._target = replace(self._target, address=address)

    def start(self, age_seconds: float) -> None:
        """Start all probes; `age_seconds` is the time since the container's start."""
        self._start_time = asyncio.get_running_loop().time() - age_seconds
        for kind, probe in self._schedule.probes.items():
            name = f"{kind.lower()} probe of {self._target.container.name}"
            self._tasks.start(self._run(kind, probe), name=name)

    def pod_is_ending(self) -> None:
        """Stop probing for startup and liveness: a pod that is ending restarts nothing."""
        self._schedule.pod_is_ending()
        self._wake()

    async def stop(self) -> None:
        """End all probes."""
        await self._tasks.stop()

    def _wake(self) -> None:
        for wake in self._wakes.values():
            wake.set()

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._start_time

    async def _run(self, kind: ProbeType, probe: Probe) -> None:
        while True:
            await self._until_due(kind)
            asked_at = self._age()
            healthy = await self._ask(probe, kind)
            before = self.health
            self._schedule.answered(kind, asked_at, healthy)
            if self.health != before:
                self._wake()
                self._changed()

    async def _until_due(self, kind: ProbeType) -> None:
        wake = self._wakes[kind]
        while (due := self._schedule.due(kind)) is None or due - self._age() > EARLY_SECONDS:
            wake.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due - self._age()):
                    await wake.wait()

    async def _ask(self, probe: Probe, kind: ProbeType) -> bool | None:
        """Run a probe once; None if the engine could not carry it out, which is no outcome of the container's."""
        try:
            outcome = await self._prober.probe(self._target, probe)
        except EngineUnavailable:
            self.counts[kind, "unknown"] += 1
            return None
        self.counts[kind, "successful" if outcome.healthy else "failed"] += 1
        if not outcome.healthy:
            about = reference_to(self._target.pod, self._target.container)
            self._events.event(
                about, WARNING, "Unhealthy", f"{kind} probe failed: {outcome.message}"
            )
        return outcome.healthy
