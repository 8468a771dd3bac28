"""Decides which addresses Services of type LoadBalancer have, and which node answers for each. Pure.

By default the addresses are the nodes' own, as with k3s: a port is then one Service's on all nodes. The ports that a
Service holds stand in its status, so that what is decided survives restarts, and a port that a Service gains later does
not take it from another. With a pool each Service has an address of its own, and one node answers for it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from ipaddress import IPv4Address, ip_address

from msgspec import Struct

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import LoadBalancerIngress, PortStatus, Service
from kubelite.api.machinery.load_balancing import (
    EXCLUDED,
    VIP,
    addresses_of,
    announcer_of,
)
from kubelite.control.conditions import is_true

Claim = tuple[str, int]  # protocol and port
NO_NODES = ("UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer")
FAILED = "SyncLoadBalancerFailed"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, not bound to


class Host(Struct, frozen=True):
    """A node that may answer for Services."""

    name: str
    address: str
    taken: Mapping[Claim, str] = {}  # host ports of its pods, and the pod: namespace/name


class Outcome(Struct, frozen=True):
    """What is decided for one Service."""

    ingress: tuple[LoadBalancerIngress, ...] = ()
    announcer: str | None = (
        None  # of a pool's address; "": nobody can; None: the address is a node's own
    )
    reason: str = ""  # of a warning; empty: all is well
    message: str = ""
    shadowed: tuple[
        tuple[str, str], ...
    ] = ()  # pods whose host ports come later, and what each is told


class Pool(Struct, frozen=True):
    """Ranges of IPv4 addresses, both ends included, as numbers."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, text: str) -> bool:
        try:
            number = int(IPv4Address(text))
        except ValueError:
            return False
        return any(first <= number <= last for first, last in self.ranges)

    def __iter__(self) -> Iterator[str]:
        for first, last in self.ranges:
            for number in range(first, last + 1):
                yield str(IPv4Address(number))


def key_of(item: Service | Pod) -> str:
    """Return namespace/name."""
    return f"{item.metadata.namespace}/{item.metadata.name}"


def by_age(services: Iterable[Service]) -> list[Service]:
    """Return Services from the oldest to the youngest; those of one second by name."""
    return sorted(
        services,
        key=lambda one: (one.metadata.creationTimestamp or "", key_of(one), one.metadata.uid),
    )


def address_of(node: Node) -> str:
    """Return the address under which clients reach a node: an external one before an internal one."""
    for kind in ("ExternalIP", "InternalIP"):
        for entry in node.status.addresses:
            if entry.type == kind and _is_ipv4(entry.address):
                return entry.address
    return ""


def usable(nodes: Sequence[Node]) -> list[Node]:
    """Return the nodes that load balancers may use: ready ones, and cordoned ones only where there is no other."""
    ready = [
        node
        for node in nodes
        if node.metadata.deletionTimestamp is None
        and EXCLUDED not in node.metadata.labels
        and is_true(node.status.conditions, "Ready")
    ]
    return [node for node in ready if not node.spec.unschedulable] or ready


def hosts_of(nodes: Sequence[Node], pods: Iterable[Pod]) -> list[Host]:
    """Return the nodes that may answer, by name, with the host ports that `pods` have on them."""
    taken: dict[str, dict[Claim, str]] = {}
    for pod in sorted(pods, key=lambda one: (one.metadata.creationTimestamp or "", key_of(one))):
        for claim in host_ports(pod):
            taken.setdefault(pod.spec.nodeName, {}).setdefault(claim, key_of(pod))
    return [
        Host(node.metadata.name, address, taken.get(node.metadata.name, {}))
        for node in sorted(usable(nodes), key=lambda one: one.metadata.name)
        if (address := address_of(node))
    ]


def host_ports(pod: Pod) -> list[Claim]:
    """Return the host ports of a pod that is on a node and has not ended; those of loopback are in nobody's way."""
    if not pod.spec.nodeName or pod.status.phase in ("Succeeded", "Failed"):
        return []
    return [
        (port.protocol or "TCP", port.hostPort)
        for container in (*pod.spec.initContainers, *pod.spec.containers)
        for port in container.ports
        if port.hostPort and not port.hostIP.startswith("127.")
    ]


def ports_of(service: Service) -> list[Claim]:
    """Return the ports of a Service with their protocols."""
    return [(port.protocol or "TCP", port.port) for port in service.spec.ports]


def node_ports(services: Iterable[Service]) -> dict[Claim, str]:
    """Return the ports that Services have on every node by allocation, and whose they are."""
    found: dict[Claim, str] = {}
    for service in services:
        key = key_of(service)
        for port in service.spec.ports:
            if port.nodePort:
                found[port.protocol or "TCP", port.nodePort] = f"service {key}"
        if service.spec.healthCheckNodePort:
            found["TCP", service.spec.healthCheckNodePort] = f"service {key}"
    return found


def held_ports(service: Service) -> Set[Claim]:
    """Return the ports that a Service holds on nodes, by its status."""
    return {
        (port.protocol, port.port)
        for entry in service.status.loadBalancer.ingress
        for port in entry.ports
    }


def on_nodes(
    services: Sequence[Service],
    hosts: Sequence[Host],
    local: Mapping[str, Set[str]],
    reserved: Mapping[Claim, str],
) -> dict[str, Outcome]:
    """Return what each Service gets of the nodes' own addresses.

    `local` has for Services with the external policy Local the nodes with ready endpoints; `reserved` has ports that no
    Service may have, and whose they are.
    """
    aged = by_age(services)
    holders: dict[Claim, str] = {}
    for service in aged:
        for claim in held_ports(service) & set(ports_of(service)):
            holders.setdefault(claim, key_of(service))
    outcomes = {}
    for service in aged:
        key, claims = key_of(service), ports_of(service)
        rivals = [
            f"port {_text(claim)} is already in use by {rival}"
            for claim in claims
            if (rival := _rival(claim, key, holders, reserved))
        ]
        if rivals:
            outcomes[key] = _failed(rivals[0])
            continue
        holders.update(dict.fromkeys(claims, key))
        outcomes[key] = _placed(service, hosts, local.get(key))
    return outcomes


def _rival(
    claim: Claim, key: str, holders: Mapping[Claim, str], reserved: Mapping[Claim, str]
) -> str:
    own = f"service {key}"
    if (found := reserved.get(claim, own)) != own:
        return found
    holder = holders.get(claim, key)
    return f"service {holder}" if holder != key else ""


def _placed(service: Service, hosts: Sequence[Host], local: Set[str] | None) -> Outcome:
    """Return the outcome for a Service whose ports no other Service has."""
    held, before = held_ports(service), set(addresses_of(service))
    ports = [PortStatus(port=port, protocol=protocol) for protocol, port in ports_of(service)]
    ingress, conflicts, shadowed = [], [], []
    for host in hosts:
        if local is not None and host.name not in local:
            continue
        for claim in ports_of(service):
            if (pod := host.taken.get(claim)) is None:
                continue
            if host.address in before and claim in held:
                told = f"Port {_text(claim)} of the host is already in use by service {key_of(service)}"
                shadowed.append((pod, told))
            else:
                conflicts.append(
                    f"port {_text(claim)} of node {host.name} is already in use by pod {pod}"
                )
                break
        else:
            ingress.append(LoadBalancerIngress(ip=host.address, ipMode=VIP, ports=ports))
    reason, message = ("", "") if ingress else NO_NODES
    if conflicts:
        reason, message = FAILED, _failure(conflicts[0])
    return Outcome(tuple(ingress), None, reason, message, tuple(shadowed))


def from_pool(
    services: Sequence[Service],
    pool: Pool,
    hosts: Sequence[Host],
    local: Mapping[str, Set[str]],
    taken: Set[str],
) -> dict[str, Outcome]:
    """Return what each Service gets of a pool; `hosts` may announce, `taken` are addresses that nodes have."""
    aged = by_age(services)
    given: dict[str, str] = {}  # address -> key
    for service in aged:
        for address in addresses_of(service)[:1]:
            if address in pool and address not in taken and _wants(service, address):
                given.setdefault(address, key_of(service))
    having = {key: address for address, key in given.items()}
    outcomes = {}
    unused = (address for address in pool if address not in given and address not in taken)
    # Who asks for an address comes before who takes any.
    for service in sorted(aged, key=lambda one: not one.spec.loadBalancerIP):
        key, wanted = key_of(service), service.spec.loadBalancerIP
        address = having.get(key, "") or wanted or next(unused, "")
        problem = _problem(address, key, pool, given, taken)
        if problem:
            outcomes[key] = _failed(problem)
            continue
        given[address] = key
        announcer = choose(address, announcer_of(service), hosts, local.get(key))
        reason, message = ("", "") if announcer else NO_NODES
        ingress = LoadBalancerIngress(ip=address, ipMode=VIP)
        outcomes[key] = Outcome((ingress,), announcer, reason, message)
    return outcomes


def _wants(service: Service, address: str) -> bool:
    return service.spec.loadBalancerIP in ("", address)


def _problem(address: str, key: str, pool: Pool, given: Mapping[str, str], taken: Set[str]) -> str:
    if not address:
        return "no address is left in the pool"
    if address not in pool:
        return f"address {address} is not in the pool"
    if address in taken:
        return f"address {address} is already in use by a node"
    if given.get(address, key) != key:
        return f"address {address} is already in use by service {given[address]}"
    return ""


def choose(address: str, current: str, hosts: Sequence[Host], local: Set[str] | None = None) -> str:
    """Return the node that announces an address: the one that does if it still may, else one by the address's hash.

    Hashing spreads addresses over nodes, and gives those of a lost node to different ones.
    """
    names = [host.name for host in hosts if local is None or host.name in local]
    if current in names or not hosts:
        return current  # where no node may announce, the present one is better than none
    if not names:
        return ""
    return max(names, key=lambda name: hashlib.sha256(f"{address} {name}".encode()).digest())


def _failed(problem: str) -> Outcome:
    return Outcome(reason=FAILED, message=_failure(problem))


def _failure(problem: str) -> str:
    return f"Error syncing load balancer: failed to ensure load balancer: {problem}"


def _text(claim: Claim) -> str:
    protocol, port = claim
    return f"{port}/{protocol}"


def _is_ipv4(text: str) -> bool:
    try:
        return ip_address(text).version == 4
    except ValueError:
        return False
