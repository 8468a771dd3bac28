"""The scheduler's picture of the nodes, kept up to date change by change."""

from collections import Counter
from collections.abc import Iterable
from itertools import count

from kubelite.api.kinds.core.nodes import Node
from kubelite.control.scheduler.pod_info import HostPort, PodInfo
from kubelite.control.scheduler.requests import Amounts, add, amounts

_GENERATIONS = count(1)

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, never bound


class NodeInfo:
    """A node with the pods that are, or are about to be, on it."""

    __slots__ = (
        "allocatable",
        "cpu_assumed",
        "generation",
        "images",
        "labels",
        "memory_assumed",
        "name",
        "node",
        "owners",
        "pods",
        "ports",
        "requested",
        "taints",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None  # None: pods were seen before their node
        self.generation = (
            0  # a new number with each change, so that earlier judgements can be told stale
        )
        self.pods: dict[str, PodInfo] = {}
        self.requested: Amounts = {}
        self.cpu_assumed = 0
        self.memory_assumed = 0
        self.ports: set[HostPort] = set()
        self.owners: Counter[str] = Counter()
        self.allocatable: Amounts = {}
        self.labels: dict[str, str] = {}
        self.taints: list[tuple[str, str, str]] = []
        self.images: dict[str, int] = {}

    def set_node(self, node: Node | None) -> None:
        """Take over what the node says."""
        self.generation = next(_GENERATIONS)
        self.node = node
        if node is None:
            return
        self.allocatable = amounts(node.status.allocatable)
        self.labels = node.metadata.labels
        self.taints = [(taint.key, taint.value, taint.effect) for taint in node.spec.taints]
        self.images = {
            name: image.sizeBytes for image in node.status.images for name in image.names
        }

    def add(self, info: PodInfo) -> None:
        """Count a pod."""
        assert info.uid not in self.pods, f"pod {info.key} is counted on {self.name} already"
        self.generation = next(_GENERATIONS)
        self.pods[info.uid] = info
        add(self.requested, info.requests)
        self.cpu_assumed += info.cpu_assumed
        self.memory_assumed += info.memory_assumed
        self.ports.update(info.ports)
        if info.owner:
            self.owners[info.owner] += 1

    def remove(self, uid: str) -> None:
        """Forget a pod."""
        info = self.pods.pop(uid, None)
        if info is None:
            return
        self.generation = next(_GENERATIONS)
        for name, value in info.requests.items():
            self.requested[name] -= value
        self.cpu_assumed -= info.cpu_assumed
        self.memory_assumed -= info.memory_assumed
        if info.ports:
            self.ports = {port for other in self.pods.values() for port in other.ports}
        if info.owner:
            self.owners[info.owner] -= 1

    def copy(self) -> "NodeInfo":
        """Return a copy to try things on."""
        other = NodeInfo(self.name)
        for name in NodeInfo.__slots__:
            value = getattr(self, name)
            copied = value.copy() if isinstance(value, (dict, set, Counter)) else value
            setattr(other, name, copied)
        return other

    def conflicts(self, ports: Iterable[HostPort]) -> bool:
        """Tell whether one of the host ports is taken; the wildcard address meets all."""
        for address, protocol, port in ports:
            for other_address, other_protocol, other_port in self.ports:
                if (
                    port == other_port
                    and protocol == other_protocol
                    and (address == other_address or ANY_ADDRESS in (address, other_address))
                ):
                    return True
        return False


class Snapshot:
    """All nodes, and the pods on them that have something to say about others."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.with_anti_affinity: dict[str, tuple[PodInfo, NodeInfo]] = {}
        self.with_affinity: dict[str, tuple[PodInfo, NodeInfo]] = {}
        self.nominated: dict[
            str, dict[str, PodInfo]
        ] = {}  # by node: who waits for others to leave it
        self._placed: dict[str, str] = {}
        self._ready: list[NodeInfo] | None = None

    def known(self) -> list[NodeInfo]:
        """Return the nodes that exist, in a fixed order."""
        if self._ready is None:
            self._ready = [self.nodes[name] for name in sorted(self.nodes) if self.nodes[name].node]
        return self._ready

    def set_node(self, node: Node) -> None:
        """Add or change a node."""
        self._info(node.metadata.name).set_node(node)
        self._ready = None

    def remove_node(self, name: str) -> None:
        """Forget a node; its pods stay counted until they are gone."""
        info = self.nodes.get(name)
        if info is None:
            return
        info.set_node(None)
        if not info.pods:
            del self.nodes[name]
        self._ready = None

    def nominate(self, info: PodInfo, node: str) -> None:
        """Hold room on a node for a pod that made others leave it."""
        self.forget_nominee(info.uid)
        self.nominated.setdefault(node, {})[info.uid] = info

    def forget_nominee(self, uid: str) -> None:
        """Hold room for a pod no longer."""
        for node, waiting in list(self.nominated.items()):
            if waiting.pop(uid, None) is not None and not waiting:
                del self.nominated[node]

    def with_nominees(self, info: PodInfo, node: NodeInfo) -> NodeInfo:
        """Return the node with those on it for whom room is held and who are no less important than `info`."""
        waiting = [
            other
            for other in self.nominated.get(node.name, {}).values()
            if other.uid != info.uid
            and other.priority >= info.priority
            and other.uid not in node.pods
        ]
        if not waiting:
            return node
        fuller = node.copy()
        for other in waiting:
            fuller.add(other)
        return fuller

    def trial(self, node: NodeInfo) -> "Snapshot":
        """Return a picture in which `node` stands for the one of its name, to try things on."""
        other = Snapshot()
        other.nodes = {**self.nodes, node.name: node}
        other.nominated = self.nominated
        for mine, theirs in (
            (self.with_anti_affinity, other.with_anti_affinity),
            (self.with_affinity, other.with_affinity),
        ):
            for uid, (info, where) in mine.items():
                if where.name != node.name or uid in node.pods:
                    theirs[uid] = (info, other.nodes[where.name])
        return other

    def node_of(self, uid: str) -> str:
        """Return where a pod is counted, or nothing."""
        return self._placed.get(uid, "")

    def find(self, uid: str) -> PodInfo | None:
        """Return a pod that is counted on a node."""
        node = self._placed.get(uid)
        return self.nodes[node].pods.get(uid) if node else None

    def place(self, info: PodInfo, node: str) -> None:
        """Count a pod on a node, instead of where and how it was counted before."""
        self.remove(info.uid)
        target = self._info(node)
        target.add(info)
        self._placed[info.uid] = node
        if info.anti_affinity:
            self.with_anti_affinity[info.uid] = (info, target)
        if info.has_affinity:
            self.with_affinity[info.uid] = (info, target)

    def remove(self, uid: str) -> None:
        """Forget a pod."""
        name = self._placed.pop(uid, "")
        if not name:
            return
        self.with_anti_affinity.pop(uid, None)
        self.with_affinity.pop(uid, None)
        info = self.nodes[name]
        info.remove(uid)
        if info.node is None and not info.pods:
            del self.nodes[name]

    def _info(self, name: str) -> NodeInfo:
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = NodeInfo(name)
        return info
