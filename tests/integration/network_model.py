"""What Kubernetes promises about a connection, from the objects and the topology alone. Pure.

A packet is translated once, at the node where it meets a Service: the sender's for addresses of the cluster and of
load balancers, the owner's for a node's own addresses. Then the policies of its sender's pod, at the sender's node, and
of its receiver's pod, at the receiver's, are asked with the addresses that the packet has there.
"""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network

from msgspec import Struct

from integration.net_probes import LOST, REFUSED, Probe
from integration.net_two_nodes import NODES, OUTSIDE, POD_RANGES, PODS, PORT, Place
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import LabelSelector
from kubelite.api.kinds.networking import NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort

LOOPBACK = ("127.0.0.1", "::1")
UNROUTABLE = (LOST, "Invalid argument")
SERVICE_RANGES = ("10.43.0.0/16", "fd43::/112")
PLACES = {place.name: place for place in (*NODES, *PODS, OUTSIDE)}
POD_PLACES = {place.name: place for place in PODS}


class World(Struct, frozen=True):
    """The objects of a cluster."""

    pods: Sequence[Pod] = ()
    namespaces: Sequence[Namespace] = ()
    services: Sequence[Service] = ()
    slices: Sequence[EndpointSlice] = ()
    policies: Sequence[NetworkPolicy] = ()


class Target(Struct, frozen=True):
    """Where a packet is sent after translation; `keeps_source` False: the receiver sees the node instead."""

    address: str
    port: int
    keeps_source: bool = True


def expected(world: World, source: Place, probe: Probe) -> frozenset[str]:
    """Return the answers that a probe may get: those of `net_probes`, with "?" for an address of any node."""
    version = 1 if ":" in probe.address else 0
    return frozenset(_Packet(world, source, probe, version).answers())


class _Packet:
    def __init__(self, world: World, source: Place, probe: Probe, version: int) -> None:
        self._world = world
        self._source = source
        self._probe = probe
        self._version = version
        self._own = source.addresses[version]

    def answers(self) -> Iterable[str]:
        """Follow the packet from node to node."""
        source, address = self._source, self._probe.address
        seen = self._own
        if address in LOOPBACK:
            return self._loopback_answers()
        owner = _owner(address)
        here = source.node or "left"  # routes of the machine outside lead there
        at = here if source.node or owner is None else PLACES[owner].node
        found = self._translate(at, seen)
        if isinstance(found, str):
            return [found]
        if found is None and owner in ("left", "right") and owner != at:
            # To the other node's own address, as that node's policy and services see it.
            if not self._may_send(address, self._probe.port):
                return [LOST]
            seen = _of(at, self._version) if source.name in POD_PLACES else seen
            found = self._translate(owner, seen)
            if isinstance(found, str):
                return [found]
            if found is None:
                return [self._host(owner)]
            return [self._arrive(owner, seen, target, is_sent=True) for target in found]
        if found is None:
            found = [Target(address, self._probe.port)]
        return [self._arrive(at, seen, target) for target in found]

    def _loopback_answers(self) -> Iterable[str]:
        """Follow a packet from a node to its own loopback; of IPv6 that leads to the node itself only."""
        node = self._source.node
        found = self._translate(node, self._own) if self._version == 0 else None
        if isinstance(found, str):
            return [found]
        if found is None:
            return [self._host(node)]
        # The kernel lets nothing from there out by the links to other nodes.
        there = [target for target in found if PLACES[_owner(target.address) or ""].node != node]
        here = [target for target in found if target not in there]
        return [
            *(self._arrive(node, self._own, target) for target in here),
            *(UNROUTABLE if there else ()),
        ]

    def _host(self, node: str) -> str:
        return f"{node} ?" if self._probe.port == PORT else REFUSED

    def _arrive(self, at: str, seen: str, target: Target, *, is_sent: bool = False) -> str:
        """Return the answer to a packet that is at the node where it was translated."""
        owner, source = _owner(target.address), self._source
        is_own = source.name == owner and source.node == at and source.name in POD_PLACES
        if owner is None and _is_in(target.address, SERVICE_RANGES):
            return REFUSED  # before policies are asked: nobody is there
        if not is_own and not is_sent and not self._may_send(target.address, target.port):
            return LOST
        if owner is None:
            return LOST
        place = PLACES[owner]
        if owner in POD_PLACES and not is_own:
            arrives = seen
            if not target.keeps_source and place.node != at:
                arrives = _of(at, self._version)
            is_node_itself = source.name == place.node == at
            if not is_node_itself and not self._may_receive(place, arrives, target.port):
                return LOST
        if target.port != PORT:
            return REFUSED
        keeps = target.keeps_source and not is_own and source.name not in ("left", "right")
        if owner == at and source.name not in ("left", "right"):
            keeps = True  # what a node takes itself does not leave it, so nobody changes the sender
        elif owner not in POD_PLACES and source.name in POD_PLACES:
            keeps = False  # a pod is known by its node outside of the pod network
        return f"{owner} {seen if keeps else '?'}"

    def _may_send(self, address: str, port: int) -> bool:
        if self._source.name not in POD_PLACES:
            return True
        return _is_let(self._world, self._source, "Egress", address, port, self._probe.protocol)

    def _may_receive(self, place: Place, address: str, port: int) -> bool:
        return _is_let(self._world, place, "Ingress", address, port, self._probe.protocol)

    def _translate(self, node: str, seen: str) -> Sequence[Target] | str | None:
        """Return what a node makes of the packet; None when it is no Service's and no host port's."""
        probe = self._probe
        is_own = probe.address in LOOPBACK or _owner(probe.address) == node
        is_inside = _is_in(seen, POD_RANGES)
        is_from_node = seen == _of(node, self._version)
        for service in self._world.services:
            ingress = [one.ip for one in service.status.loadBalancer.ingress]
            at_node = is_own and _of(node, self._version) in ingress
            for port in service.spec.ports:
                if port.protocol != probe.protocol:
                    continue
                is_cluster = probe.address in service.spec.clusterIPs and port.port == probe.port
                is_balanced = port.port == probe.port and (probe.address in ingress or at_node)
                is_node_port = is_own and port.nodePort == probe.port and port.nodePort
                if not (is_cluster or is_balanced or is_node_port):
                    continue
                every = _endpoints(self._world, service, port, self._version)
                local = _usable([one for one in every if one[2] == node])
                every = _usable(every)
                if is_cluster:
                    is_local = service.spec.internalTrafficPolicy == "Local"
                    return _chosen(every, local, is_local, keeps_source=is_inside)
                is_local = service.spec.externalTrafficPolicy == "Local"
                ranges = service.spec.loadBalancerSourceRanges
                own = [text for text in ranges if (":" in text) == bool(self._version)]
                if is_balanced and own and not _is_in(seen, own) and every:
                    return LOST
                if is_local and (is_inside or is_from_node):
                    return _chosen(every, local, False, keeps_source=is_inside)
                return _chosen(every, local, is_local, keeps_source=is_local)
        balancers = (s.status.loadBalancer.ingress for s in self._world.services)
        if not _owner(probe.address) and any(
            probe.address == b.ip for some in balancers for b in some
        ):
            return REFUSED  # a load balancer's other ports
        return self._host_port(node) if is_own else None

    def _host_port(self, node: str) -> Sequence[Target] | None:
        for pod in self._world.pods:
            for port in pod.spec.containers[0].ports:
                if (
                    pod.spec.nodeName == node
                    and port.hostPort == self._probe.port
                    and port.protocol == self._probe.protocol
                ):
                    address = POD_PLACES[pod.metadata.name].addresses[self._version]
                    return [Target(address, port.containerPort)]
        return None


def _chosen(
    every: Sequence[tuple[str, int, str, bool]],
    local: Sequence[tuple[str, int, str, bool]],
    is_local: bool,
    *,
    keeps_source: bool,
) -> Sequence[Target] | str:
    if not every:
        return REFUSED
    found = local if is_local else every
    return [Target(one[0], one[1], keeps_source) for one in found] or LOST


def _endpoints(
    world: World, service: Service, port: ServicePort, version: int
) -> list[tuple[str, int, str, bool]]:
    """Return address, port, node and readiness of the endpoints of a port that can be used at all."""
    return [
        (
            endpoint.addresses[0],
            number.port or 0,
            endpoint.nodeName or "",
            endpoint.conditions.ready is not False,
        )
        for entry in world.slices
        if entry.metadata.labels["kubernetes.io/service-name"] == service.metadata.name
        and entry.addressType == ("IPv6" if version else "IPv4")
        for number in entry.ports
        if (number.name or "") == port.name and number.protocol == port.protocol
        for endpoint in entry.endpoints
        if endpoint.conditions.ready is not False
        or (endpoint.conditions.serving and endpoint.conditions.terminating)
    ]


def _usable(found: list[tuple[str, int, str, bool]]) -> list[tuple[str, int, str, bool]]:
    return [one for one in found if one[3]] or found


def _is_let(
    world: World, place: Place, direction: str, other: str, port: int, protocol: str
) -> bool:
    """Return whether the policies of a pod let a new connection from or to `other` pass."""
    pod = _pod_of(world, place.name)
    selecting = [
        policy
        for policy in world.policies
        if pod is not None
        and direction in policy.spec.policyTypes
        and policy.metadata.namespace == pod.metadata.namespace
        and _selects(policy.spec.podSelector, pod.metadata.labels)
    ]
    if not selecting:
        return True
    receiver = pod if direction == "Ingress" else _pod_at(world, other)
    for policy in selecting:
        rules: list[tuple[Sequence[NetworkPolicyPeer], Sequence[NetworkPolicyPort]]]
        if direction == "Ingress":
            rules = [(rule.from_, rule.ports) for rule in policy.spec.ingress]
        else:
            rules = [(rule.to, rule.ports) for rule in policy.spec.egress]
        for peers, ports in rules:
            if peers and not any(_is_peer(world, policy, peer, other) for peer in peers):
                continue
            if not ports or any(_is_port(one, port, protocol, receiver) for one in ports):
                return True
    return False


def _is_peer(world: World, policy: NetworkPolicy, peer: NetworkPolicyPeer, other: str) -> bool:
    if peer.ipBlock is not None:
        return _is_in(other, [peer.ipBlock.cidr]) and not _is_in(other, peer.ipBlock.except_)
    pod = _pod_at(world, other)
    if pod is None:
        return False
    if peer.namespaceSelector is None:
        is_there = pod.metadata.namespace == policy.metadata.namespace
    else:
        labels = next(
            n.metadata.labels for n in world.namespaces if n.metadata.name == pod.metadata.namespace
        )
        is_there = _selects(peer.namespaceSelector, labels)
    return is_there and (
        peer.podSelector is None or _selects(peer.podSelector, pod.metadata.labels)
    )


def _is_port(wanted: NetworkPolicyPort, port: int, protocol: str, receiver: Pod | None) -> bool:
    if (wanted.protocol or "TCP") != protocol:
        return False
    if isinstance(wanted.port, str):
        return receiver is not None and any(
            one.name == wanted.port and one.containerPort == port and one.protocol == protocol
            for one in receiver.spec.containers[0].ports
        )
    if wanted.port is None:
        return True
    return wanted.port <= port <= (wanted.endPort or wanted.port)


def _selects(selector: LabelSelector | None, labels: dict[str, str]) -> bool:
    return selector is not None and all(
        labels.get(key) == value for key, value in selector.matchLabels.items()
    )


def _pod_of(world: World, name: str) -> Pod | None:
    return next((pod for pod in world.pods if pod.metadata.name == name), None)


def _pod_at(world: World, address: str) -> Pod | None:
    owner = _owner(address)
    return _pod_of(world, owner) if owner is not None else None


def _owner(address: str) -> str | None:
    return next((one.name for one in PLACES.values() if address in one.addresses), None)


def _of(node: str, version: int) -> str:
    return PLACES[node].addresses[version]


def _is_in(address: str, ranges: Iterable[str]) -> bool:
    return any(ip_address(address) in ip_network(text) for text in ranges)
