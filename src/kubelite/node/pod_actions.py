"""Carries out what `lifecycle.plan` decided, and remembers how it went.

An expected failure of an action becomes a trouble in the pod's memory, with an event and a date to try again; only
EngineUnavailable leaves, so that the pod waits for the engine as a whole.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

import msgspec
from msgspec import Struct

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, Conflict, NotFound
from kubelite.api.kinds.core.containers import EphemeralContainer, LifecycleHandler
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.core.services import Service
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.node.admission import NO_APPARMOR, host_ports, wants_apparmor
from kubelite.node.container_spec import container_spec, sandbox_spec
from kubelite.node.environment import ConfigUnavailable, Environment, Surroundings
from kubelite.node.images import ImageSource
from kubelite.node.lifecycle import (
    Action,
    AttachNetwork,
    CreateSandbox,
    EnsureImage,
    FinishDeletion,
    LimitPod,
    RemoveContainer,
    ResizeContainer,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    StopSandbox,
    TearDown,
)
from kubelite.node.live_node import LiveNode
from kubelite.node.log_links import NoLogs, PodLogs
from kubelite.node.logs import last_output
from kubelite.node.network import PodNetwork
from kubelite.node.observed import Health, ImageState, Trouble
from kubelite.node.pod_memory import ContainerState, PodMemory, Stop
from kubelite.node.pods import (
    AnyContainer,
    find_container,
    is_terminal,
    pod_key,
    reference_to,
    resources_text,
)
from kubelite.node.probes import (
    ContainerProbes,
    Outcome,
    Prober,
    Target,
    first_health,
    has_probes,
)
from kubelite.node.resizing import with_allocated
from kubelite.node.resources import class_shares, group_limits, limits_of
from kubelite.node.runtime import (
    ContainerRecord,
    ContainerRuntime,
    EngineUnavailable,
    Limits,
    RuntimeFailure,
    StartRefused,
)
from kubelite.node.sandbox_checks import DevicesUnavailable, SandboxChecks
from kubelite.node.sysctls import SysctlAllowList
from kubelite.node.volumes.host import PodVolumes
from kubelite.tasks import TaskSet, all_to_their_end

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
REFRESH_PAUSE_SECONDS = (
    0.5  # at least between two refreshes of a pod's volumes, however often what they show changes
)
STOP_RETRY_MAX_SECONDS = 8.0
GRACE_MIN_SECONDS = (
    2.0  # what each container gets at least, also one whose preStop hook took all the time
)
STARTS_AT_ONCE = 8  # engines get slower, not faster, beyond a few


class NodeFacts(Struct, frozen=True):
    """What pods are told about the node they run on."""

    name: str
    addresses: tuple[str, ...]
    allocatable: Mapping[str, str]
    memory_bytes: int = 0
    labels: Mapping[str, str] = {}
    cluster_domain: str = "cluster.local"
    sysctls: SysctlAllowList = SysctlAllowList()
    enforces_apparmor: bool = False


class Collaborators(Struct, frozen=True):
    """What the node works with, given from outside."""

    client: Client
    runtime: ContainerRuntime
    network: PodNetwork
    volumes: PodVolumes
    prober: Prober
    clock: Clock
    events: EventRecorder
    logs: PodLogs = NoLogs()


class PodActions:
    """Acts on pods."""

    def __init__(
        self,
        facts: NodeFacts,
        parts: Collaborators,
        tasks: TaskSet,
        wake: Callable[[str], None],
        node: LiveNode,
        pods: Callable[[], Sequence[Pod]],
    ) -> None:
        """`pods` returns those that the node has let in, with what each was allocated."""
        self._facts = facts
        self._client = client = parts.client
        self._runtime = runtime = parts.runtime
        self._network = parts.network
        self._volumes = parts.volumes
        self._volumes.changed = self.volumes_changed
        self._stale: set[str] = set()  # uids of pods whose volumes show something that changed
        self._prober = parts.prober
        self._logs = parts.logs
        self._clock = clock = parts.clock
        self._events = events = parts.events
        self._tasks = tasks
        self._wake = wake
        self._node = node
        self._pods = pods
        self._environment = Environment(client)
        self._images = ImageSource(runtime, client, clock, events, tasks)
        self._services = client.mirror(Service)
        self._checks = SandboxChecks(client, runtime, facts.cluster_domain)
        self._starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self._warned: set[str] = set()  # what the log already says that this host withholds

    async def carry_out(self, memory: PodMemory, actions: tuple[Action, ...]) -> None:
        """Do all actions at once; raises EngineUnavailable.

        None is cut off because another failed: the engine may have made a container of whose id nobody then knows.
        """
        await all_to_their_end(*(self._do(memory, action) for action in actions))

    async def _do(self, memory: PodMemory, action: Action) -> None:
        pod = with_allocated(memory.pod or Pod(), memory.allocated)
        match action:
            case SetUpVolumes():
                await self._set_up_volumes(memory, pod)
            case CreateSandbox():
                await self._create_sandbox(memory, pod, action)
            case AttachNetwork():
                await self.attach(memory, pod, action.sandbox)
            case EnsureImage():
                await self._ensure_image(memory, pod, action.container)
            case StartContainer():
                await self._start(memory, pod, action)
            case StopContainer():
                self._stop(memory, action)
            case LimitPod() | ResizeContainer():
                await self._set_resources(memory, pod, action)
            case StopSandbox():
                await self._stop_sandbox(memory, action.record)
            case RemoveContainer():
                await self._remove(memory, action.record)
            case TearDown():
                await self.tear_down(memory)
            case FinishDeletion():
                await self._finish(memory, pod)

    def around(self, memory: PodMemory) -> Surroundings:
        """Return what the pod may learn about where it runs."""
        return Surroundings(memory.addresses, self._facts.addresses, self._node.view.allocatable)

    def move(self, facts: NodeFacts, memories: Iterable[PodMemory]) -> None:
        """Follow new addresses of the node: pods on its network have them too, and are probed there."""
        self._facts = facts
        for memory in memories:
            if memory.pod is not None and memory.pod.spec.hostNetwork and memory.addresses:
                memory.addresses = facts.addresses
                for state in memory.containers.values():
                    if state.probes is not None:
                        state.probes.move(facts.addresses[0])

    def _retry_date(self, failures: int) -> timedelta:
        return timedelta(seconds=backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS))

    async def _set_up_volumes(self, memory: PodMemory, pod: Pod) -> None:
        now = memory.volumes_read_at = self._clock.now()
        self._stale.discard(memory.uid)  # what changes from here on is a reason for another round
        try:
            due = await self._volumes.set_up(pod, self.around(memory))
        except (ConfigUnavailable, APIError) as error:
            retry_at = now + self._retry_date(memory.volume_failures)
            memory.refresh_at = retry_at
            memory.volume_failures += 1
            memory.volumes_trouble = Trouble("FailedMount", str(error), retry_at)
            self._events.event(reference_to(pod), WARNING, "FailedMount", str(error))
            return
        memory.volumes_trouble = None
        memory.volume_failures = 0
        memory.volumes_ready = True
        memory.refresh_at = due

    def volumes_changed(self, uid: str) -> None:
        """Have a pod's volumes refreshed since something that they show changed."""
        self._stale.add(uid)
        self._wake(uid)

    def rest_volumes(self, memory: PodMemory) -> None:
        """Refresh the volumes of a pod that has ended no more."""
        self._volumes.rest(memory.uid)
        self._stale.discard(memory.uid)
        memory.refresh_at = None

    async def refresh_volumes(self, memory: PodMemory, pod: Pod) -> None:
        """Refresh a pod's volumes if something that they show changed, or a token of theirs gets old."""
        now = self._clock.now()
        if memory.uid in self._stale and memory.volumes_read_at is not None:
            self._stale.discard(memory.uid)
            pause = timedelta(seconds=REFRESH_PAUSE_SECONDS)
            at = max(now, memory.volumes_read_at + pause)
            memory.refresh_at = at if memory.refresh_at is None else min(at, memory.refresh_at)
            if (trouble := memory.volumes_trouble) is not None:
                # It may be just what was missing.
                memory.volumes_trouble = msgspec.structs.replace(trouble, retry_at=at)
        is_due = memory.refresh_at is not None and memory.refresh_at <= now
        if memory.volumes_ready and is_due:
            await self._set_up_volumes(memory, pod)

    async def _create_sandbox(self, memory: PodMemory, pod: Pod, action: CreateSandbox) -> None:
        sandbox_id = ""
        try:
            handler = await self._checks.handler(pod)
            async with self._starting:
                spec = sandbox_spec(pod, action.attempt, self._facts.cluster_domain, handler)
                sandbox_id = await self._runtime.create_sandbox(spec)
                sandbox = await self._runtime.start(sandbox_id)
                memory.group_limits = None
                memory.take(sandbox)
                await self._limit_pod(memory, pod, sandbox, group_limits(pod))
        except DevicesUnavailable as error:
            message = f"Failed to prepare dynamic resources: {error}"
            self._sandbox_failed(memory, pod, message, "FailedPrepareDynamicResources")
        except (ConfigUnavailable, RuntimeFailure, APIError) as error:
            self._sandbox_failed(memory, pod, f"Failed to create pod sandbox: {error}")
            if sandbox_id:
                await self._runtime.remove(sandbox_id)
        else:
            memory.addresses = ()
            if memory.group_limits is not None:
                memory.sandbox_trouble = None
                memory.sandbox_failures = 0

    async def _set_resources(
        self, memory: PodMemory, pod: Pod, action: LimitPod | ResizeContainer
    ) -> None:
        if isinstance(action, LimitPod):
            await self._limit_pod(memory, pod, action.sandbox, action.limits)
        else:
            await self._resize(memory, pod, action)

    async def _limit_pod(
        self, memory: PodMemory, pod: Pod, sandbox: ContainerRecord, limits: Limits
    ) -> None:
        """Set the pod's control group; a limit that cannot be enforced keeps the pod from running."""
        try:
            weight = class_shares(pod, self._pods())
            await self._runtime.limit_pod(sandbox, limits, weight)
        except RuntimeFailure as error:
            if pod.spec.resources is not None:
                self._sandbox_failed(memory, pod, f"Failed to create pod sandbox: {error}")
                return
            self._warn_once("the CPU weight of pods cannot be set", error)
        memory.group_limits = limits
        if memory.sandbox_trouble is not None and pod.spec.resources is not None:
            memory.sandbox_trouble, memory.sandbox_failures = None, 0

    def _warn_once(self, text: str, error: Exception) -> None:
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s: %s", text, error)

    def _sandbox_failed(
        self, memory: PodMemory, pod: Pod, message: str, reason: str = "FailedCreatePodSandBox"
    ) -> None:
        retry_at = self._clock.now() + self._retry_date(memory.sandbox_failures)
        memory.sandbox_failures += 1
        memory.sandbox_trouble = Trouble(reason, message, retry_at)
        self._events.event(reference_to(pod), WARNING, reason, message)

    async def attach(self, memory: PodMemory, pod: Pod, sandbox: ContainerRecord) -> None:
        """Connect a running sandbox, or learn the addresses of one that is connected."""
        if pod.spec.hostNetwork:
            memory.addresses = self._facts.addresses
            return
        try:
            memory.addresses = await self._network.attach(
                memory.uid, pod_key(pod), sandbox.pid, host_ports=host_ports(pod)
            )
        except EngineUnavailable:
            raise
        except Exception as error:
            # Whatever the network reports, the pod has no address and a new sandbox is the remedy.
            log.exception("cannot attach pod", extra={"pod": pod_key(pod)})
            message = f"Failed to create pod sandbox: plugin kubelite failed (add): {error}"
            self._sandbox_failed(memory, pod, message)
            await self._runtime.remove(sandbox.id)
            memory.forget(sandbox.id)

    async def _ensure_image(self, memory: PodMemory, pod: Pod, container: AnyContainer) -> None:
        def report(state: ImageState) -> None:
            memory.image_reported(container, state)
            self._wake(memory.uid)

        failures = memory.image_failures.get(container.name, 0)
        await self._images.ensure(pod, container, failures, report)

    async def _start(self, memory: PodMemory, pod: Pod, action: StartContainer) -> None:
        container = action.container
        container_id = ""
        try:
            async with self._starting:
                container_id = await self._create(memory, pod, action)
                record = await self._started(memory, pod, container, container_id)
        except (ConfigUnavailable, APIError) as error:
            self._start_failed(memory, pod, container, "CreateContainerConfigError", str(error))
        except StartRefused as error:
            about = reference_to(pod, container)
            self._events.event(about, WARNING, "Failed", f"Error: {error}")
            memory.troubles[container.name] = Trouble("RunContainerError", str(error))
            failed = await self._runtime.inspect(container_id)
            if failed is not None:
                memory.take(failed)
                # The back-off of the ended container decides when it is tried again.
                memory.troubles.pop(container.name, None)
        except RuntimeFailure as error:
            self._start_failed(memory, pod, container, "CreateContainerError", str(error))
        else:
            memory.troubles.pop(container.name, None)
            memory.trouble_failures.pop(container.name, None)
            self._watch_over(memory, pod, container, record)
        if container.imagePullPolicy == "Always":
            memory.images.pop(container.name, None)

    async def _create(self, memory: PodMemory, pod: Pod, action: StartContainer) -> str:
        container, around = action.container, self.around(memory)
        # Of one that was added to a running pod; the others were checked when the pod was let in.
        if not self._facts.enforces_apparmor and wants_apparmor(pod, container):
            raise ConfigUnavailable(NO_APPARMOR)
        state = memory.images[container.name]
        image = await self._runtime.image(state.image_id)
        if image is None:
            memory.images.pop(container.name, None)
            raise RuntimeFailure(f"image {container.image} was removed")
        environment = await self._environment.of(pod, container, self._services.list(), around)
        mounts = await self._volumes.mounts(pod, container, action.attempt, around, environment)
        limits = limits_of(pod, container, self._facts.memory_bytes)
        target = target_id(memory, container)
        spec = container_spec(pod, action, image, environment, mounts, limits, target)
        container_id = await self._runtime.create(spec)
        about = reference_to(pod, container)
        self._tell_reductions(memory, container, about, self._runtime.reductions(spec))
        self._events.event(about, NORMAL, "Created", "Container created")
        return container_id

    def _tell_reductions(
        self,
        memory: PodMemory,
        container: AnyContainer,
        about: ObjectReference,
        reductions: tuple[str, ...],
    ) -> None:
        """Make an event of what a container does not get, once, and warn once of what the host withholds."""
        for reduction in reductions:
            if (container.name, reduction) not in memory.told_reductions:
                memory.told_reductions.add((container.name, reduction))
                message = f"Container {container.name} gets less than it asks for: {reduction}"
                self._events.event(about, WARNING, "ReducedPrivileges", message)
            if reduction not in self._warned:
                self._warned.add(reduction)
                log.warning("containers get less than they ask for: %s", reduction)

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
        memory.take(record)
        await self._logs.add([record])
        about = reference_to(pod, container)
        self._events.event(about, NORMAL, "Started", "Container started")
        if handler is not None:
            target = self._target(memory, pod, container, record)
            work = self._post_start(memory, target, state, handler)
            state.hook = self._tasks.start(work, name=f"postStart {container.name}")
        return record

    async def _post_start(
        self, memory: PodMemory, target: Target, state: ContainerState, handler: LifecycleHandler
    ) -> None:
        try:
            outcome = await self._prober.hook(target, handler)
        except EngineUnavailable as error:
            outcome = Outcome(healthy=False, message=str(error))
        finally:
            state.is_hook_running, state.hook = False, None
            self._wake(memory.uid)
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
        retry_at = self._clock.now() + self._retry_date(failures)
        memory.troubles[container.name] = Trouble(reason, message, retry_at)
        self._events.event(reference_to(pod, container), WARNING, "Failed", f"Error: {message}")

    def _target(
        self, memory: PodMemory, pod: Pod, container: AnyContainer, record: ContainerRecord
    ) -> Target:
        address = memory.addresses[0] if memory.addresses else "127.0.0.1"
        return Target(pod, container, record.id, address)

    def watch_over_running(self, memory: PodMemory, pod: Pod) -> None:
        """Start the probes of containers that run but are not probed, and stop those an ending pod must not have."""
        for record in memory.records.values():
            container = find_container(pod, record.name)
            if container is not None and record.is_running:
                self._watch_over(memory, pod, container, record)
        is_deleted = pod.metadata.deletionTimestamp is not None
        if is_deleted or memory.ending is not None or is_terminal(pod):
            memory.stop_restarting_probes()

    def _watch_over(
        self, memory: PodMemory, pod: Pod, container: AnyContainer, record: ContainerRecord
    ) -> None:
        state = memory.container(record.id)
        if state.probes is not None or not has_probes(container):
            return
        health = _known_health(pod, container, record)
        probes = ContainerProbes(
            self._target(memory, pod, container, record),
            health,
            self._prober,
            self._events,
            lambda: self._wake(memory.uid),
        )
        state.probes = probes
        ran = self._clock.now() - (record.started_at or record.created_at)
        probes.start(max(ran.total_seconds(), 0.0))

    def _stop(self, memory: PodMemory, action: StopContainer) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + action.grace_seconds
        state = memory.container(action.record.id)
        if (known := state.stop) is not None:
            if deadline < known.deadline:
                known.deadline = deadline
                known.wake()
            return
        stop = state.stop = Stop(deadline)
        self._tasks.start(self._end(memory, action, stop), name=f"stop {action.record.name}")

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
        stop.deadline = max(stop.deadline, loop.time() + GRACE_MIN_SECONDS)
        await self._signal(memory, record, signal)
        while await self._still_runs(memory, record, stop):
            await self._signal(memory, record, "SIGKILL")
            stop.deadline = loop.time() + GRACE_MIN_SECONDS
        if (state := memory.containers.get(record.id)) is not None:
            state.stop = None

    async def _signal(self, memory: PodMemory, record: ContainerRecord, signal: str) -> None:
        """Send a signal, again and again while the engine fails to and the container still runs."""
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
            target = self._target(memory, pod, container, record)
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

    async def note_ended(self, memory: PodMemory) -> None:
        """Learn what ended containers left, so that no status says without it that they ended."""
        for record in list(memory.records.values()):
            is_over = record.phase == "exited" and not record.is_sandbox
            state = memory.container(record.id)
            if is_over and state.message is None:
                await self.ended(memory, record, state)

    async def ended(
        self, memory: PodMemory, record: ContainerRecord, state: ContainerState
    ) -> None:
        """Tidy up after a container that has ended or is gone: its probes, its stop, its termination message."""
        await _release(state)
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

    async def _resize(self, memory: PodMemory, pod: Pod, action: ResizeContainer) -> None:
        container, record = action.container, action.record
        wanted = resources_text(container)
        try:
            limits = limits_of(pod, container, self._facts.memory_bytes)
            await self._runtime.update(record.id, limits)
        except RuntimeFailure as error:
            failures = memory.resize_failures.get(record.id, 0)
            memory.resize_failures[record.id] = failures + 1
            retry_at = self._clock.now() + self._retry_date(failures)
            memory.resize_troubles[record.id] = Trouble("Error", str(error), retry_at)
        else:
            memory.resized[record.id] = wanted
            memory.resize_troubles.pop(record.id, None)
            memory.resize_failures.pop(record.id, None)

    async def _stop_sandbox(self, memory: PodMemory, record: ContainerRecord) -> None:
        # The pause process has nothing to finish: it is killed, and its address given back once nothing can use it.
        await self._runtime.signal(record.id, "SIGKILL")
        known = await self._runtime.inspect(record.id)
        memory.forget(record.id)
        if known is not None:
            memory.records[record.id] = msgspec.structs.replace(known, phase="exited", pid=0)
        memory.addresses = ()
        await self._network.detach(memory.uid)

    async def _remove(self, memory: PodMemory, record: ContainerRecord) -> None:
        await self._runtime.remove(record.id)
        await self._logs.remove(record)
        await _release(memory.forget(record.id))
        memory.resize_troubles.pop(record.id, None)
        memory.resize_failures.pop(record.id, None)
        memory.resized.pop(record.id, None)

    async def tear_down(self, memory: PodMemory) -> None:
        """Remove all that was made for a pod."""
        for record in sorted(memory.records.values(), key=lambda record: record.is_sandbox):
            await self._remove(memory, record)
        await self._network.detach(memory.uid)
        memory.addresses = ()
        await self._volumes.tear_down(memory.uid)
        await self._logs.remove_pod(memory.uid)
        self._stale.discard(memory.uid)
        memory.volumes_ready = False

    async def _finish(self, memory: PodMemory, pod: Pod) -> None:
        await self.tear_down(memory)
        try:
            await self._client.delete(
                Pod,
                pod.metadata.name,
                pod.metadata.namespace,
                uid=memory.uid,
                grace_seconds=0,
            )
        except (NotFound, Conflict):
            log.debug("pod is gone already", extra={"pod": pod_key(pod)})


async def _release(state: ContainerState) -> None:
    """End what goes on for a container that has ended."""
    stop, state.stop = state.stop, None
    if stop is not None:
        stop.wake()
    state.hook_failure = ""
    if state.hook is not None:
        # Whatever it asks may never answer: each run of a container would leave a connection behind.
        state.hook.cancel()
    state.is_hook_running = False
    probes, state.probes = state.probes, None
    if probes is not None:
        await probes.stop()


def target_id(memory: PodMemory, container: AnyContainer) -> str:
    """Return the id of the container that an ephemeral one looks into, "" if none; raises ConfigUnavailable."""
    name = container.targetContainerName if isinstance(container, EphemeralContainer) else ""
    if not name:
        return ""
    target = memory.observe().newest(name)
    if target is None or not target.is_running:
        raise ConfigUnavailable(f"unable to find target container {name}")
    return target.id


def _falls_back_to_logs(pod: Pod | None, record: ContainerRecord) -> bool:
    container = find_container(pod, record.name) if pod is not None else None
    policy = container.terminationMessagePolicy if container is not None else ""
    return policy == "FallbackToLogsOnError" and record.exit_code != 0


def _known_health(pod: Pod, container: AnyContainer, record: ContainerRecord) -> Health:
    statuses = (*pod.status.containerStatuses, *pod.status.initContainerStatuses)
    for status in statuses:
        if status.name == container.name and status.containerID.endswith(f"//{record.id}"):
            return first_health(container, was_started=bool(status.started), was_ready=status.ready)
    return first_health(container, was_started=False, was_ready=False)
