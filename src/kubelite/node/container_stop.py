"""Stops containers: the preStop hook, the stop signal, and SIGKILL once the grace period is over."""

import asyncio
import logging

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.kinds.core.pods import Pod
from kubelite.backoff import backoff_seconds
from kubelite.node.dependencies import RETRY_FIRST_SECONDS, ActionDependencies, probe_target
from kubelite.node.lifecycle import StopContainer
from kubelite.node.pod_memory import PodMemory, Stop
from kubelite.node.pods import AnyContainer, find_container, pod_key, reference_to
from kubelite.node.runtime import ContainerRecord, EngineUnavailable, RuntimeFailure

log = logging.getLogger(__name__)

STOP_RETRY_MAX_SECONDS = 8.0
# The least time between signal and SIGKILL, also if the preStop hook took the whole grace period.
GRACE_MIN_SECONDS = 2.0


class ContainerStop:
    """Stops containers, each in a task of its own that outlives the action."""

    def __init__(self, shared: ActionDependencies) -> None:
        self._shared = shared
        self._events = shared.parts.events
        self._prober = shared.parts.prober
        self._runtime = shared.parts.runtime

    def stop(self, memory: PodMemory, action: StopContainer) -> None:
        """Begin to stop a container, or bring the deadline of one that is being stopped nearer."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + action.grace_seconds
        state = memory.container(action.record.id)
        if (known := state.stop) is not None:
            # A short grace period may be planned again after each change; the least one is kept all the same.
            deadline = max(deadline, known.earliest)
            if deadline < known.deadline:
                known.deadline = deadline
                known.wake()
            return
        stop = state.stop = Stop(deadline)
        self._shared.tasks.start(self._end(memory, action, stop), name=f"stop {action.record.name}")

    async def _end(self, memory: PodMemory, action: StopContainer, stop: Stop) -> None:
        record, pod = action.record, memory.pod
        container = find_container(pod, record.name) if pod is not None else None
        if pod is not None and container is not None:
            about = reference_to(pod, container)
            self._events.event(about, NORMAL, "Killing", action.message)
            await self._pre_stop(memory, pod, container, record, stop)
        signal = ""
        if container is not None and container.lifecycle is not None:
            signal = container.lifecycle.stopSignal or ""
        loop = asyncio.get_running_loop()
        stop.earliest = loop.time() + GRACE_MIN_SECONDS
        stop.deadline = max(stop.deadline, stop.earliest)
        await self._signal(memory, record, signal)
        while await self._still_runs(memory, record, stop):
            await self._signal(memory, record, "SIGKILL")
            stop.deadline = loop.time() + GRACE_MIN_SECONDS
        if (state := memory.containers.get(record.id)) is not None:
            state.stop = None

    async def _signal(self, memory: PodMemory, record: ContainerRecord, signal: str) -> None:
        """Send a signal; retried with back-off while the engine fails and the container still runs."""
        failures = 0
        while True:
            try:
                await self._runtime.signal(record.id, signal)
            except (EngineUnavailable, RuntimeFailure) as error:
                log.warning("cannot stop container: %s", error, extra={"container": record.name})
            else:
                return
            await asyncio.sleep(
                backoff_seconds(failures, RETRY_FIRST_SECONDS, STOP_RETRY_MAX_SECONDS)
            )
            failures += 1
            known = memory.records.get(record.id)
            if known is None or not known.is_running:
                return

    async def _pre_stop(
        self,
        memory: PodMemory,
        pod: Pod,
        container: AnyContainer,
        record: ContainerRecord,
        stop: Stop,
    ) -> None:
        handler = container.lifecycle.preStop if container.lifecycle is not None else None
        loop = asyncio.get_running_loop()
        if handler is not None and stop.deadline > loop.time():
            target = probe_target(memory, pod, container, record)
            try:
                async with asyncio.timeout_at(stop.deadline) as limit:
                    stop.wake = lambda: limit.reschedule(stop.deadline)
                    outcome = await self._prober.hook(target, handler)
                if not outcome.healthy:
                    about = reference_to(pod, container)
                    message = f"PreStopHook failed: {outcome.message}".strip(": ")
                    self._events.event(about, WARNING, "FailedPreStopHook", message)
            except TimeoutError:
                log.info("preStop hook took all the grace period", extra={"pod": pod_key(pod)})
            except EngineUnavailable as error:
                log.warning("preStop hook not run: %s", error, extra={"pod": pod_key(pod)})

    async def _still_runs(self, memory: PodMemory, record: ContainerRecord, stop: Stop) -> bool:
        """Wait until the container has ended (False) or its deadline is over (True)."""
        changed = asyncio.Event()
        stop.wake = changed.set
        loop = asyncio.get_running_loop()
        while True:
            known = memory.records.get(record.id)
            if known is None or not known.is_running:
                return False
            if loop.time() >= stop.deadline:
                return True
            changed.clear()
            try:
                async with asyncio.timeout_at(stop.deadline):
                    await changed.wait()
            except TimeoutError:
                continue
