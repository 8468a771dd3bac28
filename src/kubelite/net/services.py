"""Decides how packets to a service, or to a pod's host port, are sent to endpoints. Pure."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network

from msgspec import Struct

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.net.health_ports import LocalEndpoints
from kubelite.net.ruleset import REFUSE, ProxySettings, Ruleset
from kubelite.net.trusted_text import ipv4_range, is_endpoint, is_ipv4, is_name

DEFAULT_AFFINITY_SECONDS = 10800
PROTOCOLS = {"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class Backend(Struct, frozen=True, order=True):
    """Where a connection may be sent."""

    address: str
    port: int
    is_local: bool = False
    is_ready: bool = True  # else it is ending, but still serves


class PortView(Struct, frozen=True):
    """One port of a service with its usable backends."""

    identity: str  # namespace/name/protocol/port
    port: ServicePort
    protocol: str
    anywhere: tuple[Backend, ...]
    local: tuple[Backend, ...]


def service_rules(
    service: Service, slices: Sequence[EndpointSlice], settings: ProxySettings
) -> Ruleset:
    """Return the rules of one service; empty for one without an address of its own."""
    spec = service.spec
    rules = Ruleset()
    if spec.type == "ExternalName" or not is_ipv4(spec.clusterIP):
        return rules
    if spec.clusterIP in settings.local_addresses:
        return rules
    if not (is_name(service.metadata.namespace) and is_name(service.metadata.name)):
        return rules
    local: set[str] = set()
    for port in spec.ports:
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is not None:
            view = _view(service, port, protocol, slices, settings.node_name)
            _add_port(rules, service, view, settings)
            local |= {backend.address for backend in view.local if backend.is_ready}
    if spec.externalTrafficPolicy == "Local" and spec.healthCheckNodePort:
        metadata = service.metadata
        found = LocalEndpoints(metadata.namespace, metadata.name, len(local))
        rules.health_ports[spec.healthCheckNodePort] = found
    return rules


def host_port_rules(pods: Iterable[Pod]) -> Ruleset:
    """Return the rules that lead ports of the node to those of its pods; the first pod to claim one has it."""
    rules = Ruleset()
    for pod in pods:
        if (
            pod.spec.hostNetwork
            or not is_endpoint(pod.status.podIP)
            or pod.status.phase in ("Succeeded", "Failed")
        ):
            continue
        for container in (*pod.spec.initContainers, *pod.spec.containers):
            for port in container.ports:
                protocol = PROTOCOLS.get(port.protocol)
                if not port.hostPort or protocol is None:
                    continue
                place = f"{protocol} . {port.hostPort}"
                address = port.hostIP
                if address in ("", "0.0.0.0"):  # noqa: S104 - any address of the node
                    address, element = "", ("any-host-ports", place)
                elif is_ipv4(address):
                    element = ("host-ports", f"{address} . {place}")
                else:
                    continue
                rules.elements.setdefault(element, f"{pod.status.podIP} . {port.containerPort}")
                if protocol == "udp":
                    endpoints = frozenset({pod.status.podIP})
                    rules.udp_endpoints.setdefault((address, port.hostPort), endpoints)
                rules.elements["hairpin", f"{pod.status.podIP} . {pod.status.podIP}"] = ""
    return rules


def _view(
    service: Service,
    port: ServicePort,
    protocol: str,
    slices: Sequence[EndpointSlice],
    node_name: str,
) -> PortView:
    backends = sorted(set(_backends(port, protocol, slices, node_name)))
    metadata = service.metadata
    return PortView(
        f"{metadata.namespace}/{metadata.name}/{protocol}/{port.port}",
        port,
        protocol,
        _usable(backends),
        _usable([backend for backend in backends if backend.is_local]),
    )


def _backends(
    port: ServicePort, protocol: str, slices: Sequence[EndpointSlice], node_name: str
) -> Iterable[Backend]:
    for entry in slices:
        if entry.addressType != "IPv4":
            continue
        numbers = [
            number.port
            for number in entry.ports
            if (number.name or "") == port.name and PROTOCOLS.get(number.protocol or "") == protocol
        ]
        for endpoint in entry.endpoints:
            conditions = endpoint.conditions
            is_ready = conditions.ready is not False
            serves_ending = conditions.serving is True and conditions.terminating is True
            if not endpoint.addresses or not (is_ready or serves_ending):
                continue
            if not is_endpoint(endpoint.addresses[0]):
                continue
            for number in numbers:
                if number:
                    is_local = endpoint.nodeName == node_name
                    yield Backend(endpoint.addresses[0], number, is_local, is_ready)


def _usable(backends: Sequence[Backend]) -> tuple[Backend, ...]:
    """Return the ready ones; if none is, those that still serve while they end (KEP-1669)."""
    return tuple(backend for backend in backends if backend.is_ready) or tuple(backends)


def _add_port(rules: Ruleset, service: Service, view: PortView, settings: ProxySettings) -> None:
    spec = service.spec
    for backend in view.anywhere:
        if backend.is_local:
            rules.elements["hairpin", f"{backend.address} . {backend.address}"] = ""
    internal = view.local if spec.internalTrafficPolicy == "Local" else view.anywhere
    _add_internal(rules, service, view, internal, settings)
    addresses = _external_addresses(service, settings)
    if addresses or view.port.nodePort:
        _add_external(rules, service, view, addresses, internal, settings)


def _add_internal(
    rules: Ruleset,
    service: Service,
    view: PortView,
    backends: tuple[Backend, ...],
    settings: ProxySettings,
) -> None:
    """Add the way from the cluster address."""
    key = f"{service.spec.clusterIP} . {view.protocol} . {view.port.port}"
    _note_udp(rules, view, service.spec.clusterIP, view.port.port, backends)
    if not backends:
        rules.elements["service-filter", key] = "drop" if view.anywhere else REFUSE
        return
    chain = f"service/{view.identity}"
    # what comes from outside the pod network must come back through this node
    outside = f"ip saddr != {settings.cluster_cidr} jump mark-masquerade"
    rules.chains[chain] = (outside, *_balance(rules, service, view, backends))
    rules.elements["services", key] = f"goto {chain}"


def _add_external(
    rules: Ruleset,
    service: Service,
    view: PortView,
    addresses: Sequence[str],
    internal: tuple[Backend, ...],
    settings: ProxySettings,
) -> None:
    """Add the ways from the node port and from addresses of the outside."""
    is_local = service.spec.externalTrafficPolicy == "Local"
    backends = view.local if is_local else view.anywhere
    chain = f"external/{view.identity}"
    if backends or (is_local and view.anywhere):
        rules.chains[chain] = _external_rules(rules, service, view, internal, settings)
    elements = [
        ("service-filter", "services", address, f"{address} . {view.protocol} . {view.port.port}")
        for address in addresses
    ]
    if view.port.nodePort:
        key = f"{view.protocol} . {view.port.nodePort}"
        elements.append(("node-port-filter", "node-ports", "", key))
    fence = _source_ranges(rules, service, view)
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
        internal != view.anywhere
    ):  # the internal policy is Local: a chain for all backends is missing
        everywhere = f"anywhere/{view.identity}"
        rules.chains[everywhere] = _balance(rules, service, view, view.anywhere)
    if service.spec.externalTrafficPolicy != "Local":
        return ("jump mark-masquerade", f"goto {everywhere}")
    # Clients inside the cluster see it as if they had used the cluster address; for others the source stays as it is.
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
    seconds = seconds or DEFAULT_AFFINITY_SECONDS
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


def _source_ranges(rules: Ruleset, service: Service, view: PortView) -> str:
    """Add the chain that drops what loadBalancerSourceRanges do not allow; return its name, empty for none."""
    ranges = [
        str(network)
        for text in service.spec.loadBalancerSourceRanges
        if (network := ipv4_range(text)) is not None
    ]
    if service.spec.type != "LoadBalancer" or not ranges or "0.0.0.0/0" in ranges:
        return ""
    chain = f"firewall/{view.identity}"
    rules.chains[chain] = (*(f"ip saddr {text} return" for text in ranges), "drop")
    return chain


def _external_addresses(service: Service, settings: ProxySettings) -> list[str]:
    """Return the addresses of the outside; one of a pod or of another service is left to that."""
    found = [address for address in service.spec.externalIPs if is_ipv4(address)]
    if service.spec.type == "LoadBalancer":
        found += [
            entry.ip
            for entry in service.status.loadBalancer.ingress
            if is_ipv4(entry.ip) and entry.ipMode in (None, "VIP")
        ]
    own = [
        IPv4Network(text, strict=False) for text in (settings.cluster_cidr, settings.service_cidr)
    ]
    return [text for text in found if not any(IPv4Address(text) in network for network in own)]


def _note_udp(
    rules: Ruleset, view: PortView, address: str, port: int, backends: Iterable[Backend]
) -> None:
    if view.protocol == "udp":
        rules.udp_endpoints[address, port] = frozenset(backend.address for backend in backends)
