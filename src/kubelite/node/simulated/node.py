"""Nodes that run the real kubelet on a container engine, network and volumes that exist only in memory.

A simulated node costs a few objects, so that thousands fit into one process: for tests, benchmarks and demonstrations.
"""

import ipaddress
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.scheduling import Taint
from kubelite.api.machinery.local_volumes import STORAGE_PATH
from kubelite.api.machinery.times import format_time
from kubelite.clock import Clock
from kubelite.node import stats
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.devices.protocol import PodDevices
from kubelite.node.eviction.manager import EvictionManager
from kubelite.node.eviction.readings import Readings
from kubelite.node.eviction.reclaim import EndedContainers
from kubelite.node.eviction.thresholds import EvictionSettings
from kubelite.node.kubelet import Kubelet, PodListener, PodSource, StaticSource
from kubelite.node.local_storage import LocalStorage
from kubelite.node.machine import Machine
from kubelite.node.registration import (
    PODS_LIMIT,
    EngineView,
    NodeIdentity,
    NodeRegistration,
    allocatable_of,
    node_labels,
)
from kubelite.node.runtime import ContainerSpec, EngineUnavailable
from kubelite.node.simulated.network import (
    AddressPool,
    SimulatedDevices,
    SimulatedFolders,
    SimulatedNetwork,
    SimulatedProber,
    SimulatedVolumes,
)
from kubelite.node.simulated.runtime import Behaviour, SimulatedRuntime
from kubelite.node.sysctls import allow_list
from kubelite.node.usage import RuntimeMeasure, Sampler
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

STORAGE = Path("/var/lib/kubelite/storage")
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


class SharedPods:
    """The pods of many nodes from one mirror, so that an event is dispatched once and not filtered by every node."""

    def __init__(self, client: Client) -> None:
        self._mirror = client.mirror(Pod)
        self._listeners: dict[str, PodListener] = {}
        self._unsubscribe: Callable[[], None] | None = None

    def node(self, name: str) -> "PodSource":
        """Return the pods of one node."""
        return _SharePods(self, name)

    async def follow(self, name: str, listener: PodListener) -> Callable[[], None]:
        """Call one node's listener with its pods and their changes."""
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
        """Call `listener` with the node's pods and their changes."""
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
        second_network: str = "",
        address: str = "",
        labels: Mapping[str, str] | None = None,
        renew_seconds: float = 10.0,
        pods: PodSource | None = None,
        readings: Readings | None = None,
        eviction: EvictionSettings | None = None,
        static: StaticSource | None = None,
        devices: PodDevices | None = None,
        around: Callable[[Collaborators], Collaborators] | None = None,
        conduct: Callable[[Pod, ContainerSpec], Behaviour] | None = None,
        is_missing: Callable[[str], bool] = lambda _: False,
        network: SimulatedNetwork | None = None,
        taints: tuple[Taint, ...] = (),
        pods_limit: int = PODS_LIMIT,
    ) -> None:
        """Pods are evicted only if there are `readings` to do so by.

        `around` may put something between the agent and its dependencies, at each start. `conduct` returns how a
        container of a pod behaves, if not all behave as `behaviour` says; `is_missing` whether an image cannot be had.
        """
        number = zlib.crc32(name.encode())
        self.name = name
        self._conduct = conduct
        self.runtime = SimulatedRuntime(
            clock, randomness, behaviour, conduct=self._behaviour, is_missing=is_missing
        )
        self.network = network or SimulatedNetwork(
            pool or AddressPool(skip=number % 250 * 256), second_network
        )
        self.prober = SimulatedProber()
        self.folders = SimulatedFolders(STORAGE)
        self._client = client
        self._clock = clock
        self._randomness = randomness
        self._machine = machine
        self._renew_seconds = renew_seconds
        self.enforces_apparmor = True  # read at the start of the agent
        self.recursive_read_only = False  # likewise
        self._pods = pods
        self._readings = readings
        self._eviction_settings = eviction or EvictionSettings()
        self.eviction: EvictionManager | None = None
        self._static = static
        self._devices = devices or SimulatedDevices()
        self._around = around
        address = address or str(ipaddress.IPv4Address((10 << 24) + 1 + number % 0xFFFFFE))
        self._identity = NodeIdentity(
            name,
            (address,),
            10250,
            labels or {},
            taints,
            annotations={STORAGE_PATH: str(STORAGE)},
            pods_limit=pods_limit,
        )
        self._tasks: TaskSet | None = None
        self._events: EventRecorder | None = None
        self.kubelet: Kubelet | None = None
        self.registration: NodeRegistration | None = None
        self._sampler: Sampler | None = None

    @property
    def is_running(self) -> bool:
        """Whether the node agent runs."""
        return self._tasks is not None

    def _behaviour(self, spec: ContainerSpec) -> Behaviour | None:
        """Return how a container behaves; None for one whose pod is not known any more."""
        if self._conduct is None or self.kubelet is None:
            return None
        memory = self.kubelet.memories.get(spec.pod_uid)
        pod = memory.pod if memory is not None else None
        return self._conduct(pod, spec) if pod is not None else None

    def move(self, address: str) -> None:
        """Give the node another address."""
        self._identity = msgspec.structs.replace(self._identity, addresses=(address,))
        if self.registration is not None and self.kubelet is not None:
            self.registration.move((address,))
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
        local = LocalStorage(self.name, self._client, self.folders, events, in_thread=False)
        parts = Collaborators(
            self._client,
            self.runtime,
            self.network,
            SimulatedVolumes(self._client, local),
            self.prober,
            self._clock,
            events,
            devices=self._devices,
        )
        if self._around is not None:
            parts = self._around(parts)
        facts = NodeFacts(
            self.name,
            self._identity.addresses,
            allocatable_of(self._machine, self._identity.pods_limit),
            self._machine.memory_bytes,
            node_labels(self._identity, self._machine),
            sysctls=allow_list(self._machine.kernel),
            enforces_apparmor=self.enforces_apparmor,
            recursive_read_only=self.recursive_read_only,
        )
        kubelet = self.kubelet = Kubelet(facts, parts, self._pods, self._static)
        registration = self.registration = NodeRegistration(
            self._identity,
            self._machine,
            self._client,
            self._clock,
            self._engine_view,
            renew_seconds=self._renew_seconds,
        )
        kubelet.on_engine_change = registration.wake
        if self._readings is not None:
            self._evict_by(self._readings, kubelet, registration, events)
        measure = RuntimeMeasure(self.runtime, self._clock, self._machine.memory_bytes)
        self._sampler = Sampler(lambda: measure(kubelet.memories.values()))
        self._tasks.supervise(registration.run, name=f"registration of {self.name}")
        self._tasks.supervise(kubelet.run, name=f"kubelet of {self.name}")
        self._tasks.supervise(local.run, name=f"local storage of {self.name}")

    def _evict_by(
        self,
        readings: Readings,
        kubelet: Kubelet,
        registration: NodeRegistration,
        events: EventRecorder,
    ) -> None:
        assert self._tasks is not None
        manager = EvictionManager(
            self._eviction_settings,
            self.name,
            kubelet.workers,
            readings,
            events,
            containers=EndedContainers(kubelet.workers),
        )
        self.eviction = manager
        kubelet.workers.admission_checks.append(manager.refusal)
        registration.pressure = lambda: manager.conditions
        manager.on_change = registration.wake
        self._tasks.supervise(manager.run, name=f"eviction of {self.name}")

    async def stop(self) -> None:
        """Stop the node agent; containers go on."""
        if self._tasks is not None:
            await self._tasks.stop()
            self._tasks = None
        if self._sampler is not None:
            await self._sampler.stop()
        if self._events is not None:
            await self._events.close()

    async def crash(self) -> None:
        """Stop the node agent and end all containers."""
        await self.stop()
        self.runtime.crash()

    async def summary(self) -> bytes:
        """Return the body of the node's /stats/summary; raises ServiceUnavailable while the agent does not run."""
        if self._sampler is None or not self.is_running:
            raise ServiceUnavailable(f"error trying to reach service: {self.name} does not run")
        measured = await self._sampler.measured()
        started = format_time(measured.newest.at)
        shown = stats.summary(self.name, started, measured, only_cpu_and_memory=True)
        return msgspec.json.encode(shown)

    async def _engine_view(self) -> EngineView:
        assert self.kubelet is not None
        try:
            version = await self.runtime.version()
            images = tuple(await self.runtime.images())
            handlers = await self.runtime.handlers()
        except EngineUnavailable as error:
            return EngineView(error=str(error))
        return EngineView(self.kubelet.engine_error, version, images, handlers)
