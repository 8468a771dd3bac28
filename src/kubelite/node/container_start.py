"""Creates and starts containers, and runs their postStart hooks."""

import logging

import msgspec

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import APIError
from kubelite.api.kinds.core.containers import EphemeralContainer, LifecycleHandler
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.services import Service
from kubelite.node.admission import NO_APPARMOR, wants_apparmor
from kubelite.node.container_spec import container_spec, with_devices
from kubelite.node.dependencies import ActionDependencies, probe_target, retry_delay
from kubelite.node.devices.protocol import AllocationFailed, Injection
from kubelite.node.environment import ConfigUnavailable, Environment
from kubelite.node.lifecycle import StartContainer
from kubelite.node.observed import Trouble
from kubelite.node.pod_memory import ContainerState, PodMemory
from kubelite.node.pods import (
    AnyContainer,
    WantedImage,
    pod_key,
    reference_to,
    wanted_images,
)
from kubelite.node.probe_starts import ProbeStarts
from kubelite.node.probes import Outcome, ProbeTarget
from kubelite.node.resources import limits_of
from kubelite.node.runtime import (
    ContainerRecord,
    EngineUnavailable,
    Image,
    Mount,
    RuntimeFailure,
    StartRefused,
)

log = logging.getLogger(__name__)


class _ImageRemoved(Exception):
    """The image was there when the container was planned, and is not any more."""


class ContainerStart:
    """Starts containers. A failure is a trouble of the container, so that it is retried after a back-off."""

    def __init__(self, shared: ActionDependencies, probing: ProbeStarts) -> None:
        parts = shared.parts
        self._shared = shared
        self._probing = probing
        self._clock = parts.clock
        self._events = parts.events
        self._logs = parts.logs
        self._prober = parts.prober
        self._runtime = parts.runtime
        self._devices = parts.devices
        self._volumes = parts.volumes
        self._environment = Environment(parts.client, shared.reads)
        self._services = parts.client.mirror(Service)

    async def start(self, memory: PodMemory, pod: Pod, action: StartContainer) -> None:
        """Create and start a container, with its postStart hook; a failure is a trouble of the container."""
        container = action.container
        container_id = ""
        try:
            async with self._shared.starting:
                container_id = await self._create(memory, pod, action)
                record = await self._started(memory, pod, container, container_id)
        except _ImageRemoved as error:
            # The next plan fetches it; until then the state of the pull tells what the container waits for.
            log.info("image was removed", extra={"image": str(error), "pod": pod_key(pod)})
            memory.troubles.pop(container.name, None)
        except (ConfigUnavailable, APIError) as error:
            self._start_failed(memory, pod, container, "CreateContainerConfigError", str(error))
        except StartRefused as error:
            about = reference_to(pod, container)
            self._events.event(about, WARNING, "Failed", f"Error: {error}")
            memory.troubles[container.name] = Trouble("RunContainerError", str(error))
            failed = await self._runtime.inspect(container_id)
            if failed is not None:
                memory.update_container(failed)
                # The back-off of the ended container decides when it is tried again.
                memory.troubles.pop(container.name, None)
        except RuntimeFailure as error:
            self._start_failed(memory, pod, container, "CreateContainerError", str(error))
        else:
            memory.troubles.pop(container.name, None)
            memory.trouble_failures.pop(container.name, None)
            self._probing.start(memory, pod, container, record)
        # That of a volume is resolved once in the life of a pod, as the field's documentation says.
        if container.imagePullPolicy == "Always":
            memory.images.pop(container.name, None)

    async def _create(self, memory: PodMemory, pod: Pod, action: StartContainer) -> str:
        container, around = action.container, self._shared.around(memory)
        # An ephemeral container came after the pod was admitted, so it was not checked then.
        if not self._shared.facts.enforces_apparmor and wants_apparmor(pod, container):
            raise ConfigUnavailable(NO_APPARMOR)
        image, *_ = [await self._image(memory, wanted) for wanted in wanted_images(pod, container)]
        environment = await self._environment.of(pod, container, self._services.list(), around)
        mounts = await self._volumes.mounts(pod, container, action.attempt, around, environment)
        devices = await self._volumes.devices(pod, container) if container.volumeDevices else ()
        injection = await self._injection(pod, container, mounts)
        limits = limits_of(pod, container, self._shared.facts.memory_bytes)
        target = target_id(memory, container)
        # What a container sets itself wins over what its devices bring.
        environment = {**injection.environment, **environment}
        mounts = (*mounts, *injection.mounts)
        spec = container_spec(
            pod,
            action,
            image,
            environment,
            mounts,
            limits,
            target,
            recursive_read_only=self._shared.facts.recursive_read_only,
        )
        spec = with_devices(spec, container, devices, injection)
        container_id = await self._runtime.create(spec)
        about = reference_to(pod, container)
        self._tell_reductions(memory, container, about, self._runtime.reductions(spec))
        self._events.event(about, NORMAL, "Created", "Container created")
        return container_id

    async def _injection(
        self, pod: Pod, container: AnyContainer, mounts: tuple[Mount, ...]
    ) -> Injection:
        """Return what puts its devices into a container, beside its own mounts. Raises ConfigUnavailable."""
        try:
            injection = await self._devices.injection(pod, container)
        except AllocationFailed as error:
            raise ConfigUnavailable(str(error)) from error
        taken = {mount.target for mount in mounts}
        free = tuple(mount for mount in injection.mounts if mount.target not in taken)
        return msgspec.structs.replace(injection, mounts=free)

    async def _image(self, memory: PodMemory, wanted: WantedImage) -> Image:
        """Return an image that was there when the container was planned. Raises _ImageRemoved."""
        # Another container that mounts the same volume may have found it removed, and taken the state away.
        state = memory.images.get(wanted.key)
        image = None if state is None else await self._runtime.image(state.image_id)
        if image is None:
            memory.images.pop(wanted.key, None)
            raise _ImageRemoved(wanted.reference)
        return image

    def _tell_reductions(
        self,
        memory: PodMemory,
        container: AnyContainer,
        about: ObjectReference,
        reductions: tuple[str, ...],
    ) -> None:
        """Record an event for each reduction of a container, once per container, and log each reduction once."""
        for reduction in reductions:
            if (container.name, reduction) not in memory.told_reductions:
                memory.told_reductions.add((container.name, reduction))
                message = f"Container {container.name} gets less than it asks for: {reduction}"
                self._events.event(about, WARNING, "ReducedPrivileges", message)
            self._shared.warn_once(f"containers get less than they ask for: {reduction}")

    async def _started(
        self, memory: PodMemory, pod: Pod, container: AnyContainer, container_id: str
    ) -> ContainerRecord:
        handler = container.lifecycle.postStart if container.lifecycle is not None else None
        state = memory.container(container_id)
        state.is_hook_running = handler is not None
        try:
            record = await self._runtime.start(container_id)
        except BaseException:
            state.is_hook_running = False
            if container_id not in memory.records:
                memory.forget(container_id)
            raise
        memory.update_container(record)
        await self._logs.add([record])
        about = reference_to(pod, container)
        self._events.event(about, NORMAL, "Started", "Container started")
        if handler is not None:
            target = probe_target(memory, pod, container, record)
            work = self._post_start(memory, target, state, handler)
            state.hook = self._shared.tasks.start(work, name=f"postStart {container.name}")
        return record

    async def _post_start(
        self,
        memory: PodMemory,
        target: ProbeTarget,
        state: ContainerState,
        handler: LifecycleHandler,
    ) -> None:
        try:
            outcome = await self._prober.hook(target, handler)
        except EngineUnavailable as error:
            outcome = Outcome(healthy=False, message=str(error))
        finally:
            state.is_hook_running, state.hook = False, None
            self._shared.wake(memory.uid)
        if not outcome.healthy:
            about = reference_to(target.pod, target.container)
            message = f"PostStartHook failed: {outcome.message}".strip(": ")
            self._events.event(about, WARNING, "FailedPostStartHook", message)
            state.hook_failure = "FailedPostStartHook"

    def _start_failed(
        self, memory: PodMemory, pod: Pod, container: AnyContainer, reason: str, message: str
    ) -> None:
        failures = memory.trouble_failures.get(container.name, 0)
        memory.trouble_failures[container.name] = failures + 1
        retry_at = self._clock.now() + retry_delay(failures)
        memory.troubles[container.name] = Trouble(reason, message, retry_at)
        self._events.event(reference_to(pod, container), WARNING, "Failed", f"Error: {message}")


def target_id(memory: PodMemory, container: AnyContainer) -> str:
    """Return the id of an ephemeral container's target; "" if it has none. Raises ConfigUnavailable if it is not up."""
    name = container.targetContainerName if isinstance(container, EphemeralContainer) else ""
    if not name:
        return ""
    target = memory.observe().newest(name)
    if target is None or not target.is_running:
        raise ConfigUnavailable(f"unable to find target container {name}")
    return target.id
