"""Decides what network policies let through to and from the pods of a node. Pure.

Pods that the same policies select share a chain. A chain returns what it allows and drops the rest; a packet has to
pass that of its sender and that of its receiver. Packets that the node itself sends are not filtered.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Literal

import msgspec
from msgspec import Struct

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from kubelite.api.machinery.selectors import Selector, label_selector
from kubelite.limits import POLICY_RULES
from kubelite.net.families import IPV4, Family
from kubelite.net.intervals import (
    Interval,
    interval_text,
    merged,
    number_text,
    of_network,
    without,
)
from kubelite.net.ruleset import (
    EGRESS_PODS,
    INGRESS_PODS,
    ProxySettings,
    Ruleset,
    interval_set,
)
from kubelite.net.ruleset_builder import RulesetBuilder
from kubelite.net.trusted_text import AddressText, address_text, endpoint_text, is_port, range_of

Direction = Literal["ingress", "egress"]
PODS: Mapping[Direction, str] = {"ingress": INGRESS_PODS, "egress": EGRESS_PODS}
PROTOCOLS = {"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
ENDED = ("Succeeded", "Failed")
ALL_PORTS = (0, 65535)
LINES_A_RULE = 32  # pairs of peer and port up to which each pair has a line
STEPS_AT_ONCE = 200  # comparisons of a pod or policy with a selector: less than half a millisecond
STEP_COST_BYTES = 8  # what the offload counts for a pod or a policy
ENTRY_COST_BYTES = 40  # and for a peer or port of one: its pods are found by their labels


class Pace:
    """Counts the steps of long work in a thread, and lets the loop's thread go on after every `STEPS_AT_ONCE`.

    Of its own accord Python does so only after 5 ms, each time the loop has waited for the kernel.
    """

    def __init__(self, rest: Callable[[], None] = lambda: time.sleep(0)) -> None:
        self._rest = rest
        self._left = STEPS_AT_ONCE

    def step(self) -> None:
        """Count a step."""
        self._left -= 1
        if self._left <= 0:
            self._left = STEPS_AT_ONCE
            self._rest()


class Member(Struct, frozen=True):
    """A pod as the policies of one family see it."""

    namespace: str
    labels: Mapping[str, str]
    address: AddressText
    is_local: bool = False
    named_ports: tuple[tuple[str, str, int], ...] = ()  # name, protocol, number


def members(
    pods: Iterable[Pod],
    node_name: str,
    attached: Mapping[str, Sequence[str]],
    family: Family = IPV4,
    pace: Pace | None = None,
) -> list[Member]:
    """Return the pods of the cluster that have an address of a family.

    `attached` has the addresses, by pod uid, that are connected to this node: before a status tells of them, and for as
    long as anything can run at them, whatever the status says.
    """
    found, pace = [], pace or Pace()
    for pod in pods:
        pace.step()
        connected = attached.get(pod.metadata.uid, ())
        told = (pod.status.podIP, *(one.ip for one in pod.status.podIPs))
        address = _first_address(connected or told, family)
        if pod.spec.hostNetwork or address is None:
            continue
        if pod.status.phase in ENDED and not connected:
            continue
        ports = tuple(
            (port.name, PROTOCOLS.get(port.protocol, ""), port.containerPort)
            for container in (*pod.spec.initContainers, *pod.spec.containers)
            for port in container.ports
            if port.name and is_port(port.containerPort)
        )
        is_local = bool(connected) or pod.spec.nodeName == node_name
        metadata = pod.metadata
        found.append(Member(metadata.namespace, metadata.labels, address, is_local, ports))
    return found


def _first_address(texts: Iterable[str], family: Family) -> AddressText | None:
    return next(filter(None, (endpoint_text(text, family) for text in texts)), None)


def isolation(addresses: Iterable[str]) -> Ruleset:
    """Return the rules that drop new connections to and from addresses whose pods are unknown."""
    rules = RulesetBuilder()
    for address in addresses:
        for collection in PODS.values():
            rules.element(collection, address, "drop")
    return rules.build()


def dns_members(settings: ProxySettings) -> list[Member]:
    """Return the node's own DNS server as the pod that policies know it as."""
    return [
        Member("kube-system", {"k8s-app": "kube-dns"}, address, False, ports)
        for text in settings.local_addresses
        if (address := address_text(text, settings.family)) is not None
        for ports in ((("dns", "udp", 53), ("dns-tcp", "tcp", 53)),)
    ]


def cost_bytes(policies: Sequence[NetworkPolicy], pods: int) -> int:
    """Return the cost of computing the rules of all policies, in bytes for the offload."""
    entries = 0
    for policy in policies:
        for inward in policy.spec.ingress:
            entries += 1 + len(inward.from_) + len(inward.ports)
        for outward in policy.spec.egress:
            entries += 1 + len(outward.to) + len(outward.ports)
    return STEP_COST_BYTES * (pods + len(policies)) + ENTRY_COST_BYTES * entries


def policy_rules(
    policies: Sequence[NetworkPolicy],
    pods: Sequence[Member],
    namespaces: Mapping[str, Mapping[str, str]],
    family: Family = IPV4,
    pace: Pace | None = None,
) -> Ruleset:
    """Return the rules of all policies in one family for the local ones of `pods`; `namespaces` are labels by name.

    Peers and ports beyond the limit are not allowed: it fails closed. `pace` counts the steps.
    """
    rules, pace = RulesetBuilder(), pace or Pace()
    chains = _Chains(rules, pods, namespaces, family, pace)
    places: dict[str, _Place] = defaultdict(_Place)
    for number, policy in enumerate(policies):
        pace.step()
        places[policy.metadata.namespace].add(number, policy)
    for pod in pods:
        if not pod.is_local or pod.namespace not in places:
            continue
        selecting = places[pod.namespace].selecting(pod, pace)
        for direction in PODS:
            governing = [policy for policy in selecting if _governs(policy, direction)]
            if governing:
                chain = chains.of(governing, direction)
                rules.element(PODS[direction], pod.address, f"jump {chain}")
    return rules.build()


class _Place:
    """The policies of a namespace, by the first label that they ask of a pod: few of many are compared with it."""

    def __init__(self) -> None:
        self._by_pair: dict[tuple[str, str] | None, list[tuple[int, NetworkPolicy, Selector]]] = (
            defaultdict(list)
        )

    def add(self, number: int, policy: NetworkPolicy) -> None:
        """Add a policy; `number` is its place in the order of all."""
        asked = policy.spec.podSelector
        pair = next(iter(asked.matchLabels.items()), None)
        self._by_pair[pair].append((number, policy, _selector(policy.spec.podSelector)))

    def selecting(self, pod: Member, pace: Pace) -> list[NetworkPolicy]:
        """Return the policies that select a pod, in order."""
        found = []
        for pair in (None, *pod.labels.items()):
            for number, policy, selector in self._by_pair.get(pair, ()):
                pace.step()
                if selector.matches(pod.labels):
                    found.append((number, policy))
        return [policy for _, policy in sorted(found, key=lambda one: one[0])]


def _governs(policy: NetworkPolicy, direction: Direction) -> bool:
    types = policy.spec.policyTypes
    if not types:
        return direction == "ingress" or bool(policy.spec.egress)
    return direction.capitalize() in types


class _Chains:
    """Adds chains and the sets they use, each once, within the limits."""

    def __init__(
        self,
        rules: RulesetBuilder,
        pods: Sequence[Member],
        namespaces: Mapping[str, Mapping[str, str]],
        family: Family,
        pace: Pace,
    ) -> None:
        self._rules = rules
        self._pace = pace
        self._family = family
        self._ip = family.keyword
        self._pods = pods
        self._namespaces = namespaces
        self._peers: dict[str, list[Member]] = {}
        self._room = POLICY_RULES.value
        self._selected: dict[bytes, list[str]] = {}  # namespaces by selector
        self._by_namespace: dict[str, list[Member]] = defaultdict(list)
        self._by_pair: dict[tuple[str, str, str], list[Member]] = defaultdict(list)
        for pod in pods:
            pace.step()
            self._by_namespace[pod.namespace].append(pod)
            for key, value in pod.labels.items():
                self._by_pair[pod.namespace, key, value].append(pod)

    def of(self, policies: Sequence[NetworkPolicy], direction: Direction) -> str:
        """Return the chain for pods which exactly `policies` select."""
        namespace = policies[0].metadata.namespace
        names = sorted(policy.metadata.name for policy in policies)
        name = f"{direction}/{_digest([namespace, *names])}"
        if not self._rules.has_chain(name):
            lines: dict[str, None] = {}
            for policy in policies:
                for line in self._lines(policy, direction):
                    if line not in lines and self._has_room(policy):
                        lines[line] = None
            self._rules.chain(name, (*lines, "drop"))
        return name

    def _has_room(self, policy: NetworkPolicy) -> bool:
        """Reserve room for a line or an element; a policy without room is recorded as cut."""
        self._pace.step()
        if self._room > 0:
            self._room -= 1
            return True
        key = f"{policy.metadata.namespace}/{policy.metadata.name}"
        if self._rules.cut(key):
            POLICY_RULES.reached()
        return False

    def _lines(self, policy: NetworkPolicy, direction: Direction) -> Iterable[str]:
        if direction == "ingress":
            entries = [(rule.from_, rule.ports) for rule in policy.spec.ingress]
        else:
            entries = [(rule.to, rule.ports) for rule in policy.spec.egress]
        for peers, ports in entries:
            if _is_large(peers, ports):
                yield from self._joined_lines(policy, direction, peers, ports)
                continue
            # an empty list means all
            for peer, port in product(peers or (None,), ports or (None,)):
                words = self._match(policy, direction, peer, port)
                if words is not None:
                    yield " ".join([*words, "return"])

    def _joined_lines(
        self,
        policy: NetworkPolicy,
        direction: Direction,
        peers: Sequence[NetworkPolicyPeer],
        ports: Sequence[NetworkPolicyPort],
    ) -> Iterable[str]:
        """Write peers and ports as sets: a line for each pair would be as many as their product."""
        side = "saddr" if direction == "ingress" else "daddr"
        sources: list[tuple[list[str], Sequence[Member]]] = []
        if not peers:
            sources.append(([], self._targets(policy, direction, None)))
        intervals = merged(
            interval
            for peer in peers
            if peer.ipBlock
            for interval in _intervals(peer.ipBlock, self._family)
        )
        if intervals:
            words = []
            if intervals != self._family.all_addresses:
                texts = (interval_text(one, self._family) for one in intervals)
                name, declaration = interval_set("blocks", self._family.address_type, texts)
                self._rules.declare(name, declaration)
                words = [f"{self._ip} {side} @{name}"]
            sources.append((words, self._targets(policy, direction, None)))
        selectors = [peer for peer in peers if peer.ipBlock is None]
        if selectors:
            chosen = self._union(policy, selectors)
            name = self._address_set(policy, selectors, chosen)
            own = chosen if direction == "egress" else self._targets(policy, direction, None)
            sources.append(([f"{self._ip} {side} @{name}"], own))
        for words, targets in sources:
            for port_words in self._joined_ports(policy, targets, ports):
                yield " ".join([*words, *port_words, "return"])

    def _joined_ports(
        self,
        policy: NetworkPolicy,
        targets: Sequence[Member],
        ports: Sequence[NetworkPolicyPort],
    ) -> Iterable[list[str]]:
        if not ports:
            yield []
        numbers: dict[str, list[Interval]] = defaultdict(list)
        names: dict[str, set[str]] = defaultdict(set)
        for port in ports:
            protocol = PROTOCOLS.get(port.protocol or "")
            if protocol is None:
                continue
            if isinstance(port.port, str):
                names[protocol].add(port.port)
            elif port.port is None:
                numbers[protocol].append(ALL_PORTS)
            elif (
                is_port(port.port)
                and port.port <= (end := port.endPort or port.port) <= ALL_PORTS[1]
            ):
                numbers[protocol].append((port.port, end))
        for protocol, intervals in sorted(numbers.items()):
            joined = merged(intervals)
            if joined == [ALL_PORTS]:
                yield [f"meta l4proto {protocol}"]
                continue
            name, declaration = interval_set("numbers", "inet_service", map(number_text, joined))
            self._rules.declare(name, declaration)
            yield [f"{protocol} dport @{name}"]
        for protocol, wanted in sorted(names.items()):
            places = _places(targets, protocol, wanted)
            yield [
                f"{self._ip} daddr . {protocol} dport @{self._place_set(policy, protocol, places)}"
            ]

    def _match(
        self,
        policy: NetworkPolicy,
        direction: Direction,
        peer: NetworkPolicyPeer | None,
        port: NetworkPolicyPort | None,
    ) -> list[str] | None:
        """Return the match of a packet; None if no packet can match."""
        side = "saddr" if direction == "ingress" else "daddr"
        words: list[str] = []
        if peer is not None and peer.ipBlock is not None:
            block = _block(side, peer.ipBlock, self._family)
            if block is None:
                return None
            words += block
        elif peer is not None:
            words.append(f"{self._ip} {side} @{self._peer_set(policy, peer)}")
        if port is None:
            return words
        protocol = PROTOCOLS.get(port.protocol or "")
        if protocol is None:
            return None
        if isinstance(port.port, str):
            targets = self._targets(policy, direction, peer)
            named = self._port_set(policy, targets, protocol, port.port)
            return [*words, f"{self._ip} daddr . {protocol} dport @{named}"]
        if port.port is None:
            return [*words, f"meta l4proto {protocol}"]
        end = port.endPort or port.port
        if not (is_port(port.port) and is_port(end) and port.port <= end):
            return None
        return [*words, f"{protocol} dport {port.port}" + (f"-{end}" if port.endPort else "")]

    def _targets(
        self, policy: NetworkPolicy, direction: Direction, peer: NetworkPolicyPeer | None
    ) -> Sequence[Member]:
        """Return the pods whose named ports a rule refers to: selected ones for ingress, peers for egress."""
        if direction == "egress":
            if peer is None or peer.ipBlock is not None:
                return self._pods
            return self._chosen(policy.metadata.namespace, peer)
        own = NetworkPolicyPeer(podSelector=policy.spec.podSelector)
        return self._chosen(policy.metadata.namespace, own)

    def _peer_set(self, policy: NetworkPolicy, peer: NetworkPolicyPeer) -> str:
        return self._address_set(policy, [peer], self._chosen(policy.metadata.namespace, peer))

    def _union(self, policy: NetworkPolicy, peers: Sequence[NetworkPolicyPeer]) -> Sequence[Member]:
        chosen = (self._chosen(policy.metadata.namespace, peer) for peer in peers)
        return list({member.address: member for some in chosen for member in some}.values())

    def _address_set(
        self,
        policy: NetworkPolicy,
        peers: Sequence[NetworkPolicyPeer],
        members: Iterable[Member],
    ) -> str:
        digests = sorted({_peer_digest(policy.metadata.namespace, peer) for peer in peers})
        name = f"peers/{digests[0] if len(digests) == 1 else _digest(digests)}"
        if self._rules.declare(name, f"type {self._family.address_type};"):
            for member in members:
                if self._has_room(policy):
                    self._rules.element(name, member.address)
        return name

    def _port_set(
        self, policy: NetworkPolicy, targets: Sequence[Member], protocol: str, port_name: str
    ) -> str:
        return self._place_set(policy, protocol, _places(targets, protocol, {port_name}))

    def _place_set(self, policy: NetworkPolicy, protocol: str, places: Sequence[str]) -> str:
        set_name = f"ports/{_digest([protocol, *places])}"
        if self._rules.declare(set_name, f"type {self._family.address_type} . inet_service;"):
            for place in places:
                if self._has_room(policy):
                    self._rules.element(set_name, place)
        return set_name

    def _chosen(self, namespace: str, peer: NetworkPolicyPeer) -> list[Member]:
        key = _peer_digest(namespace, peer)
        found = self._peers.get(key)
        if found is None:
            asked = peer.podSelector or LabelSelector()
            of_pods = _selector(asked)
            found = self._peers[key] = []
            for place in self._namespaces_of(namespace, peer):
                for pod in self._candidates(place, asked):
                    self._pace.step()
                    if of_pods.matches(pod.labels):
                        found.append(pod)
        return found

    def _namespaces_of(self, namespace: str, peer: NetworkPolicyPeer) -> Sequence[str]:
        if peer.namespaceSelector is None:
            return (namespace,)
        key = msgspec.json.encode(peer.namespaceSelector, order="deterministic")
        found = self._selected.get(key)
        if found is None:
            selector = _selector(peer.namespaceSelector)
            found = self._selected[key] = []
            for name in self._by_namespace:
                self._pace.step()
                if selector.matches(self._namespaces.get(name, {})):
                    found.append(name)
        return found

    def _candidates(self, namespace: str, selector: LabelSelector) -> Sequence[Member]:
        """Return a superset of the pods that a selector matches: those with its first label, else the namespace's."""
        for key, value in selector.matchLabels.items():
            return self._by_pair.get((namespace, key, value), ())
        return self._by_namespace.get(namespace, ())


def _is_large(peers: Sequence[NetworkPolicyPeer], ports: Sequence[NetworkPolicyPort]) -> bool:
    """Return whether a line for each pair of peer and port would be too many, or too long."""
    holes = sum(len(peer.ipBlock.except_) for peer in peers if peer.ipBlock is not None)
    return max(1, len(peers)) * max(1, len(ports)) + holes > LINES_A_RULE


def _intervals(block: IPBlock, family: Family) -> list[Interval]:
    """Return the addresses of a block without its exceptions; none for a block of the other family."""
    network = range_of(block.cidr, family)
    if network is None:
        return []
    holes = (range_of(text, family) for text in block.except_)
    return without(of_network(network), [of_network(hole) for hole in holes if hole is not None])


def _places(targets: Iterable[Member], protocol: str, names: AbstractSet[str]) -> list[str]:
    """Return the addresses and numbers of the ports that have one of the names."""
    return sorted(
        {
            f"{member.address} . {number}"
            for member in targets
            for name, its_protocol, number in member.named_ports
            if its_protocol == protocol and name in names
        }
    )


def _selector(selector: LabelSelector | None) -> Selector:
    """Return a compiled selector; an invalid one, which validation should have rejected, matches nothing."""
    try:
        return label_selector(selector, is_stored=True)
    except BadRequest:
        return label_selector(None)


def _block(side: str, block: IPBlock, family: Family) -> list[str] | None:
    network, ip = range_of(block.cidr, family), family.keyword
    if network is None:
        return None
    words = [f"{ip} {side} {network}"]
    # one by one, since nft refuses a set of ranges that overlap
    holes = [range_of(text, family) for text in block.except_]
    words += [f"{ip} {side} != {hole}" for hole in holes if hole is not None]
    return words


def _peer_digest(namespace: str, peer: NetworkPolicyPeer) -> str:
    place = namespace if peer.namespaceSelector is None else ""
    return _digest([place, msgspec.json.encode(peer, order="deterministic").decode()])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
