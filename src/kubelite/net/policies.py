"""Decides what network policies let through to and from the pods of a node. Pure.

Pods that the same policies select share a chain. A chain returns what it allows and drops the rest; a packet has to
pass that of its sender and that of its receiver. What the node itself sends is not asked about.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
from kubelite.net.ruleset import ProxySettings, Ruleset
from kubelite.net.trusted_text import ipv4_range, is_endpoint

Direction = Literal["ingress", "egress"]
PROTOCOLS = {"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}
ENDED = ("Succeeded", "Failed")


class Member(Struct, frozen=True):
    """A pod as policies see it."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    is_local: bool = False
    named_ports: tuple[tuple[str, str, int], ...] = ()  # name, protocol, number


def members(pods: Iterable[Pod], node_name: str, attached: Mapping[str, str]) -> list[Member]:
    """Return the pods of the cluster that have an address.

    `attached` has the addresses, by pod uid, that are connected to this node: before a status tells of them, and for as
    long as anything can run at them, whatever the status says.
    """
    found = []
    for pod in pods:
        connected = attached.get(pod.metadata.uid, "")
        address = connected or pod.status.podIP
        if pod.spec.hostNetwork or not is_endpoint(address):
            continue
        if pod.status.phase in ENDED and not connected:
            continue
        ports = tuple(
            (port.name, PROTOCOLS.get(port.protocol, ""), port.containerPort)
            for container in (*pod.spec.initContainers, *pod.spec.containers)
            for port in container.ports
            if port.name
        )
        is_local = bool(connected) or pod.spec.nodeName == node_name
        metadata = pod.metadata
        found.append(Member(metadata.namespace, metadata.labels, address, is_local, ports))
    return found


def isolation(addresses: Iterable[str]) -> Ruleset:
    """Return the rules that let nothing new to or from addresses whose pods are not known."""
    rules = Ruleset()
    for address in addresses:
        for direction in ("ingress", "egress"):
            rules.elements[f"{direction}-pods", address] = "drop"
    return rules


def dns_members(settings: ProxySettings) -> list[Member]:
    """Return the node's own DNS server as the pod that policies know it as."""
    return [
        Member("kube-system", {"k8s-app": "kube-dns"}, address, False, ports)
        for address in settings.local_addresses
        for ports in ((("dns", "udp", 53), ("dns-tcp", "tcp", 53)),)
    ]


def policy_rules(
    policies: Sequence[NetworkPolicy],
    pods: Sequence[Member],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Ruleset:
    """Return the rules of all policies for the local ones of `pods`; `namespaces` are labels by name."""
    rules = Ruleset()
    builder = _Builder(rules, pods, namespaces)
    selectors = [(policy, _selector(policy.spec.podSelector)) for policy in policies]
    directions: tuple[Direction, ...] = ("ingress", "egress")
    for pod in pods:
        if not pod.is_local:
            continue
        for direction in directions:
            selecting = [
                policy
                for policy, selector in selectors
                if policy.metadata.namespace == pod.namespace
                and _governs(policy, direction)
                and selector.matches(pod.labels)
            ]
            if selecting:
                chain = builder.chain(selecting, direction)
                rules.elements[f"{direction}-pods", pod.address] = f"jump {chain}"
    return rules


def _governs(policy: NetworkPolicy, direction: Direction) -> bool:
    types = policy.spec.policyTypes
    if not types:
        return direction == "ingress" or bool(policy.spec.egress)
    return direction.capitalize() in types


class _Builder:
    """Adds chains and the sets they use, each once."""

    def __init__(
        self,
        rules: Ruleset,
        pods: Sequence[Member],
        namespaces: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._rules = rules
        self._pods = pods
        self._namespaces = namespaces
        self._peers: dict[str, list[Member]] = {}

    def chain(self, policies: Sequence[NetworkPolicy], direction: Direction) -> str:
        """Return the chain for pods which exactly `policies` select."""
        namespace = policies[0].metadata.namespace
        names = sorted(policy.metadata.name for policy in policies)
        name = f"{direction}/{_digest([namespace, *names])}"
        if name not in self._rules.chains:
            lines: dict[str, None] = {}
            for policy in policies:
                lines |= dict.fromkeys(self._lines(policy, direction))
            self._rules.chains[name] = (*lines, "drop")
        return name

    def _lines(self, policy: NetworkPolicy, direction: Direction) -> Iterable[str]:
        if direction == "ingress":
            entries = [(rule.from_, rule.ports) for rule in policy.spec.ingress]
        else:
            entries = [(rule.to, rule.ports) for rule in policy.spec.egress]
        for peers, ports in entries:
            # an empty list means all
            for peer, port in product(peers or (None,), ports or (None,)):
                words = self._match(policy, direction, peer, port)
                if words is not None:
                    yield " ".join([*words, "return"])

    def _match(
        self,
        policy: NetworkPolicy,
        direction: Direction,
        peer: NetworkPolicyPeer | None,
        port: NetworkPolicyPort | None,
    ) -> list[str] | None:
        """Return what a packet must be like; None when none can be like that."""
        side = "saddr" if direction == "ingress" else "daddr"
        words: list[str] = []
        if peer is not None and peer.ipBlock is not None:
            block = _block(side, peer.ipBlock)
            if block is None:
                return None
            words += block
        elif peer is not None:
            words.append(f"ip {side} @{self._peer_set(policy.metadata.namespace, peer)}")
        if port is None:
            return words
        protocol = PROTOCOLS.get(port.protocol or "")
        if protocol is None:
            return None
        if isinstance(port.port, str):
            targets = self._targets(policy, direction, peer)
            named = self._port_set(targets, protocol, port.port)
            return [*words, f"ip daddr . {protocol} dport @{named}"]
        if port.port is None:
            return [*words, f"meta l4proto {protocol}"]
        last = f"-{port.endPort}" if port.endPort else ""
        return [*words, f"{protocol} dport {port.port}{last}"]

    def _targets(
        self, policy: NetworkPolicy, direction: Direction, peer: NetworkPolicyPeer | None
    ) -> Sequence[Member]:
        """Return the pods whose port names a rule means: those it protects, or those it allows to be reached."""
        if direction == "egress":
            if peer is None or peer.ipBlock is not None:
                return self._pods
            return self._chosen(policy.metadata.namespace, peer)
        own = NetworkPolicyPeer(podSelector=policy.spec.podSelector)
        return self._chosen(policy.metadata.namespace, own)

    def _peer_set(self, namespace: str, peer: NetworkPolicyPeer) -> str:
        name = f"peers/{_peer_digest(namespace, peer)}"
        if name not in self._rules.sets:
            self._rules.sets[name] = "type ipv4_addr;"
            for member in self._chosen(namespace, peer):
                self._rules.elements[name, member.address] = ""
        return name

    def _port_set(self, targets: Sequence[Member], protocol: str, port_name: str) -> str:
        places = sorted(
            {
                f"{member.address} . {number}"
                for member in targets
                for name, its_protocol, number in member.named_ports
                if (name, its_protocol) == (port_name, protocol)
            }
        )
        set_name = f"ports/{_digest([protocol, *places])}"
        self._rules.sets[set_name] = "type ipv4_addr . inet_service;"
        self._rules.elements.update({(set_name, place): "" for place in places})
        return set_name

    def _chosen(self, namespace: str, peer: NetworkPolicyPeer) -> list[Member]:
        key = _peer_digest(namespace, peer)
        found = self._peers.get(key)
        if found is None:
            of_pods = _selector(peer.podSelector or LabelSelector())
            of_namespaces = _selector(peer.namespaceSelector)
            found = self._peers[key] = [
                pod
                for pod in self._pods
                if (
                    pod.namespace == namespace
                    if peer.namespaceSelector is None
                    else of_namespaces.matches(self._namespaces.get(pod.namespace, {}))
                )
                and of_pods.matches(pod.labels)
            ]
        return found


def _selector(selector: LabelSelector | None) -> Selector:
    """Return a selector; a wrong one, which the API should let nobody write, matches nothing."""
    try:
        return label_selector(selector)
    except BadRequest:
        return label_selector(None)


def _block(side: str, block: IPBlock) -> list[str] | None:
    network = ipv4_range(block.cidr)
    if network is None:
        return None
    words = [f"ip {side} {network}"]
    # one by one, since nft refuses a set of ranges that overlap
    holes = [ipv4_range(text) for text in block.except_]
    words += [f"ip {side} != {hole}" for hole in holes if hole is not None]
    return words


def _peer_digest(namespace: str, peer: NetworkPolicyPeer) -> str:
    place = namespace if peer.namespaceSelector is None else ""
    return _digest([place, msgspec.json.encode(peer, order="deterministic").decode()])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
