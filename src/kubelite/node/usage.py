"""What a node, its pods and their containers use at one time, and how that is found out: measurements.

Nothing is measured while nobody asks. The first who asks waits for two measurements, FIRST_WINDOW_SECONDS apart, so
that there is a rate; from then on all who ask share one measurement for SHARED_SECONDS, and rates are over the
WINDOW_SECONDS before it. When nobody has asked for WATCHED_SECONDS, measuring rests and what was measured is dropped.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from kubelite.clock import Clock
from kubelite.node.pod_memory import PodMemory
from kubelite.node.runtime import (
    ContainerRecord,
    ContainerRuntime,
    EngineUnavailable,
    RuntimeFailure,
    Usage,
)
from kubelite.node.usage_files import Filesystem, GroupFiles, Interface, read_filesystem
from kubelite.tasks import TaskSet

WINDOW_SECONDS = 15.0
FIRST_WINDOW_SECONDS = 1.0
SHARED_SECONDS = 5.0
WATCHED_SECONDS = 120.0
ENGINE_SECONDS = 1.0
PAIR = 2  # measurements that make a rate
SIMULATED_SYSTEM_CPU = (
    50_000_000  # nanoseconds of a core per second that a simulated node itself uses
)
SIMULATED_SYSTEM_BYTES = 256 << 20


class ContainerUsage(Struct, frozen=True):
    """A running container and what it uses."""

    record: ContainerRecord
    usage: Usage


class PodUsage(Struct, frozen=True):
    """A pod and what it uses."""

    uid: str
    namespace: str
    name: str
    start_time: str
    containers: tuple[ContainerUsage, ...] = ()
    usage: Usage | None = None  # of the whole pod
    interfaces: tuple[Interface, ...] = ()  # none of a pod on the host's network


class Measurement(Struct, frozen=True):
    """What was found at one time."""

    at: datetime
    machine: Usage | None
    pods: tuple[PodUsage, ...]
    memory_bytes: int = 0  # of the machine
    filesystem: Filesystem | None = None
    processes: tuple[int, int] = (0, 0)  # how many there may be, how many there are
    image_filesystem: Filesystem | None = None


class Measured(Struct, frozen=True):
    """The newest measurement and an earlier one, if there is one, by which rates are known."""

    newest: Measurement
    earlier: Measurement | None = None

    def rates(self) -> Mapping[str, int]:
        """Return nanoseconds of a core per second, by container id, pod uid, or "" for the machine."""
        if self.earlier is None:
            return {}
        before = dict(_usages(self.earlier))
        found = {}
        for key, usage in _usages(self.newest):
            old = before.get(key)
            rate = None if old is None else rate_between(old, usage)
            if rate is not None:
                found[key] = rate
        return found


def _usages(measurement: Measurement) -> Iterable[tuple[str, Usage]]:
    if measurement.machine is not None:
        yield "", measurement.machine
    for pod in measurement.pods:
        if pod.usage is not None:
            yield pod.uid, pod.usage
        for container in pod.containers:
            yield container.record.id, container.usage


def rate_between(before: Usage, after: Usage) -> int | None:
    """Return nanoseconds of a core per second; None if no time passed, or a counter began anew."""
    seconds = after.moment_seconds - before.moment_seconds
    used = after.cpu_core_nanoseconds - before.cpu_core_nanoseconds
    return round(used / seconds) if seconds > 0 and used >= 0 else None


Measure = Callable[[Iterable[PodMemory]], Awaitable[Measurement]]


class Sampler:
    """Measures while somebody asks."""

    def __init__(self, measure: Callable[[], Awaitable[Measurement]]) -> None:
        self._measure = measure
        self._tasks = TaskSet()
        self._taken: list[tuple[float, Measurement]] = []  # by the loop's time, the oldest first
        self._taking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._asked = 0.0  # by the loop's time

    @property
    def is_resting(self) -> bool:
        """Whether nothing is measured because nobody asks."""
        return self._watching is None

    async def newest(self) -> Measurement:
        """Return a measurement that is at most SHARED_SECONDS old."""
        loop = asyncio.get_running_loop()
        self._asked = loop.time()
        if self._taken and self._asked - self._taken[-1][0] < SHARED_SECONDS:
            return self._taken[-1][1]
        await self._take()
        if self.is_resting:
            self._watching = self._tasks.start(self._watch(), name="usage of pods")
        return self._taken[-1][1]

    async def measured(self) -> Measured:
        """Return a measurement, and an earlier one for rates, for which the first who asks waits."""
        newest = await self.newest()
        if len(self._taken) < PAIR:
            await asyncio.sleep(FIRST_WINDOW_SECONDS)
            if len(self._taken) < PAIR:
                await self._take()
            newest = self._taken[-1][1]
        return Measured(newest, self._taken[0][1] if len(self._taken) > 1 else None)

    async def stop(self) -> None:
        """Stop measuring."""
        await self._tasks.stop()

    async def _take(self) -> None:
        """Measure once, together with all who want that now; who leaves does not end it for the others."""
        if self._taking is None:
            self._taking = self._tasks.start(self._measure_once(), name="measure usage")
        await asyncio.shield(self._taking)

    async def _measure_once(self) -> None:
        try:
            at = asyncio.get_running_loop().time()
            measurement = await self._measure()
            self._taken.append((at, measurement))
            while len(self._taken) > PAIR and at - self._taken[0][0] > WINDOW_SECONDS:
                del self._taken[0]
        finally:
            self._taking = None

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(FIRST_WINDOW_SECONDS)
            while loop.time() - self._asked < WATCHED_SECONDS:
                if loop.time() - self._taken[-1][0] >= FIRST_WINDOW_SECONDS:
                    await self._take()
                await asyncio.sleep(WINDOW_SECONDS)
        finally:
            self._watching = None
            self._taken.clear()


def running(memory: PodMemory) -> Iterable[ContainerRecord]:
    """Return the running containers of a pod without its sandbox, the newest of each name."""
    newest: dict[str, ContainerRecord] = {}
    for record in memory.records.values():
        if record.is_running and not record.is_sandbox:
            known = newest.get(record.name)
            if known is None or known.attempt <= record.attempt:
                newest[record.name] = record
    return newest.values()


def total(usages: Iterable[Usage]) -> Usage | None:
    """Return the sum of the usage of containers; None of none."""
    listed = list(usages)
    if not listed:
        return None
    return Usage(
        at=max(usage.at for usage in listed),
        cpu_core_nanoseconds=sum(usage.cpu_core_nanoseconds for usage in listed),
        memory_usage_bytes=sum(usage.memory_usage_bytes for usage in listed),
        memory_working_set_bytes=sum(usage.memory_working_set_bytes for usage in listed),
        memory_rss_bytes=sum(usage.memory_rss_bytes for usage in listed),
        memory_page_faults=sum(usage.memory_page_faults for usage in listed),
        memory_major_page_faults=sum(usage.memory_major_page_faults for usage in listed),
        processes=sum(usage.processes for usage in listed),
        swap_bytes=sum(usage.swap_bytes for usage in listed),
        moment_seconds=max(usage.moment_seconds for usage in listed),
    )


class _Wanted(Struct, frozen=True):
    """A pod to measure, as the loop knew it when measuring began."""

    pod: PodUsage
    sandbox: ContainerRecord | None
    records: tuple[ContainerRecord, ...]
    host_network: bool


def _wanted(memories: Iterable[PodMemory]) -> list[_Wanted]:
    found = []
    for memory in memories:
        pod = memory.current
        if pod is None or memory.gone:
            continue
        meta, started = pod.metadata, pod.status.startTime
        sandboxes = [one for one in memory.records.values() if one.is_sandbox and one.is_running]
        shown = PodUsage(
            meta.uid,
            meta.namespace,
            meta.name,
            str(started or meta.creationTimestamp),
        )
        newest = max(sandboxes, key=lambda one: one.attempt, default=None)
        found.append(_Wanted(shown, newest, tuple(running(memory)), pod.spec.hostNetwork))
    return found


class HostMeasure:
    """Measures the pods of this machine, in a thread, by files of control groups: the engine is not asked."""

    def __init__(
        self,
        clock: Clock,
        data: Path,
        memory_bytes: int,
        image_folder: Callable[[], Awaitable[Path | None]] | None = None,
    ) -> None:
        """`data` is a folder on the node's filesystem; `image_folder` finds one on that of the images."""
        self._clock = clock
        self._data = data
        self._memory_bytes = memory_bytes
        self._find_image_folder = image_folder

    async def __call__(self, memories: Iterable[PodMemory]) -> Measurement:
        """Return what is used now."""
        wanted, images = _wanted(memories), None
        if self._find_image_folder is not None:
            # Nothing else asks the engine here, and one that hangs must not keep the figures back.
            with suppress(EngineUnavailable, RuntimeFailure, TimeoutError):
                async with asyncio.timeout(ENGINE_SECONDS):
                    images = await self._find_image_folder()
        return await asyncio.to_thread(self._read, wanted, images)

    def _read(self, wanted: Iterable[_Wanted], images: Path | None) -> Measurement:
        files = GroupFiles()
        return Measurement(
            at=self._clock.now(),
            machine=files.machine(self._clock.now()),
            pods=tuple(self._pod(files, one) for one in wanted),
            memory_bytes=self._memory_bytes,
            filesystem=read_filesystem(self._data),
            image_filesystem=None if images is None else read_filesystem(images),
            processes=files.processes(),
        )

    def _pod(self, files: GroupFiles, wanted: _Wanted) -> PodUsage:
        pod, sandbox, at = wanted.pod, wanted.sandbox, self._clock.now()
        containers = []
        for record in wanted.records:
            usage = files.container(files.groups(record.pid), record.id, at)
            if usage is not None:
                containers.append(ContainerUsage(record, usage))
        whole = total(one.usage for one in containers)
        interfaces: tuple[Interface, ...] = ()
        if sandbox is not None:
            groups = files.groups(sandbox.pid)
            whole = files.pod(groups, sandbox.id, pod.uid, at) or whole
            # A number that is another process's by now would show that one's network.
            is_its_own = files.container(groups, sandbox.id, at) is not None
            if is_its_own and not wanted.host_network:
                interfaces = files.interfaces(sandbox.pid)
        return PodUsage(
            pod.uid, pod.namespace, pod.name, pod.start_time, tuple(containers), whole, interfaces
        )


class RuntimeMeasure:
    """Measures by what a container runtime says, for simulated nodes."""

    def __init__(self, runtime: ContainerRuntime, clock: Clock, memory_bytes: int) -> None:
        self._runtime = runtime
        self._clock = clock
        self._memory_bytes = memory_bytes

    async def __call__(self, memories: Iterable[PodMemory]) -> Measurement:
        """Return what is used now."""
        pods = []
        for wanted in _wanted(memories):
            pod, containers = wanted.pod, []
            for record in wanted.records:
                usage = await self._runtime.usage(record)
                if usage is not None:
                    containers.append(ContainerUsage(record, usage))
            whole = total(one.usage for one in containers)
            pods.append(
                PodUsage(pod.uid, pod.namespace, pod.name, pod.start_time, tuple(containers), whole)
            )
        at, moment = self._clock.now(), asyncio.get_running_loop().time()
        own = Usage(
            at=at,
            cpu_core_nanoseconds=round(moment * SIMULATED_SYSTEM_CPU),
            memory_usage_bytes=SIMULATED_SYSTEM_BYTES,
            memory_working_set_bytes=SIMULATED_SYSTEM_BYTES,
            moment_seconds=moment,
        )
        whole = total([own, *(pod.usage for pod in pods if pod.usage is not None)])
        return Measurement(at, whole, tuple(pods), self._memory_bytes)
