"""A container engine that exists only in memory.

Containers start after a delay and run until they are told to end; those whose command is ``sleep SECONDS``, ``true`` or
``false`` end by themselves as that command would. With a seeded `Randomness` a run repeats.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from kubelite.clock import Clock
from kubelite.node.resources import SHARES_PER_CPU
from kubelite.node.runtime import (
    SANDBOX,
    ContainerLimits,
    ContainerNotFound,
    ContainerRecord,
    ContainerSpec,
    Credentials,
    EngineUnavailable,
    Handler,
    Image,
    ImagePullFailed,
    LogEntry,
    LogQuery,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
    SandboxSpec,
    Session,
    StartRefused,
    Usage,
    Version,
)
from kubelite.randomness import Randomness

EVENTS_LIMIT = 100_000
KILLED = 137
USED_BYTES = 16 << 20  # by a container without a limit
TERMINATED = 143


class Behaviour(Struct, frozen=True):
    """How the simulated engine behaves."""

    start_seconds: tuple[float, float] = (0.05, 0.5)  # how long a start takes: from, to
    pull_seconds: tuple[float, float] = (0.1, 2.0)
    start_failures: float = 0.0  # which part of the starts fails, 0 to 1
    crashes: float = 0.0  # which part of the containers ends by itself with an error
    crash_seconds: tuple[float, float] = (1.0, 60.0)  # how long those run
    ignores_termination: float = 0.0  # which part of the containers has to be killed
    run_seconds: tuple[float, float] | None = (
        None  # after which a container ends; None: as its command says
    )
    exit_code: int = 0  # of those that end so


class SimulatedRuntime:
    """A container engine in memory."""

    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        behaviour: Behaviour | None = None,
        handlers: tuple[Handler, ...] = (Handler(), Handler("runc")),
        *,
        conduct: Callable[[ContainerSpec], Behaviour | None] = lambda _: None,
        is_missing: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`conduct` returns how a container behaves, None: as all do; `is_missing` whether an image cannot be had."""
        self._conduct = conduct
        self._is_missing = is_missing
        self._handlers = handlers
        self._clock = clock
        self._randomness = randomness
        self._behaviour = behaviour or Behaviour()
        self._records: dict[str, ContainerRecord] = {}
        self._specs: dict[str, ContainerSpec] = {}
        self._images: dict[str, Image] = {}
        self._missing: set[str] = set()
        self._queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue(EVENTS_LIMIT)
        self._available = asyncio.Event()
        self._available.set()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # For tests and demonstrations.

    def end(self, container_id: str, exit_code: int = 0, *, oom_killed: bool = False) -> None:
        """Let a container's process end."""
        record = self._records.get(container_id)
        if record is None or not record.is_running:
            return
        self._cancel_timer(container_id)
        self._set(
            msgspec.structs.replace(
                record,
                phase="exited",
                exit_code=exit_code,
                oom_killed=oom_killed,
                finished_at=self._clock.now(),
                pid=0,
            )
        )

    def forbid_image(self, reference: str) -> None:
        """Let every pull of an image fail."""
        self._missing.add(reference)

    def behave(self, behaviour: Behaviour) -> None:
        """Behave otherwise from now on; what was planned for containers that run stays."""
        self._behaviour = behaviour

    def all_records(self) -> list[ContainerRecord]:
        """Return all containers, also while the engine does not answer."""
        return list(self._records.values())

    def spec(self, container_id: str) -> ContainerSpec:
        """Return the spec of a container."""
        return self._specs[container_id]

    def go_away(self) -> None:
        """Stop answering; containers go on."""
        self._available.clear()
        self._queue.put_nowait(None)

    def come_back(self) -> None:
        """End `go_away`: calls succeed again."""
        self._available.set()

    def crash(self) -> None:
        """End all containers at once, as a power failure does."""
        for container_id in list(self._records):
            self.end(container_id, KILLED)

    # ContainerRuntime

    async def version(self) -> Version:
        """Return which engine answers."""
        self._check()
        return Version("simulated", "1.0")

    async def handlers(self) -> tuple[Handler, ...]:
        """Return the handlers it was given."""
        self._check()
        return self._handlers

    async def images(self) -> list[Image]:
        """Return the images on the node."""
        self._check()
        return list(self._images.values())

    async def image(self, reference: str) -> Image | None:
        """Return an image that is on the node by name, digest or id."""
        self._check()
        found = self._images.get(reference)
        if found is None:
            found = next((i for i in self._images.values() if i.id == reference), None)
        return found

    async def pull(self, reference: str, credentials: Credentials | None) -> Image:
        """Fetch an image after a delay."""
        self._check()
        await self._take_time(self._behaviour.pull_seconds)
        if reference in self._missing or self._is_missing(reference):
            raise ImagePullFailed(f"manifest for {reference} not found: manifest unknown")
        del credentials
        digest = f"sha256:{zlib.crc32(reference.encode()):064x}"
        image = Image(digest, (reference,), f"{reference}@{digest}", 10_000_000)
        self._images[reference] = image
        return image

    async def load(self, archive: Path) -> None:
        """Accept any archive, without looking for its file."""
        self._check()
        del archive

    async def tag(self, image_id: str, name: str) -> None:
        """Give an image another name."""
        self._check()
        image = next((i for i in self._images.values() if i.id == image_id), None)
        if image is None:
            raise RuntimeFailure(f"No such image: {image_id}")
        self._images[name] = msgspec.structs.replace(image, names=(*image.names, name))

    async def remove_image(self, image_id: str) -> None:
        """Delete an image."""
        self._check()
        for name in [name for name, image in self._images.items() if image.id == image_id]:
            del self._images[name]

    async def image_folder(self) -> Path | None:
        """Return None: nothing is kept anywhere."""
        return None

    async def run_sandbox(self, spec: SandboxSpec) -> ContainerRecord:
        """Create a sandbox and start it after a delay."""
        self._check()
        self._replace(spec, SANDBOX)
        sandbox_id = self._create(
            ContainerRecord(
                id=self._randomness.token_bytes(32).hex(),
                pod_uid=spec.pod_uid,
                pod_name=spec.pod_name,
                namespace=spec.namespace,
                name=SANDBOX,
                attempt=spec.attempt,
                phase="created",
                created_at=self._clock.now(),
                labels=dict(spec.labels),
            )
        )
        return await self.start(sandbox_id)

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container in a running sandbox."""
        self._check()
        sandbox = self._records.get(spec.sandbox_id)
        if sandbox is None or not sandbox.is_running:
            raise ContainerNotFound(f"failed to find sandbox id {spec.sandbox_id!r}: not found")
        self._replace(spec, spec.name)
        container_id = self._create(
            ContainerRecord(
                id=self._randomness.token_bytes(32).hex(),
                pod_uid=spec.pod_uid,
                pod_name=spec.pod_name,
                namespace=spec.namespace,
                name=spec.name,
                attempt=spec.attempt,
                phase="created",
                created_at=self._clock.now(),
                image=spec.image_name,
                image_id=spec.image,
                labels=dict(spec.labels),
            )
        )
        self._specs[container_id] = spec
        return container_id

    def reductions(self, spec: ContainerSpec) -> tuple[str, ...]:
        """Allow everything."""
        del spec
        return ()

    async def start(self, container_id: str) -> ContainerRecord:
        """Start a container after a delay; some fail, as the behaviour says."""
        self._check()
        behaviour = self._behaviour_of(container_id)
        await self._take_time(behaviour.start_seconds)
        self._check()
        record = self._records.get(container_id)
        if record is None:
            raise ContainerNotFound(f"No such container: {container_id}")
        now = self._clock.now()
        if not record.is_sandbox and self._happens(behaviour.start_failures):
            failed = msgspec.structs.replace(
                record,
                phase="exited",
                exit_code=128,
                error="simulated failure",
                started_at=now,
                finished_at=now,
            )
            self._set(failed)
            raise StartRefused("simulated failure")
        pid = 1000 + len(self._records)
        running = msgspec.structs.replace(record, phase="running", started_at=now, pid=pid)
        self._set(running)
        self._plan_end(running, behaviour)
        return running

    def _behaviour_of(self, container_id: str) -> Behaviour:
        spec = self._specs.get(container_id)
        return (self._conduct(spec) if spec is not None else None) or self._behaviour

    async def signal(self, container_id: str, signal: str) -> None:
        """End a container; one that ignores termination must be killed."""
        self._check()
        if signal == "SIGKILL":
            self.end(container_id, KILLED)
        elif not self._happens(self._behaviour.ignores_termination):
            self.end(container_id, TERMINATED)

    async def remove(self, container_id: str) -> None:
        """Forget a container."""
        self._check()
        self._forget(container_id)

    def _forget(self, container_id: str) -> None:
        self._cancel_timer(container_id)
        self._specs.pop(container_id, None)
        if self._records.pop(container_id, None) is not None:
            self._queue.put_nowait(RuntimeEvent(container_id, None))

    async def update(self, container_id: str, limits: ContainerLimits) -> None:
        """Accept new limits."""
        self._check()
        del container_id, limits

    async def limit_pod(
        self, sandbox: ContainerRecord, limits: ContainerLimits, class_shares: int
    ) -> None:
        """Accept limits of a pod."""
        self._check()
        del sandbox, limits, class_shares

    async def records(self) -> list[ContainerRecord]:
        """Return all containers."""
        self._check()
        return list(self._records.values())

    async def inspect(self, container_id: str) -> ContainerRecord | None:
        """Return one container."""
        self._check()
        return self._records.get(container_id)

    async def events(self) -> AsyncGenerator[RuntimeEvent | Resynced, None]:
        """Yield all containers and then every change; ends when the engine goes away."""
        await self._available.wait()
        self._queue = asyncio.Queue(EVENTS_LIMIT)
        yield Resynced(tuple(self._records.values()))
        while (event := await self._queue.get()) is not None:
            yield event

    async def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool
    ) -> Session:
        """Refuse: nothing runs here."""
        del container_id, command, tty, stdin
        raise RuntimeFailure("simulated containers execute nothing")

    async def attach(self, container_id: str, *, tty: bool, stdin: bool) -> Session:
        """Refuse: nothing runs here."""
        del container_id, tty, stdin
        raise RuntimeFailure("simulated containers have no streams")

    async def logs(self, container_id: str, query: LogQuery) -> AsyncGenerator[LogEntry, None]:
        """Yield nothing: nothing was written."""
        self._check()
        del query
        if container_id not in self._records:
            raise ContainerNotFound(f"No such container: {container_id}")
        nothing: tuple[LogEntry, ...] = ()
        for entry in nothing:
            yield entry

    async def rotate_log(self, container_id: str) -> None:
        """Do nothing: nothing was written."""
        del container_id

    async def usage(self, record: ContainerRecord) -> Usage | None:
        """Return half of the CPU that a container asks for, since its start, and memory in proportion."""
        spec = self._specs.get(record.id)
        if spec is None or not record.is_running or record.started_at is None:
            return None
        now = self._clock.now()
        cores = spec.limits.cpu_shares / SHARES_PER_CPU / 2
        used = round((now - record.started_at).total_seconds() * cores * 1e9)
        memory = spec.limits.memory_bytes // 2 or USED_BYTES
        return Usage(
            at=now,
            cpu_core_nanoseconds=max(used, 0),
            memory_usage_bytes=memory,
            memory_working_set_bytes=memory,
            memory_rss_bytes=memory,
            processes=1,
            memory_limit_bytes=spec.limits.memory_bytes,
            moment_seconds=asyncio.get_running_loop().time(),
        )

    async def close(self) -> None:
        """Cancel the planned ends of containers."""
        for container_id in list(self._timers):
            self._cancel_timer(container_id)

    def _check(self) -> None:
        if not self._available.is_set():
            raise EngineUnavailable("the simulated engine is away")

    def _happens(self, part: float) -> bool:
        return part > 0 and self._randomness.uniform(0, 1) < part

    async def _take_time(self, seconds: tuple[float, float]) -> None:
        delay = self._randomness.uniform(*seconds)
        if delay > 0:
            await asyncio.sleep(delay)

    def _replace(self, spec: SandboxSpec | ContainerSpec, name: str) -> None:
        """Remove what an earlier call for the same container and attempt left. Raises RuntimeFailure if that runs."""
        wanted = (spec.pod_uid, name, spec.attempt)
        for record in list(self._records.values()):
            if (record.pod_uid, record.name, record.attempt) == wanted:
                if record.is_running:
                    raise RuntimeFailure(f"name is already in use by container {record.id}")
                self._forget(record.id)

    def _create(self, record: ContainerRecord) -> str:
        self._set(record)
        return record.id

    def _set(self, record: ContainerRecord) -> None:
        self._records[record.id] = record
        if self._available.is_set():
            self._queue.put_nowait(RuntimeEvent(record.id, record))

    def _cancel_timer(self, container_id: str) -> None:
        timer = self._timers.pop(container_id, None)
        if timer is not None:
            timer.cancel()

    def _plan_end(self, record: ContainerRecord, behaviour: Behaviour) -> None:
        """Set the time at which a container will end by itself, if it will."""
        spec = self._specs.get(record.id)
        if spec is None:
            return
        planned = end_of(spec)
        if behaviour.run_seconds is not None:
            planned = self._randomness.uniform(*behaviour.run_seconds), behaviour.exit_code
        if planned is None and self._happens(behaviour.crashes):
            planned = self._randomness.uniform(*behaviour.crash_seconds), 1
        if planned is not None:
            loop = asyncio.get_running_loop()
            self._timers[record.id] = loop.call_later(planned[0], self.end, record.id, planned[1])


def end_of(spec: ContainerSpec) -> tuple[float, int] | None:
    """Return after how many seconds a command ends and with which code, or None if it does not."""
    match (*spec.command, *spec.args):
        case ("sleep", seconds) if seconds.replace(".", "", 1).isdecimal():
            return float(seconds), 0
        case ("true",):
            return 0.0, 0
        case ("false",):
            return 0.0, 1
        case _:
            return None
