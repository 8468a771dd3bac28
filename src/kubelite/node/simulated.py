"""A container engine, pod network and volumes that exist only in memory, and nodes that run the real kubelet on them.

A simulated node costs a few objects, so that thousands fit into one process: for tests, benchmarks and demonstrations.
Containers start after a delay and run until they are told to end; those whose command is ``sleep SECONDS``, ``true`` or
``false`` end by themselves as that command would. With a seeded `Randomness` a run repeats.
"""

import asyncio
import ipaddress
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.containers import LifecycleHandler, Probe
from kubelite.api.kinds.core.pods import Pod
from kubelite.clock import Clock
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.environment import Surroundings
from kubelite.node.kubelet import Kubelet, PodListener, PodSource
from kubelite.node.machine import Machine
from kubelite.node.network import HostPort
from kubelite.node.pods import AnyContainer
from kubelite.node.probes import Outcome, Target
from kubelite.node.registration import (
    EngineView,
    NodeIdentity,
    NodeRegistration,
    allocatable_of,
    node_labels,
)
from kubelite.node.runtime import (
    SANDBOX,
    ContainerNotFound,
    ContainerRecord,
    ContainerSpec,
    Credentials,
    EngineUnavailable,
    Handler,
    Image,
    ImagePullFailed,
    Limits,
    LogEntry,
    LogQuery,
    Mount,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
    SandboxSpec,
    Session,
    StartRefused,
    Usage,
    Version,
)
from kubelite.node.sysctls import allow_list
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

EVENTS_LIMIT = 100_000
KILLED = 137
TERMINATED = 143
DEFAULT_MACHINE = Machine(
    cpus=4,
    memory_bytes=16 << 30,
    disk_bytes=100 << 30,
    architecture="amd64",
    kernel="6.18.0",
    os_image="Simulated Linux",
    machine_id="0" * 32,
    boot_id="00000000-0000-4000-8000-000000000000",
    system_uuid="00000000-0000-4000-8000-000000000000",
)


class Behaviour(Struct, frozen=True):
    """How the simulated engine behaves."""

    start_seconds: tuple[float, float] = (0.05, 0.5)  # how long a start takes: from, to
    pull_seconds: tuple[float, float] = (0.1, 2.0)
    start_failures: float = 0.0  # which part of the starts fails, 0 to 1
    crashes: float = 0.0  # which part of the containers ends by itself with an error
    crash_seconds: tuple[float, float] = (1.0, 60.0)  # how long those run
    ignores_termination: float = 0.0  # which part of the containers has to be killed


class SimulatedRuntime:
    """A container engine in memory."""

    def __init__(
        self,
        clock: Clock,
        randomness: Randomness,
        behaviour: Behaviour | None = None,
        handlers: tuple[Handler, ...] = (Handler(), Handler("runc")),
    ) -> None:
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

    # What a test or demonstration may do to it.

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
        """Return what a container was made from."""
        return self._specs[container_id]

    def go_away(self) -> None:
        """Stop answering; containers go on."""
        self._available.clear()
        self._queue.put_nowait(None)

    def come_back(self) -> None:
        """Answer again."""
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
        if reference in self._missing:
            raise ImagePullFailed(f"manifest for {reference} not found: manifest unknown")
        del credentials
        digest = f"sha256:{zlib.crc32(reference.encode()):064x}"
        image = Image(digest, (reference,), f"{reference}@{digest}", 10_000_000)
        self._images[reference] = image
        return image

    async def load(self, archive: bytes) -> None:
        """Accept any archive."""
        self._check()
        del archive

    async def remove_image(self, image_id: str) -> None:
        """Delete an image."""
        self._check()
        for name in [name for name, image in self._images.items() if image.id == image_id]:
            del self._images[name]

    async def create_sandbox(self, spec: SandboxSpec) -> str:
        """Create a sandbox."""
        self._check()
        return self._create(
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

    async def create(self, spec: ContainerSpec) -> str:
        """Create a container."""
        self._check()
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
        await self._take_time(self._behaviour.start_seconds)
        self._check()
        record = self._records.get(container_id)
        if record is None:
            raise ContainerNotFound(f"No such container: {container_id}")
        now = self._clock.now()
        if not record.is_sandbox and self._happens(self._behaviour.start_failures):
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
        self._plan_end(running)
        return running

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
        self._cancel_timer(container_id)
        self._specs.pop(container_id, None)
        if self._records.pop(container_id, None) is not None:
            self._queue.put_nowait(RuntimeEvent(container_id, None))

    async def update(self, container_id: str, limits: Limits) -> None:
        """Accept new limits."""
        self._check()
        del container_id, limits

    async def limit_pod(self, sandbox: ContainerRecord, limits: Limits, class_shares: int) -> None:
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

    async def usage(self, record: ContainerRecord) -> Usage | None:
        """Return that nothing is used."""
        del record
        return None

    async def close(self) -> None:
        """Cancel what would happen later."""
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

    def _plan_end(self, record: ContainerRecord) -> None:
        """Set the time at which a container will end by itself, if it will."""
        spec = self._specs.get(record.id)
        if spec is None:
            return
        planned = _end_of(spec)
        if planned is None and self._happens(self._behaviour.crashes):
            planned = self._randomness.uniform(*self._behaviour.crash_seconds), 1
        if planned is not None:
            loop = asyncio.get_running_loop()
            self._timers[record.id] = loop.call_later(planned[0], self.end, record.id, planned[1])


def _end_of(spec: ContainerSpec) -> tuple[float, int] | None:
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


class AddressPool:
    """Addresses of a network, handed out in order; shared by the nodes of a simulated cluster."""

    def __init__(self, network: str = "10.42.0.0/16", skip: int = 0) -> None:
        self._hosts = ipaddress.ip_network(network)
        self._next = skip
        self._free: list[str] = []

    def take(self) -> str:
        """Return an address that nobody has."""
        if self._free:
            return self._free.pop(0)
        self._next += 1
        assert self._next < self._hosts.num_addresses - 1, "the simulated network is full"
        return str(self._hosts[self._next])

    def give_back(self, address: str) -> None:
        """Let an address be taken again."""
        self._free.append(address)


class SimulatedNetwork:
    """Gives addresses and connects nothing."""

    def __init__(self, pool: AddressPool) -> None:
        self._pool = pool
        self.addresses: dict[str, str] = {}  # by pod uid

    async def attach(
        self, pod_uid: str, pod_key: str, pid: int, *, host_ports: Sequence[HostPort] = ()
    ) -> tuple[str, ...]:
        """Return the pod's address."""
        del pod_key, pid, host_ports
        if pod_uid not in self.addresses:
            self.addresses[pod_uid] = self._pool.take()
        return (self.addresses[pod_uid],)

    async def detach(self, pod_uid: str) -> None:
        """Give the pod's address back."""
        address = self.addresses.pop(pod_uid, None)
        if address is not None:
            self._pool.give_back(address)

    async def restore(self, live: Mapping[str, int]) -> None:
        """Give back the addresses of pods that do not live."""
        for pod_uid in [uid for uid in self.addresses if uid not in live]:
            await self.detach(pod_uid)


class SimulatedVolumes:
    """Volumes that hold nothing."""

    changed: Callable[[str], None]

    async def set_up(self, pod: Pod, around: Surroundings) -> datetime | None:
        """Do nothing."""

    async def mounts(
        self,
        pod: Pod,
        container: AnyContainer,
        attempt: int,
        around: Surroundings,
        environment: Mapping[str, str],
    ) -> tuple[Mount, ...]:
        """Return no mounts."""
        del pod, container, attempt, around, environment
        return ()

    async def termination_message(self, pod_uid: str, name: str, attempt: int) -> str:
        """Return nothing."""
        del pod_uid, name, attempt
        return ""

    def rest(self, pod_uid: str) -> None:
        """Do nothing."""

    async def tear_down(self, pod_uid: str) -> None:
        """Do nothing."""

    async def leftovers(self) -> list[str]:
        """Return nothing."""
        return []


class SimulatedProber:
    """Finds every container healthy unless told otherwise."""

    def __init__(self) -> None:
        self.unhealthy: set[str] = set()  # container ids
        self.asked: dict[str, str] = {}  # container id -> the address it was last asked at
        self.engine_error = ""  # why no probe can be carried out

    async def probe(self, target: Target, probe: Probe) -> Outcome:
        """Return what was told."""
        del probe
        if self.engine_error:
            raise EngineUnavailable(self.engine_error)
        self.asked[target.container_id] = target.address
        if target.container_id in self.unhealthy:
            return Outcome(healthy=False, message="simulated failure")
        return Outcome(healthy=True)

    async def hook(self, target: Target, handler: LifecycleHandler) -> Outcome:
        """Run nothing but sleeps."""
        del target
        if handler.sleep is not None:
            await asyncio.sleep(handler.sleep.seconds)
        return Outcome(healthy=True)


class SharedPods:
    """The pods of many nodes from one mirror, so that an event is looked at once and not by every node."""

    def __init__(self, client: Client) -> None:
        self._mirror = client.mirror(Pod)
        self._listeners: dict[str, PodListener] = {}
        self._unsubscribe: Callable[[], None] | None = None

    def node(self, name: str) -> "PodSource":
        """Return the pods of one node."""
        return _SharePods(self, name)

    async def follow(self, name: str, listener: PodListener) -> Callable[[], None]:
        """Tell one node's listener of its pods."""
        await self._mirror.synced()
        if self._unsubscribe is None:
            self._unsubscribe = self._mirror.subscribe(self._changed)
        for pod in self._mirror.list():
            if pod.spec.nodeName == name:
                listener(None, pod)
        self._listeners[name] = listener
        return lambda: self._unfollow(name)

    def _unfollow(self, name: str) -> None:
        self._listeners.pop(name, None)
        if not self._listeners and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _changed(self, before: Pod | None, after: Pod | None) -> None:
        old = before.spec.nodeName if before is not None else ""
        new = after.spec.nodeName if after is not None else ""
        if old == new:
            if (listener := self._listeners.get(new)) is not None:
                listener(before, after)
            return
        # Bound just now, or another pod of that name came on another node.
        if (listener := self._listeners.get(old)) is not None:
            listener(before, None)
        if (listener := self._listeners.get(new)) is not None:
            listener(None, after)


class _SharePods:
    """One node's view of `SharedPods`."""

    def __init__(self, shared: SharedPods, name: str) -> None:
        self._shared = shared
        self._name = name

    async def follow(self, listener: PodListener) -> Callable[[], None]:
        """Tell `listener` of the node's pods."""
        return await self._shared.follow(self._name, listener)


class SimulatedNode:
    """A node of a simulated cluster: the real kubelet and registration over a simulated engine.

    `start` and `stop` are those of the node agent: containers outlive it, as on a real node. `crash` also ends them.
    """

    def __init__(  # noqa: PLR0913 - what may be chosen of a simulated node, all optional and by name
        self,
        name: str,
        client: Client,
        clock: Clock,
        randomness: Randomness,
        *,
        machine: Machine = DEFAULT_MACHINE,
        behaviour: Behaviour | None = None,
        pool: AddressPool | None = None,
        address: str = "",
        labels: Mapping[str, str] | None = None,
        renew_seconds: float = 10.0,
        pods: PodSource | None = None,
    ) -> None:
        number = zlib.crc32(name.encode())
        self.name = name
        self.runtime = SimulatedRuntime(clock, randomness, behaviour)
        self.network = SimulatedNetwork(pool or AddressPool(skip=number % 250 * 256))
        self.prober = SimulatedProber()
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._machine = machine
        self._renew_seconds = renew_seconds
        self.enforces_apparmor = True  # read at the start of the agent
        self._pods = pods
        address = address or str(ipaddress.IPv4Address((10 << 24) + 1 + number % 0xFFFFFE))
        self._identity = NodeIdentity(name, (address,), 10250, labels or {})
        self._tasks: TaskSet | None = None
        self._events: EventRecorder | None = None
        self.kubelet: Kubelet | None = None
        self._registration: NodeRegistration | None = None

    @property
    def is_running(self) -> bool:
        """Whether the node agent runs."""
        return self._tasks is not None

    def move(self, address: str) -> None:
        """Give the node another address."""
        self._identity = msgspec.structs.replace(self._identity, addresses=(address,))
        if self._registration is not None and self.kubelet is not None:
            self._registration.move((address,))
            self.kubelet.move((address,))

    async def start(self, client: Client | None = None) -> None:
        """Start the node agent, through another client than before if one is given."""
        assert self._tasks is None, "a node runs once"
        self._client = client or self._client
        self._tasks = TaskSet()
        events = EventRecorder(
            self._client, self._clock, self._randomness, component="kubelet", host=self.name
        )
        self._events = events
        parts = Collaborators(
            self._client,
            self.runtime,
            self.network,
            SimulatedVolumes(),
            self.prober,
            self._clock,
            events,
        )
        facts = NodeFacts(
            self.name,
            self._identity.addresses,
            allocatable_of(self._machine, self._identity.pods_limit),
            self._machine.memory_bytes,
            node_labels(self._identity, self._machine),
            sysctls=allow_list(self._machine.kernel),
            enforces_apparmor=self.enforces_apparmor,
        )
        kubelet = self.kubelet = Kubelet(facts, parts, self._pods)
        registration = self._registration = NodeRegistration(
            self._identity,
            self._machine,
            self._client,
            self._clock,
            self._engine_view,
            renew_seconds=self._renew_seconds,
        )
        kubelet.on_engine_change = registration.wake
        self._tasks.supervise(registration.run, name=f"registration of {self.name}")
        self._tasks.supervise(kubelet.run, name=f"kubelet of {self.name}")

    async def stop(self) -> None:
        """Stop the node agent; containers go on."""
        if self._tasks is not None:
            await self._tasks.stop()
            self._tasks = None
        if self._events is not None:
            await self._events.close()

    async def crash(self) -> None:
        """Stop the node agent and end all containers."""
        await self.stop()
        self.runtime.crash()

    async def _engine_view(self) -> EngineView:
        assert self.kubelet is not None
        try:
            version = await self.runtime.version()
            images = tuple(await self.runtime.images())
            handlers = await self.runtime.handlers()
        except EngineUnavailable as error:
            return EngineView(error=str(error))
        return EngineView(self.kubelet.engine_error, version, images, handlers)
