"""Decides which addresses Services of type LoadBalancer have, and which node answers for each. Pure.

By default the addresses are the nodes' own, as with k3s: a port is then one Service's on all nodes. The ports that a
Service holds stand in its status, so that what is decided survives restarts, and a port that a Service gains later does
not take it from another. With a pool each Service has addresses of its own, one of each of its families as far as the
pool has them, and one node answers for them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from ipaddress import ip_address

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
from kubelite.control.service_pods import families

Claim = tuple[str, int]  # protocol and port
NO_NODES = ("UnAvailableLoadBalancer", "There are no available nodes for LoadBalancer")
NONE_LEFT = "no address is left in the pool"
FAMILIES = ("IPv4", "IPv6")
FAILED = "SyncLoadBalancerFailed"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared with, not bound to


class Host(Struct, frozen=True):
    """A node that may answer for Services."""

    name: str
    addresses: Mapping[str, str]  # by family
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
    """Ranges of addresses, both ends included, as numbers; those of IPv6 are above all of IPv4."""

    ranges: tuple[tuple[int, int], ...] = ()

    def __contains__(self, text: str) -> bool:
        try:
            number = int(ip_address(text))
        except ValueError:
            return False
        return any(first <= number <= last for first, last in self.ranges)

    @property
    def families(self) -> Set[str]:
        """The families of which the pool has addresses."""
        return {f"IPv{ip_address(first).version}" for first, _ in self.ranges}

    def of_family(self, family: str) -> Iterator[str]:
        """Yield the addresses of a family."""
        for first, last in self.ranges:
            if family_of(str(ip_address(first))) == family:
                for number in range(first, last + 1):
                    yield str(ip_address(number))


def key_of(item: Service | Pod) -> str:
    """Return namespace/name."""
    return f"{item.metadata.namespace}/{item.metadata.name}"


def by_age(services: Iterable[Service]) -> list[Service]:
    """Return Services from the oldest to the youngest; those of one second by name."""
    return sorted(
        services,
        key=lambda one: (one.metadata.creationTimestamp or "", key_of(one), one.metadata.uid),
    )


def addresses_of_node(node: Node) -> dict[str, str]:
    """Return the address of each family under which clients reach a node: an external one before an internal one."""
    found: dict[str, str] = {}
    for kind in ("ExternalIP", "InternalIP"):
        for entry in node.status.addresses:
            if entry.type == kind and (family := family_of(entry.address)):
                found.setdefault(family, entry.address)
    return found


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
        Host(node.metadata.name, addresses, taken.get(node.metadata.name, {}))
        for node in sorted(usable(nodes), key=lambda one: one.metadata.name)
        if (addresses := addresses_of_node(node))
    ]


def host_ports(pod: Pod) -> list[Claim]:
    """Return the host ports of a pod that is on a node and has not ended; those of loopback are in nobody's way."""
    if not pod.spec.nodeName or pod.status.phase in ("Succeeded", "Failed"):
        return []
    return [
        (port.protocol or "TCP", port.hostPort)
        for container in (*pod.spec.initContainers, *pod.spec.containers)
        for port in container.ports
        if port.hostPort and not (port.hostIP.startswith("127.") or port.hostIP == "::1")
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
    serving: list[Host] = []
    conflicts, shadowed = [], []
    wanted = families(service)
    for host in hosts:
        own = {host.addresses[family] for family in wanted if family in host.addresses}
        if not own or (local is not None and host.name not in local):
            continue
        for claim in ports_of(service):
            if (pod := host.taken.get(claim)) is None:
                continue
            if own & before and claim in held:
                told = f"Port {_text(claim)} of the host is already in use by service {key_of(service)}"
                shadowed.append((pod, told))
            else:
                conflicts.append(
                    f"port {_text(claim)} of node {host.name} is already in use by pod {pod}"
                )
                break
        else:
            serving.append(host)
    ingress = [
        LoadBalancerIngress(ip=host.addresses[family], ipMode=VIP, ports=ports)
        for family in wanted
        for host in serving
        if family in host.addresses
    ]
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
    given = _held_of_pool(aged, pool, taken)
    having = {(key, family_of(address)): address for address, key in given.items()}
    outcomes = {}
    unused: dict[str, Iterator[str]] = {
        family: (one for one in pool.of_family(family) if one not in given and one not in taken)
        for family in FAMILIES
    }
    # Who asks for an address comes before who takes any.
    for service in sorted(aged, key=lambda one: not one.spec.loadBalancerIP):
        key, asked = key_of(service), service.spec.loadBalancerIP
        found = []
        problem = _misplaced(service)
        is_short = bool(problem)
        for family in _families_of_pool(service, pool):
            wanted = asked if family_of(asked) == family else ""
            address = having.get((key, family), "") or wanted or next(unused[family], "")
            if reason := _problem(address, key, pool, given, taken):
                problem = problem or reason
                is_short = is_short or bool(wanted) or _is_needed(service, family)
            else:
                found.append(address)
        if is_short or not found:
            outcomes[key] = _failed(problem or NONE_LEFT)
            for address in found:  # for a later one
                family = family_of(address)
                if having.get((key, family)) != address and address != asked:
                    unused[family] = _before(address, unused[family])
            continue
        given.update(dict.fromkeys(found, key))
        announcer = choose(found[0], announcer_of(service), hosts, local.get(key))
        reason, message = ("", "") if announcer else NO_NODES
        ingress = tuple(LoadBalancerIngress(ip=address, ipMode=VIP) for address in found)
        outcomes[key] = Outcome(ingress, announcer, reason, message)
    return outcomes


def _misplaced(service: Service) -> str:
    """Return why a Service cannot have the address that it asks for, whatever the pool."""
    asked = service.spec.loadBalancerIP
    if not asked or family_of(asked) in families(service):
        return ""
    return f"address {asked} is of no family of the service"


def _held_of_pool(services: Sequence[Service], pool: Pool, taken: Set[str]) -> dict[str, str]:
    """Return the addresses of a pool that Services have and keep, the oldest Service first, with their keys."""
    given: dict[str, str] = {}
    for service in services:
        held: dict[str, str] = {}
        for address in addresses_of(service):
            if address in pool and address not in taken and _wants(service, address):
                held.setdefault(family_of(address), address)
        for family, address in held.items():
            if family in families(service):
                given.setdefault(address, key_of(service))
    return given


def _families_of_pool(service: Service, pool: Pool) -> Sequence[str]:
    """Return the families of which a Service gets addresses; one that it needs is among them in any case."""
    return [
        family
        for family in families(service)
        if family in pool.families or _is_needed(service, family)
    ]


def _is_needed(service: Service, family: str) -> bool:
    """Return whether a Service has not what it asks for without an address of this family."""
    spec = service.spec
    return family in spec.ipFamilies and spec.ipFamilyPolicy != "PreferDualStack"


def _before(address: str, rest: Iterator[str]) -> Iterator[str]:
    yield address
    yield from rest


def _wants(service: Service, address: str) -> bool:
    asked = service.spec.loadBalancerIP
    return asked == address or family_of(asked) != family_of(address)


def _problem(address: str, key: str, pool: Pool, given: Mapping[str, str], taken: Set[str]) -> str:
    if not address:
        return NONE_LEFT
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


def family_of(text: str) -> str:
    """Return the family of an address; "" of what is none."""
    try:
        return f"IPv{ip_address(text).version}"
    except ValueError:
        return ""
