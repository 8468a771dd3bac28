"""Decides how packets to a service, or to a pod's host port, are sent to endpoints. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from msgspec import Struct

from kubelite.api.kinds.core.containers import ContainerPort
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.limits import SERVICE_RULES
from kubelite.net.health_ports import LocalEndpoints
from kubelite.net.intervals import ALL_ADDRESSES, address_text, merged, of_network
from kubelite.net.ruleset import REFUSE, ProxySettings, Ruleset, interval_set
from kubelite.net.trusted_text import (
    IPv4Text,
    ObjectName,
    ipv4_range,
    is_endpoint,
    is_ipv4,
    is_name,
    is_port,
)

DEFAULT_AFFINITY_SECONDS = 10800
AFFINITY_SECONDS_MAX = 86400
RANGES_IN_LINE = 8  # source ranges up to which each has a rule
STEP_COST_BYTES = 4  # what the offload counts for an endpoint of a port: about a microsecond
PROTOCOLS = {"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class Backend(Struct, frozen=True, order=True):
    """An endpoint that a connection may be sent to."""

    address: IPv4Text
    port: int
    is_local: bool = False
    is_ready: bool = True  # False: terminating, but still serving


class PortView(Struct, frozen=True):
    """One port of a service with its usable backends."""

    namespace: ObjectName
    name: ObjectName
    cluster_address: IPv4Text
    port: ServicePort
    protocol: str
    cluster: tuple[Backend, ...]  # on any node: traffic policy Cluster
    local: tuple[Backend, ...]  # on this node: traffic policy Local

    @property
    def identity(self) -> str:
        """The suffix of the port's chains and sets: namespace/name/protocol/number."""
        return f"{self.namespace}/{self.name}/{self.protocol}/{int(self.port.port)}"


def cost_bytes(service: Service, slices: Sequence[EndpointSlice]) -> int:
    """Return the cost of computing the rules of a service, in bytes for the offload."""
    spec = service.spec
    endpoints = sum(len(entry.endpoints) for entry in slices)
    pairs = min(len(spec.ports) * (endpoints + len(spec.externalIPs)), SERVICE_RULES.value)
    ports = sum(len(entry.ports) for entry in slices)
    ranges = len(spec.loadBalancerSourceRanges)
    return STEP_COST_BYTES * (2 * pairs + endpoints + ports + len(spec.ports) + 4 * ranges)


def service_rules(
    service: Service, slices: Sequence[EndpointSlice], settings: ProxySettings
) -> Ruleset:
    """Return the rules of one service; empty for one without an address of its own.

    Of a service with more ports times endpoints, or ports times external addresses, than the limit allows, each port
    has only the first endpoints and addresses.
    """
    spec = service.spec
    rules = Ruleset()
    if spec.type == "ExternalName" or spec.clusterIP in settings.local_addresses:
        return rules
    address, metadata = spec.clusterIP, service.metadata
    namespace, name = metadata.namespace, metadata.name
    if not (is_ipv4(address) and is_name(namespace) and is_name(name)):
        return rules
    each = share_of(service)
    places = _Places(slices, settings.node_name)
    addresses = _external_addresses(service, settings)
    if len(addresses) > each or places.most > each:
        SERVICE_RULES.reached()
    fence = _source_ranges(service)
    local: set[str] = set()
    for port in spec.ports:
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is not None and is_port(port.port):
            backends = places.of(port.name, protocol)[:each]
            local_backends = [backend for backend in backends if backend.is_local]
            view = PortView(
                namespace, name, address, port, protocol, _usable(backends), _usable(local_backends)
            )
            _add_port(rules, service, view, settings, External(addresses[:each], fence))
            local |= {backend.address for backend in view.local if backend.is_ready}
    if spec.externalTrafficPolicy == "Local" and is_port(spec.healthCheckNodePort):
        found = LocalEndpoints(namespace, name, len(local))
        rules.health_ports[spec.healthCheckNodePort] = found
    return rules


def share_of(service: Service) -> int:
    """Return how many endpoints, and how many external addresses, each port of a service may have."""
    each = SERVICE_RULES.value // max(1, len(service.spec.ports))
    # With affinity each endpoint of a port takes chains and a set of its own.
    return max(1, each // 10 if service.spec.sessionAffinity == "ClientIP" else each)


def is_cut(service: Service, slices: Sequence[EndpointSlice]) -> bool:
    """Return whether the rules of a service leave out some of its endpoints or external addresses."""
    each = share_of(service)
    return len(service.spec.externalIPs) > each or any(
        endpoints > each for endpoints in _endpoints_by_port(slices).values()
    )


def _endpoints_by_port(slices: Sequence[EndpointSlice]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for entry in slices:
        for port in entry.ports:
            counts[port.name or "", port.protocol or ""] += len(entry.endpoints)
    return counts


def host_port_rules(pods: Iterable[Pod]) -> Ruleset:
    """Return the rules for host ports; a port belongs to the first pod that claims it."""
    rules = Ruleset()
    for pod in pods:
        address = pod.status.podIP
        ended = pod.status.phase in ("Succeeded", "Failed")
        if pod.spec.hostNetwork or ended or not is_endpoint(address):
            continue
        for container in (*pod.spec.initContainers, *pod.spec.containers):
            for port in container.ports:
                if port.hostPort and (element := _host_port_element(port)) is not None:
                    target = f"{address} . {port.containerPort}"
                    rules.elements.setdefault(element, target)
                    rules.elements["hairpin", f"{address} . {address}"] = ""
                    if PROTOCOLS.get(port.protocol) == "udp":
                        host_ip = port.hostIP if element[0] == "host-ports" else ""
                        endpoints = frozenset({address})
                        rules.udp_endpoints.setdefault((host_ip, port.hostPort), endpoints)
    return rules


def _host_port_element(port: ContainerPort) -> tuple[str, str] | None:
    """Return the collection and key of a host port; None if it is invalid."""
    protocol = PROTOCOLS.get(port.protocol)
    if protocol is None or not (is_port(port.hostPort) and is_port(port.containerPort)):
        return None
    place = f"{protocol} . {port.hostPort}"
    address = port.hostIP
    if address in ("", "0.0.0.0"):  # noqa: S104 - any address of the node
        return "any-host-ports", place
    return ("host-ports", f"{address} . {place}") if is_ipv4(address) else None


class _Places:
    """The backends of a service's slices by port, each slice read once."""

    def __init__(self, slices: Sequence[EndpointSlice], node_name: str) -> None:
        self._node_name = node_name
        self._by_port: dict[tuple[str, str], set[Backend]] = defaultdict(set)
        for entry in slices:
            if entry.addressType == "IPv4":
                self._read(entry)

    @property
    def most(self) -> int:
        """The number of backends of the port that has most."""
        return max(map(len, self._by_port.values()), default=0)

    def of(self, name: str, protocol: str) -> list[Backend]:
        """Return the backends of a port, in a fixed order."""
        return sorted(self._by_port.get((name, protocol), ()))

    def _read(self, entry: EndpointSlice) -> None:
        usable = []
        for endpoint in entry.endpoints:
            conditions = endpoint.conditions
            is_ready = conditions.ready is not False
            serves_ending = conditions.serving is True and conditions.terminating is True
            if not endpoint.addresses or not (is_ready or serves_ending):
                continue
            address = endpoint.addresses[0]
            if is_endpoint(address):
                is_local = endpoint.nodeName == self._node_name
                usable.append((address, is_local, is_ready))
        room = 2 * SERVICE_RULES.value // max(1, len(entry.ports))
        for port in entry.ports:
            protocol = PROTOCOLS.get(port.protocol or "")
            if port.port and is_port(port.port) and protocol is not None:
                there = self._by_port[port.name or "", protocol]
                there.update(
                    Backend(address, port.port, is_local, is_ready)
                    for address, is_local, is_ready in usable[:room]
                )


def _usable(backends: Sequence[Backend]) -> tuple[Backend, ...]:
    """Return the ready ones; if none is, those that still serve while they end (KEP-1669)."""
    return tuple(backend for backend in backends if backend.is_ready) or tuple(backends)


class External(Struct, frozen=True):
    """How a service is reached from outside the cluster."""

    addresses: Sequence[IPv4Text]
    fence: "Fence"


class Fence(Struct, frozen=True):
    """What loadBalancerSourceRanges let through: the rules, none for everything, and the set they look in."""

    rules: tuple[str, ...] = ()
    set_name: str = ""
    declaration: str = ""


def _add_port(
    rules: Ruleset,
    service: Service,
    view: PortView,
    settings: ProxySettings,
    external: External,
) -> None:
    spec = service.spec
    for backend in view.cluster:
        if backend.is_local:
            rules.elements["hairpin", f"{backend.address} . {backend.address}"] = ""
    internal = view.local if spec.internalTrafficPolicy == "Local" else view.cluster
    _add_internal(rules, service, view, internal, settings)
    if external.addresses or is_port(view.port.nodePort):
        _add_external(rules, service, view, external, internal, settings)


def _add_internal(
    rules: Ruleset,
    service: Service,
    view: PortView,
    backends: tuple[Backend, ...],
    settings: ProxySettings,
) -> None:
    """Add the rules for the cluster address."""
    key = f"{view.cluster_address} . {view.protocol} . {view.port.port}"
    _note_udp(rules, view, view.cluster_address, view.port.port, backends)
    if not backends:
        rules.elements["service-filter", key] = "drop" if view.cluster else REFUSE
        return
    chain = f"service/{view.identity}"
    # answers to clients outside the pod network must return through this node, so masquerade them
    outside = f"ip saddr != {settings.cluster_cidr} jump mark-masquerade"
    rules.chains[chain] = (outside, *_balance(rules, service, view, backends))
    rules.elements["services", key] = f"goto {chain}"


def _add_external(
    rules: Ruleset,
    service: Service,
    view: PortView,
    external: External,
    internal: tuple[Backend, ...],
    settings: ProxySettings,
) -> None:
    """Add the rules for the node port and for external addresses."""
    is_local = service.spec.externalTrafficPolicy == "Local"
    backends = view.local if is_local else view.cluster
    chain = f"external/{view.identity}"
    if backends or (is_local and view.cluster):
        rules.chains[chain] = _external_rules(rules, service, view, internal, settings)
    elements: list[tuple[str, str, str, str]] = [
        ("service-filter", "services", address, f"{address} . {view.protocol} . {view.port.port}")
        for address in external.addresses
    ]
    if is_port(view.port.nodePort):
        key = f"{view.protocol} . {view.port.nodePort}"
        elements.append(("node-port-filter", "node-ports", "", key))
    fence = _add_fence(rules, view, external.fence)
    ingress = {entry.ip for entry in service.status.loadBalancer.ingress}
    for filtered, dispatched, address, key in elements:
        number = view.port.port if address else view.port.nodePort
        _note_udp(rules, view, address, number, backends)
        if chain not in rules.chains:
            rules.elements[filtered, key] = REFUSE
            continue
        rules.elements[dispatched, key] = f"goto {chain}"
        if fence and address in ingress:
            rules.elements[filtered, key] = f"goto {fence}"


def _external_rules(
    rules: Ruleset,
    service: Service,
    view: PortView,
    internal: tuple[Backend, ...],
    settings: ProxySettings,
) -> tuple[str, ...]:
    everywhere = f"service/{view.identity}"
    if (
        internal != view.cluster
    ):  # the internal policy is Local: a chain for all backends is missing
        everywhere = f"anywhere/{view.identity}"
        rules.chains[everywhere] = _balance(rules, service, view, view.cluster)
    if service.spec.externalTrafficPolicy != "Local":
        return ("jump mark-masquerade", f"goto {everywhere}")
    # Clients inside the cluster are treated as if they had used the cluster address; others keep their source address.
    inside = (
        f"ip saddr {settings.cluster_cidr} goto {everywhere}",
        "fib saddr type local jump mark-masquerade",
        f"fib saddr type local goto {everywhere}",
    )
    return (*inside, *(_balance(rules, service, view, view.local) if view.local else ("drop",)))


def _balance(
    rules: Ruleset, service: Service, view: PortView, backends: tuple[Backend, ...]
) -> tuple[str, ...]:
    """Return the rules that choose one of `backends` at random, or a client's earlier one."""
    if service.spec.sessionAffinity == "ClientIP":
        return _balance_by_client(rules, service, view, backends)
    rewrite = f"meta l4proto {view.protocol} dnat ip "
    if len(backends) == 1:
        return (rewrite + f"to {backends[0].address}:{backends[0].port}",)
    choices = ", ".join(
        f"{number} : {backend.address} . {backend.port}" for number, backend in enumerate(backends)
    )
    return (rewrite + f"addr . port to numgen random mod {len(backends)} map {{ {choices} }}",)


def _balance_by_client(
    rules: Ruleset, service: Service, view: PortView, backends: tuple[Backend, ...]
) -> tuple[str, ...]:
    config = service.spec.sessionAffinityConfig
    seconds = config.clientIP.timeoutSeconds if config and config.clientIP else None
    if not seconds or not 0 < seconds <= AFFINITY_SECONDS_MAX:
        seconds = DEFAULT_AFFINITY_SECONDS
    returning, choices = [], []
    for number, backend in enumerate(backends):
        place = f"{view.identity}/{backend.address}/{backend.port}"
        chain, clients = f"endpoint/{place}", f"clients/{place}/{seconds}"
        rules.sets[clients] = f"type ipv4_addr; flags dynamic,timeout; timeout {seconds}s;"
        rules.chains[chain] = (
            f"update @{clients} {{ ip saddr }}",
            f"meta l4proto {view.protocol} dnat ip to {backend.address}:{backend.port}",
        )
        returning.append(f"ip saddr @{clients} goto {chain}")
        choices.append(f"{number} : goto {chain}")
    choose = f"numgen random mod {len(backends)} vmap {{ {', '.join(choices)} }}"
    return (*returning, choose)


def _source_ranges(service: Service) -> Fence:
    spec = service.spec
    if spec.type != "LoadBalancer":
        return Fence()
    texts = (ipv4_range(text) for text in spec.loadBalancerSourceRanges)
    networks = list(dict.fromkeys(network for network in texts if network is not None))
    ranges = merged(map(of_network, networks))
    if not ranges or ranges == ALL_ADDRESSES:
        return Fence()
    if len(networks) <= RANGES_IN_LINE:
        return Fence(tuple(f"ip saddr {network} return" for network in networks))
    name, declaration = interval_set("sources", "ipv4_addr", map(address_text, ranges))
    return Fence((f"ip saddr @{name} return",), name, declaration)


def _add_fence(rules: Ruleset, view: PortView, fence: Fence) -> str:
    """Add the chain that drops what the fence does not let through; return its name, empty for none."""
    if not fence.rules:
        return ""
    chain = f"firewall/{view.identity}"
    if fence.set_name:
        rules.sets[fence.set_name] = fence.declaration
    rules.chains[chain] = (*fence.rules, "drop")
    return chain


def _external_addresses(service: Service, settings: ProxySettings) -> list[IPv4Text]:
    """Return the external addresses without those of pods and of other services, which take precedence."""
    found = [*service.spec.externalIPs]
    if service.spec.type == "LoadBalancer":
        ingress = service.status.loadBalancer.ingress
        found += (entry.ip for entry in ingress if entry.ipMode in (None, "VIP"))
    own = [
        IPv4Network(text, strict=False) for text in (settings.cluster_cidr, settings.service_cidr)
    ]
    return [
        address
        for address in found
        if is_ipv4(address) and not any(IPv4Address(address) in network for network in own)
    ]


def _note_udp(
    rules: Ruleset, view: PortView, address: str, port: int, backends: Iterable[Backend]
) -> None:
    if view.protocol == "udp":
        rules.udp_endpoints[address, port] = frozenset(backend.address for backend in backends)
