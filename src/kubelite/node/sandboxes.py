"""Creates, limits, connects and stops the sandboxes of pods."""

import logging

import msgspec

from kubelite.api.client.events import WARNING
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.pods import Pod
from kubelite.node.admission import host_ports
from kubelite.node.container_spec import sandbox_spec
from kubelite.node.dependencies import ActionDependencies, retry_delay
from kubelite.node.devices.protocol import AllocationFailed
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.lifecycle import CreateSandbox
from kubelite.node.network import namespace_path
from kubelite.node.observed import CLAIMS_NOT_PREPARED, Trouble
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import pod_key, reference_to
from kubelite.node.resources import class_shares, group_limits
from kubelite.node.runtime import (
    ContainerLimits,
    ContainerRecord,
    EngineUnavailable,
    RuntimeFailure,
)
from kubelite.node.sandbox_checks import SandboxChecks

log = logging.getLogger(__name__)


class Sandboxes:
    """Acts on sandboxes. A failure is a trouble of the pod, so that a new sandbox is tried after a back-off."""

    def __init__(self, shared: ActionDependencies) -> None:
        parts = shared.parts
        self._shared = shared
        self._clock = parts.clock
        self._devices = parts.devices
        self._events = parts.events
        self._network = parts.network
        self._runtime = parts.runtime
        self._checks = SandboxChecks(parts.client, parts.runtime, shared.facts.cluster_domain)

    async def attach(self, memory: PodMemory, pod: Pod, sandbox: ContainerRecord) -> None:
        """Connect a running sandbox to the pod network, or read the addresses of one that is connected."""
        if pod.spec.hostNetwork:
            memory.addresses = self._shared.facts.addresses
            return
        try:
            memory.addresses = await self._network.attach(
                memory.uid, pod_key(pod), namespace_path(sandbox.pid), host_ports=host_ports(pod)
            )
        except EngineUnavailable:
            raise
        except Exception as error:
            # Whatever the network reports, the pod has no address, so it gets a new sandbox.
            log.exception("cannot attach pod", extra={"pod": pod_key(pod)})
            message = f"Failed to create pod sandbox: plugin kubelite failed (add): {error}"
            self._failed(memory, pod, message)
            await self._runtime.remove(sandbox.id)
            memory.forget(sandbox.id)

    async def create(self, memory: PodMemory, pod: Pod, action: CreateSandbox) -> None:
        """Create and start a sandbox; a failure is a trouble of the pod, with a date to retry."""
        try:
            await self._devices.prepare(pod)
            handler = await self._checks.handler(pod)
            async with self._shared.starting:
                own = pod.spec.hostUsers is False
                ids = self._shared.user_namespaces.take(memory.uid) if own else None
                domain = self._shared.facts.cluster_domain
                spec = sandbox_spec(pod, action.attempt, domain, handler, ids)
                sandbox = await self._runtime.run_sandbox(spec)
                memory.group_limits = None
                memory.update_container(sandbox)
                await self.limit(memory, pod, sandbox, group_limits(pod))
        except AllocationFailed as error:
            message = f"Failed to prepare dynamic resources: {error}"
            self._failed(memory, pod, message, CLAIMS_NOT_PREPARED)
        except (ConfigUnavailable, RuntimeFailure, APIError) as error:
            self._failed(memory, pod, f"Failed to create pod sandbox: {error}")
        else:
            memory.addresses = ()
            if memory.group_limits is not None:
                memory.sandbox_trouble = None
                memory.sandbox_failures = 0

    async def limit(
        self, memory: PodMemory, pod: Pod, sandbox: ContainerRecord, limits: ContainerLimits
    ) -> None:
        """Set the pod's control group; a limit that cannot be enforced keeps the pod from running."""
        try:
            weight = class_shares(pod, self._shared.pods())
            await self._runtime.limit_pod(sandbox, limits, weight)
        except RuntimeFailure as error:
            if pod.spec.resources is not None:
                self._failed(memory, pod, f"Failed to create pod sandbox: {error}")
                return
            self._shared.warn_once(f"the CPU weight of pods cannot be set: {error}")
        memory.group_limits = limits
        if memory.sandbox_trouble is not None and pod.spec.resources is not None:
            memory.sandbox_trouble, memory.sandbox_failures = None, 0

    async def stop(self, memory: PodMemory, record: ContainerRecord) -> None:
        """Kill a sandbox and give back its address. Raises EngineUnavailable, RuntimeFailure."""
        # The pause process has nothing to finish, so it is killed; nothing can use its address afterwards.
        await self._runtime.signal(record.id, "SIGKILL")
        known = await self._runtime.inspect(record.id)
        memory.forget(record.id)
        if known is not None:
            memory.records[record.id] = msgspec.structs.replace(known, phase="exited", pid=0)
        memory.addresses = ()
        await self._network.detach(memory.uid)

    def _failed(
        self, memory: PodMemory, pod: Pod, message: str, reason: str = "FailedCreatePodSandBox"
    ) -> None:
        retry_at = self._clock.now() + retry_delay(memory.sandbox_failures)
        memory.sandbox_failures += 1
        memory.sandbox_trouble = Trouble(reason, message, retry_at)
        self._events.event(reference_to(pod), WARNING, reason, message)
