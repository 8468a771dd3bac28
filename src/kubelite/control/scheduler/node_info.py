"""The scheduler's snapshot of the nodes, updated change by change."""

from collections import Counter
from collections.abc import Iterable
from itertools import count

from kubelite.api.kinds.core.nodes import Node
from kubelite.control.scheduler.pod_info import HostPort, PodInfo, Term
from kubelite.control.scheduler.requests import Amounts, add, amounts

_GENERATIONS = count(1)

ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, never bound


class NodeInfo:
    """A node with its pods, bound or assumed, and the sums over them."""

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
        "ports",  # addresses by protocol and port
        "requested",
        "taints",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.node: Node | None = None  # None: pods arrived before their node, or outlive it
        self.generation = (
            0  # a new number with each change, so that earlier judgements can be told stale
        )
        self.pods: dict[str, PodInfo] = {}
        self.requested: Amounts = {}
        self.cpu_assumed = 0
        self.memory_assumed = 0
        self.ports: dict[tuple[str, int], Counter[str]] = {}
        self.owners: Counter[str] = Counter()
        self.allocatable: Amounts = {}
        self.labels: dict[str, str] = {}
        self.taints: list[tuple[str, str, str]] = []
        self.images: dict[str, int] = {}

    def set_node(self, node: Node | None) -> None:
        """Set allocatable, labels, taints and images from a node; None: it was deleted."""
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
        """Add a pod and its requests."""
        assert info.uid not in self.pods, f"pod {info.key} is counted on {self.name} already"
        self.generation = next(_GENERATIONS)
        self.pods[info.uid] = info
        add(self.requested, info.requests)
        self.cpu_assumed += info.cpu_assumed
        self.memory_assumed += info.memory_assumed
        for address, protocol, port in info.ports:
            self.ports.setdefault((protocol, port), Counter())[address] += 1
        if info.owner:
            self.owners[info.owner] += 1

    def remove(self, uid: str) -> None:
        """Remove a pod and its requests."""
        info = self.pods.pop(uid, None)
        if info is None:
            return
        self.generation = next(_GENERATIONS)
        for name, value in info.requests.items():
            self.requested[name] -= value
        self.cpu_assumed -= info.cpu_assumed
        self.memory_assumed -= info.memory_assumed
        for address, protocol, port in info.ports:
            addresses = self.ports[protocol, port]
            addresses[address] -= 1
            if not addresses[address]:
                del addresses[address]
            if not addresses:
                del self.ports[protocol, port]
        if info.owner:
            self.owners[info.owner] -= 1

    def copy(self) -> "NodeInfo":
        """Return a copy that can be changed, for a trial."""
        other = NodeInfo(self.name)
        for name in NodeInfo.__slots__:
            value = getattr(self, name)
            copied = value.copy() if isinstance(value, dict) else value
            setattr(other, name, copied)
        other.ports = {place: addresses.copy() for place, addresses in self.ports.items()}
        return other

    def conflicts(self, ports: Iterable[HostPort]) -> bool:
        """Return whether one of the host ports is taken; the wildcard address meets all."""
        for address, protocol, port in ports:
            taken = self.ports.get((protocol, port))
            if taken and (address == ANY_ADDRESS or address in taken or ANY_ADDRESS in taken):
                return True
        return False


class Speakers:
    """Pods on nodes with (anti-)affinity terms, by the namespaces their terms name."""

    def __init__(self) -> None:
        # "" holds the pods whose terms select namespaces by labels.
        self._by_namespace: dict[str, dict[str, tuple[PodInfo, NodeInfo]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_namespace)

    def about(self, namespace: str) -> list[tuple[PodInfo, NodeInfo]]:
        """Return the pods with a term that may match pods of a namespace."""
        both = {**self._by_namespace.get("", {}), **self._by_namespace.get(namespace, {})}
        return list(both.values())

    def everyone(self) -> dict[str, tuple[PodInfo, NodeInfo]]:
        """Return all pods with a term, by uid."""
        return {uid: one for there in self._by_namespace.values() for uid, one in there.items()}

    def add(self, info: PodInfo, node: NodeInfo, terms: Iterable[Term]) -> None:
        """Add a pod under the namespaces of `terms`."""
        for namespace in _namespaces(terms):
            self._by_namespace.setdefault(namespace, {})[info.uid] = info, node

    def discard(self, info: PodInfo, terms: Iterable[Term]) -> None:
        """Remove a pod; `terms` are those it was added with."""
        for namespace in _namespaces(terms):
            there = self._by_namespace.get(namespace, {})
            there.pop(info.uid, None)
            if not there:
                self._by_namespace.pop(namespace, None)


def _namespaces(terms: Iterable[Term]) -> set[str]:
    """Return the namespaces that terms name, and "" if one selects namespaces by labels."""
    found: set[str] = set()
    for term in terms:
        found |= term.namespaces
        if term.selects_namespaces:
            found.add("")
    return found


class Snapshot:
    """All nodes, their pods by uid, and indexes of those with affinity terms and claims."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeInfo] = {}
        self.with_anti_affinity = Speakers()
        self.with_affinity = Speakers()
        self.claims: dict[tuple[str, str], set[str]] = {}  # uids of pods on nodes by claim
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
        """Remove a node; its pods stay placed until they are deleted."""
        info = self.nodes.get(name)
        if info is None:
            return
        info.set_node(None)
        if not info.pods:
            del self.nodes[name]
        self._ready = None

    def nominate(self, info: PodInfo, node: str) -> None:
        """Nominate a node for a pod that preempted others there: its requests count for pods of lower priority."""
        self.forget_nominee(info.uid)
        self.nominated.setdefault(node, {})[info.uid] = info

    def nomination_of(self, uid: str) -> str:
        """Return the name of the node nominated for a pod, "" if none."""
        return next((node for node, waiting in self.nominated.items() if uid in waiting), "")

    def update_nominee(self, info: PodInfo) -> None:
        """Replace a nominated pod by what it is now, if it is nominated."""
        if node := self.nomination_of(info.uid):
            self.nominated[node][info.uid] = info

    def forget_nominee(self, uid: str) -> str:
        """Drop the nomination of a pod; return the name of the node, "" if it had none."""
        node = self.nomination_of(uid)
        if node:
            del self.nominated[node][uid]
            if not self.nominated[node]:
                del self.nominated[node]
        return node

    def with_nominees(self, info: PodInfo, node: NodeInfo) -> NodeInfo:
        """Return the node with the pods nominated for it that have at least the priority of `info`."""
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
        """Return a snapshot with `node` in place of the one of its name, for filters; it must not be changed."""
        other = Snapshot()
        other.nodes = {**self.nodes, node.name: node}
        other.nominated = self.nominated
        other.claims = self.claims
        for uid, (info, where) in self.with_affinity.everyone().items():
            if where.name != node.name or uid in node.pods:
                other.hear(info, other.nodes[where.name])
        return other

    def hear(self, info: PodInfo, node: NodeInfo) -> None:
        """Index the (anti-)affinity terms of a pod on a node."""
        if info.anti_affinity:
            self.with_anti_affinity.add(info, node, info.anti_affinity)
        if info.has_affinity:
            self.with_affinity.add(info, node, info.terms)

    def node_of(self, uid: str) -> str:
        """Return the name of the node a pod is placed on, "" if none."""
        return self._placed.get(uid, "")

    def find(self, uid: str) -> PodInfo | None:
        """Return a placed pod, None if it is on no node."""
        node = self._placed.get(uid)
        return self.nodes[node].pods.get(uid) if node else None

    def place(self, info: PodInfo, node: str) -> None:
        """Place a pod on a node, bound or assumed; replaces an earlier placement."""
        self.remove(info.uid)
        target = self._info(node)
        target.add(info)
        self._placed[info.uid] = node
        self.hear(info, target)
        for claim in info.claims:
            self.claims.setdefault((info.namespace, claim), set()).add(info.uid)

    def remove(self, uid: str) -> None:
        """Remove a pod from its node, if it is on one."""
        name = self._placed.pop(uid, "")
        if not name:
            return
        info = self.nodes[name]
        pod = info.pods.get(uid)
        if pod is not None:
            self._unhear(pod)
        info.remove(uid)
        if info.node is None and not info.pods:
            del self.nodes[name]

    def _unhear(self, info: PodInfo) -> None:
        if info.has_affinity:
            self.with_anti_affinity.discard(info, info.anti_affinity)
            self.with_affinity.discard(info, info.terms)
        for claim in info.claims:
            users = self.claims.get((info.namespace, claim))
            if users is not None:
                users.discard(info.uid)
                if not users:
                    del self.claims[info.namespace, claim]

    def _info(self, name: str) -> NodeInfo:
        info = self.nodes.get(name)
        if info is None:
            info = self.nodes[name] = NodeInfo(name)
        return info
