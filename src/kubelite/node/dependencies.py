"""The dependencies that are injected into the node agent, and those that its actions on pods share."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from msgspec import Struct

from kubelite.api.client.events import EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.pods import Pod
from kubelite.backoff import backoff_seconds
from kubelite.clock import Clock
from kubelite.node.devices.protocol import NoDevices, PodDevices
from kubelite.node.environment import Surroundings
from kubelite.node.images.records import PullRecords
from kubelite.node.images.settings import ImageSettings
from kubelite.node.live_node import LiveNode
from kubelite.node.log_links import NoLogs, PodLogs
from kubelite.node.log_policy import DeadContainerPolicy
from kubelite.node.network import PodNetwork
from kubelite.node.pod_config import PodConfig
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import AnyContainer
from kubelite.node.probes import Prober, ProbeTarget
from kubelite.node.runtime import ContainerRecord, ContainerRuntime, IdRange
from kubelite.node.sysctls import SysctlAllowList
from kubelite.node.user_namespaces import ALL_IDS, UserNamespaces
from kubelite.node.volumes.host import PodVolumes
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
STARTS_AT_ONCE = 8  # engines get slower, not faster, beyond a few


class NodeFacts(Struct, frozen=True):
    """The properties of the node that its pods depend on, as found at the start of the agent."""

    name: str
    addresses: tuple[str, ...]
    allocatable: Mapping[str, str]
    memory_bytes: int = 0
    labels: Mapping[str, str] = {}
    cluster_domain: str = "cluster.local"
    sysctls: SysctlAllowList = SysctlAllowList()
    enforces_apparmor: bool = False
    recursive_read_only: bool = False
    pod_ids: IdRange = ALL_IDS  # for user namespaces of pods
    dead_containers: DeadContainerPolicy = DeadContainerPolicy()


class Collaborators(Struct, frozen=True):
    """The injected dependencies of the node agent."""

    client: Client
    runtime: ContainerRuntime
    network: PodNetwork
    volumes: PodVolumes
    prober: Prober
    clock: Clock
    events: EventRecorder
    logs: PodLogs = NoLogs()
    images: ImageSettings = ImageSettings()
    pull_records: PullRecords | None = None  # None: what is pulled is forgotten with the process
    devices: PodDevices = NoDevices()


class ActionDependencies:
    """The dependencies that all actions on pods share: collaborators, facts of the node, one bound on starts.

    `wake` enqueues a pod by uid. `pods` returns the admitted pods, with their allocated resources.
    """

    def __init__(
        self,
        facts: NodeFacts,
        parts: Collaborators,
        tasks: TaskSet,
        wake: Callable[[str], None],
        node: LiveNode,
        pods: Callable[[], Sequence[Pod]],
    ) -> None:
        self.facts = facts  # replaced when the node's addresses change
        self.parts = parts
        self.tasks = tasks
        self.wake = wake
        self.pods = pods
        self.reads = PodConfig(parts.client)
        self.starting = asyncio.Semaphore(STARTS_AT_ONCE)
        self.user_namespaces = UserNamespaces(facts.pod_ids)
        self._node = node
        self._warned: set[str] = set()  # texts that were logged once

    def around(self, memory: PodMemory) -> Surroundings:
        """Return the facts of a pod's addresses and node that its environment and volumes may show."""
        allocatable = self._node.view.allocatable
        return Surroundings(
            memory.addresses, self.facts.addresses, allocatable, memory.volume_images()
        )

    def warn_once(self, text: str) -> None:
        """Log a warning, unless the same text was logged before."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)


def retry_delay(failures: int) -> timedelta:
    """Return the back-off before the next try, after `failures` earlier failures and this one."""
    return timedelta(seconds=backoff_seconds(failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS))


def probe_target(
    memory: PodMemory, pod: Pod, container: AnyContainer, record: ContainerRecord
) -> ProbeTarget:
    """Return a run of a container as probes and hooks reach it, by the pod's first address."""
    address = memory.addresses[0] if memory.addresses else "127.0.0.1"
    return ProbeTarget(pod, container, record.id, address)
