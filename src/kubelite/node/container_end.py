"""Cleans up after a container that has ended: its tasks are cancelled, and its termination message is read."""

import logging

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.dependencies import ActionDependencies
from kubelite.node.logs import last_output
from kubelite.node.pod_memory import ContainerState, PodMemory
from kubelite.node.pods import find_container
from kubelite.node.runtime import ContainerRecord, EngineUnavailable, RuntimeFailure

log = logging.getLogger(__name__)


class ContainerEnd:
    """Handles the ends of containers."""

    def __init__(self, shared: ActionDependencies) -> None:
        self._runtime = shared.parts.runtime
        self._volumes = shared.parts.volumes

    async def note_ended(self, memory: PodMemory) -> None:
        """Read the termination messages of ended containers: no status may say without it that one has ended."""
        for record in list(memory.records.values()):
            is_over = record.phase == "exited" and not record.is_sandbox
            state = memory.container(record.id)
            if is_over and state.message is None:
                await self.ended(memory, record, state)

    async def ended(
        self, memory: PodMemory, record: ContainerRecord, state: ContainerState
    ) -> None:
        """End the probes, hook and stop of a container that has ended or is gone, and read its termination message."""
        await release(state)
        if record.is_sandbox or state.message is not None:
            return
        text = await self._volumes.termination_message(memory.uid, record.name, record.attempt)
        if not text and _falls_back_to_logs(memory.pod, record):
            text = await self._last_output(record)
        state.message = text

    async def _last_output(self, record: ContainerRecord) -> str:
        try:
            return await last_output(self._runtime, record.id)
        except (EngineUnavailable, RuntimeFailure, TimeoutError) as error:
            log.warning(
                "cannot read the last output of a container: %s",
                error,
                extra={"container": record.name, "pod": record.pod_key},
            )
            return ""


async def release(state: ContainerState) -> None:
    """End the stop, the postStart hook and the probes of a container that has ended."""
    stop, state.stop = state.stop, None
    if stop is not None:
        stop.wake()
    state.hook_failure = ""
    if state.hook is not None:
        # What it asks may never answer, so each run of a container would leave a connection behind.
        state.hook.cancel()
    state.is_hook_running = False
    probes, state.probes = state.probes, None
    if probes is not None:
        await probes.stop()


def _falls_back_to_logs(pod: Pod | None, record: ContainerRecord) -> bool:
    container = find_container(pod, record.name) if pod is not None else None
    policy = container.terminationMessagePolicy if container is not None else ""
    return policy == "FallbackToLogsOnError" and record.exit_code != 0
