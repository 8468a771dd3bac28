"""Decides how packets to a service, or to a pod's host port, are sent to endpoints. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from msgspec import Struct

from kubelite.api.kinds.core.containers import ContainerPort
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service, ServicePort
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.machinery.load_balancing import addresses_of, announcement_of
from kubelite.limits import SERVICE_RULES
from kubelite.net.families import IPV4, Family, network_of
from kubelite.net.health_ports import LocalEndpoints
from kubelite.net.intervals import interval_text, merged, of_network
from kubelite.net.ruleset import (
    ANY_HOST_PORTS,
    BALANCED,
    HOST_PORTS,
    NODE_PORT_FILTER,
    NODE_PORTS,
    SERVICE_FILTER,
    SERVICES,
    ProxySettings,
    Ruleset,
    interval_set,
)
from kubelite.net.ruleset_builder import RulesetBuilder
from kubelite.net.trusted_text import (
    AddressText,
    ObjectName,
    address_text,
    endpoint_text,
    is_name,
    is_port,
    range_of,
)

DEFAULT_AFFINITY_SECONDS = 10800
AFFINITY_SECONDS_MAX = 86400
RANGES_IN_LINE = 8  # source ranges up to which each has a rule
STEP_COST_BYTES = 4  # what the offload counts for an endpoint of a port: about a microsecond
PROTOCOLS = {"": "tcp", "TCP": "tcp", "UDP": "udp", "SCTP": "sctp"}


class Backend(Struct, frozen=True, order=True):
    """An endpoint that a connection may be sent to."""

    address: AddressText
    port: int
    is_local: bool = False
    is_ready: bool = True  # False: terminating, but still serving


class PortView(Struct, frozen=True):
    """One port of a service with its usable backends."""

    namespace: ObjectName
    name: ObjectName
    cluster_address: AddressText
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
    addresses = len(spec.externalIPs) + len(addresses_of(service))
    pairs = min(len(spec.ports) * (endpoints + addresses), SERVICE_RULES.value)
    ports = sum(len(entry.ports) for entry in slices)
    ranges = len(spec.loadBalancerSourceRanges)
    return STEP_COST_BYTES * (2 * pairs + endpoints + ports + len(spec.ports) + 4 * ranges)


def service_rules(
    service: Service, slices: Sequence[EndpointSlice], settings: ProxySettings
) -> Ruleset:
    """Return the rules of one service in one family; empty for one without an address of its own in it.

    Of a service with more ports times endpoints, or ports times external addresses, than the limit allows, each port
    has only the first endpoints and addresses.
    """
    spec = service.spec
    address, metadata = cluster_address(service, settings.family), service.metadata
    namespace, name = metadata.namespace, metadata.name
    if spec.type == "ExternalName" or address is None or address in settings.local_addresses:
        return Ruleset()
    if not (is_name(namespace) and is_name(name)):
        return Ruleset()
    each = share_of(service)
    places = _Places(slices, settings)
    addresses = _external_addresses(service, settings)
    if len(addresses) > each or places.most > each:
        SERVICE_RULES.reached()
    rules = RulesetBuilder()
    # A node may be known by an address that it does not have itself, such as one of a router in front of it.
    ingress = _texts(addresses_of(service), settings.family)
    at_node = not ingress.isdisjoint(settings.node_addresses)
    if announcement_of(service) is not None:
        for balanced in ingress.intersection(addresses[:each]):
            rules.element(BALANCED, balanced)  # its other ports lead nowhere
    external = External(addresses[:each], _source_ranges(service, settings.family), at_node)
    ports = _ServiceRules(service, settings, external, rules)
    local: set[str] = set()
    for port in spec.ports:
        protocol = PROTOCOLS.get(port.protocol)
        if protocol is not None and is_port(port.port):
            backends = places.of(port.name, protocol)[:each]
            local_backends = [backend for backend in backends if backend.is_local]
            view = PortView(
                namespace, name, address, port, protocol, _usable(backends), _usable(local_backends)
            )
            ports.add(view)
            local |= {backend.address for backend in view.local if backend.is_ready}
    is_primary = address_text(spec.clusterIP, settings.family) is not None
    if is_primary and spec.externalTrafficPolicy == "Local" and is_port(spec.healthCheckNodePort):
        rules.health_port(spec.healthCheckNodePort, LocalEndpoints(namespace, name, len(local)))
    return rules.build()


def cluster_address(service: Service, family: Family) -> AddressText | None:
    """Return the address of a service in a family; None if it has none."""
    spec = service.spec
    texts = (address_text(text, family) for text in (spec.clusterIP, *spec.clusterIPs))
    return next(filter(None, texts), None)


def share_of(service: Service) -> int:
    """Return how many endpoints, and how many external addresses, each port of a service may have."""
    each = SERVICE_RULES.value // max(1, len(service.spec.ports))
    # With affinity each endpoint of a port takes chains and a set of its own.
    return max(1, each // 10 if service.spec.sessionAffinity == "ClientIP" else each)


def is_cut(service: Service, slices: Sequence[EndpointSlice]) -> bool:
    """Return whether the rules of a service leave out some of its endpoints or external addresses."""
    each = share_of(service)
    return len({*service.spec.externalIPs, *addresses_of(service)}) > each or any(
        endpoints > each for endpoints in _endpoints_by_port(slices).values()
    )


def _endpoints_by_port(slices: Sequence[EndpointSlice]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for entry in slices:
        for port in entry.ports:
            counts[port.name or "", port.protocol or ""] += len(entry.endpoints)
    return counts


def host_port_rules(pods: Iterable[Pod], family: Family = IPV4) -> Ruleset:
    """Return the rules for host ports of one family; a port belongs to the first pod that claims it."""
    rules = RulesetBuilder()
    for pod in pods:
        address = pod_address(pod, family)
        ended = pod.status.phase in ("Succeeded", "Failed")
        if pod.spec.hostNetwork or ended or address is None:
            continue
        for container in (*pod.spec.initContainers, *pod.spec.containers):
            for port in container.ports:
                if port.hostPort and (element := _host_port_element(port, family)) is not None:
                    rules.claim(*element, f"{address} . {port.containerPort}")
                    rules.hairpin(address)
                    if PROTOCOLS.get(port.protocol) == "udp":
                        host_ip = element[1].partition(" ")[0] if element[0] == HOST_PORTS else ""
                        rules.claim_udp(host_ip, port.hostPort, (address,))
    return rules.build()


def pod_address(pod: Pod, family: Family) -> AddressText | None:
    """Return the address of a pod in a family, as its status tells; None if it has none."""
    addresses = (pod.status.podIP, *(one.ip for one in pod.status.podIPs))
    return next(filter(None, (endpoint_text(text, family) for text in addresses)), None)


def _host_port_element(port: ContainerPort, family: Family) -> tuple[str, str] | None:
    """Return the collection and key of a host port; None if it is invalid, or of another family."""
    protocol = PROTOCOLS.get(port.protocol)
    if protocol is None or not (is_port(port.hostPort) and is_port(port.containerPort)):
        return None
    place = f"{protocol} . {port.hostPort}"
    if port.hostIP in ("", family.anywhere):
        return ANY_HOST_PORTS, place
    address = address_text(port.hostIP, family)
    return (HOST_PORTS, f"{address} . {place}") if address is not None else None


class _Places:
    """The backends of a service's slices by port, each slice read once."""

    def __init__(self, slices: Sequence[EndpointSlice], settings: ProxySettings) -> None:
        self._node_name = settings.node_name
        self._family = settings.family
        self._by_port: dict[tuple[str, str], set[Backend]] = defaultdict(set)
        for entry in slices:
            if entry.addressType == self._family.slices:
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
            address = endpoint_text(endpoint.addresses[0], self._family)
            if address is not None:
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

    addresses: Sequence[AddressText]
    fence: "Fence"
    at_node: bool = False  # also at every address of this node, which is one of the load balancer's


class Fence(Struct, frozen=True):
    """The rules that return packets from loadBalancerSourceRanges, and their set; no rules: all may pass."""

    rules: tuple[str, ...] = ()
    set_name: str = ""
    declaration: str = ""


class _ServiceRules:
    """Adds the rules of one service, port by port."""

    def __init__(
        self, service: Service, settings: ProxySettings, external: External, rules: RulesetBuilder
    ) -> None:
        self._service = service
        self._settings = settings
        self._external = external
        self._rules = rules
        self._ip = settings.family.keyword

    def add(self, view: PortView) -> None:
        """Add the rules of a port."""
        for backend in view.local:  # ending ones too, which may be the only ones of this node
            self._rules.hairpin(backend.address)
        is_local = self._service.spec.internalTrafficPolicy == "Local"
        internal = view.local if is_local else view.cluster
        self._add_internal(view, internal)
        if self._external.addresses or self._external.at_node or is_port(view.port.nodePort):
            self._add_external(view, internal)

    def _add_internal(self, view: PortView, backends: tuple[Backend, ...]) -> None:
        """Add the rules for the cluster address."""
        key = f"{view.cluster_address} . {view.protocol} . {view.port.port}"
        self._record_udp(view, view.cluster_address, view.port.port, backends)
        if not backends:
            if view.cluster:
                self._rules.element(SERVICE_FILTER, key, "drop")
            else:
                self._rules.refuse(SERVICE_FILTER, key)
            return
        # Answers to clients outside the pod network must return through this node, so masquerade them.
        outside = f"{self._ip} saddr != {self._settings.cluster_cidr} jump mark-masquerade"
        chain = f"service/{view.identity}"
        self._rules.chain(chain, (outside, *self._balance(view, backends)))
        self._rules.element(SERVICES, key, f"goto {chain}")

    def _add_external(self, view: PortView, internal: tuple[Backend, ...]) -> None:
        """Add the rules for the node port and for external addresses."""
        is_local = self._service.spec.externalTrafficPolicy == "Local"
        backends = view.local if is_local else view.cluster
        chain = f"external/{view.identity}"
        if backends or (is_local and view.cluster):
            self._rules.chain(chain, self._external_rules(view, internal))
        elements: list[tuple[str, str, str, str]] = [
            (SERVICE_FILTER, SERVICES, address, f"{address} . {view.protocol} . {view.port.port}")
            for address in self._external.addresses
        ]
        if is_port(view.port.nodePort):
            key = f"{view.protocol} . {view.port.nodePort}"
            elements.append((NODE_PORT_FILTER, NODE_PORTS, "", key))
        entries = self._service.status.loadBalancer.ingress
        ingress = _texts((entry.ip for entry in entries), self._settings.family)
        fenced = {key for _, _, address, key in elements if address in ingress}
        if self._external.at_node:
            key = f"{view.protocol} . {view.port.port}"
            elements.append((NODE_PORT_FILTER, NODE_PORTS, "", key))
            fenced.add(key)
        fence = self._add_fence(view)
        for filtered, dispatched, address, key in elements:
            self._record_udp(view, address, int(key.rpartition(" ")[2]), backends)
            if not self._rules.has_chain(chain):
                self._rules.refuse(filtered, key)
                continue
            self._rules.element(dispatched, key, f"goto {chain}")
            if fence and key in fenced:
                self._rules.element(filtered, key, f"goto {fence}")

    def _external_rules(self, view: PortView, internal: tuple[Backend, ...]) -> tuple[str, ...]:
        everywhere = f"service/{view.identity}"
        if internal != view.cluster:
            # The internal policy is Local, so a chain for all backends is missing.
            everywhere = f"anywhere/{view.identity}"
            self._rules.chain(everywhere, self._balance(view, view.cluster))
        if self._service.spec.externalTrafficPolicy != "Local":
            return ("jump mark-masquerade", f"goto {everywhere}")
        # Clients inside the cluster are treated as if they had used the cluster address; others keep their source
        # address.
        inside = (
            f"{self._ip} saddr {self._settings.cluster_cidr} goto {everywhere}",
            "fib saddr type local jump mark-masquerade",
            f"fib saddr type local goto {everywhere}",
        )
        return (*inside, *(self._balance(view, view.local) if view.local else ("drop",)))

    def _balance(self, view: PortView, backends: tuple[Backend, ...]) -> tuple[str, ...]:
        """Return the rules that choose one of `backends` at random, or a client's earlier one."""
        if self._service.spec.sessionAffinity == "ClientIP":
            return self._balance_by_client(view, backends)
        rewrite = f"meta l4proto {view.protocol} dnat {self._ip} "
        if len(backends) == 1:
            return (
                rewrite
                + f"to {self._settings.family.place(backends[0].address, backends[0].port)}",
            )
        choices = ", ".join(
            f"{number} : {backend.address} . {backend.port}"
            for number, backend in enumerate(backends)
        )
        return (rewrite + f"addr . port to numgen random mod {len(backends)} map {{ {choices} }}",)

    def _balance_by_client(self, view: PortView, backends: tuple[Backend, ...]) -> tuple[str, ...]:
        seconds = _affinity_seconds(self._service)
        returning, choices = [], []
        for number, backend in enumerate(backends):
            address = backend.address.replace(":", "_")  # which no name in a rule may have
            place = f"{view.identity}/{address}/{backend.port}"
            chain, clients = f"endpoint/{place}", f"clients/{place}/{seconds}"
            declaration = (
                f"type {self._settings.family.address_type}; flags dynamic,timeout; "
                f"timeout {seconds}s;"
            )
            self._rules.declare(clients, declaration)
            update = f"update @{clients} {{ {self._ip} saddr }}"
            target = self._settings.family.place(backend.address, backend.port)
            rewrite = f"meta l4proto {view.protocol} dnat {self._ip} to {target}"
            self._rules.chain(chain, (update, rewrite))
            returning.append(f"{self._ip} saddr @{clients} goto {chain}")
            choices.append(f"{number} : goto {chain}")
        choose = f"numgen random mod {len(backends)} vmap {{ {', '.join(choices)} }}"
        return (*returning, choose)

    def _add_fence(self, view: PortView) -> str:
        """Add the chain that drops what the fence does not let through; return its name, "" for none."""
        fence = self._external.fence
        if not fence.rules:
            return ""
        if fence.set_name:
            self._rules.declare(fence.set_name, fence.declaration)
        return self._rules.chain(f"firewall/{view.identity}", (*fence.rules, "drop"))

    def _record_udp(
        self, view: PortView, address: str, port: int, backends: Iterable[Backend]
    ) -> None:
        if view.protocol == "udp":
            self._rules.udp(address, port, (backend.address for backend in backends))


def _affinity_seconds(service: Service) -> int:
    config = service.spec.sessionAffinityConfig
    seconds = config.clientIP.timeoutSeconds if config and config.clientIP else None
    if not seconds or not 0 < seconds <= AFFINITY_SECONDS_MAX:
        return DEFAULT_AFFINITY_SECONDS
    return seconds


def _texts(addresses: Iterable[str], family: Family) -> set[AddressText]:
    """Return those of some addresses that are of a family."""
    return {text for one in addresses if (text := address_text(one, family)) is not None}


def _source_ranges(service: Service, family: Family) -> Fence:
    """Return what loadBalancerSourceRanges let through; as in kube-proxy those of a family fence that family."""
    spec = service.spec
    if spec.type != "LoadBalancer":
        return Fence()
    texts = (range_of(text, family) for text in spec.loadBalancerSourceRanges)
    networks = list(dict.fromkeys(network for network in texts if network is not None))
    ranges = merged(map(of_network, networks))
    if not ranges or ranges == family.all_addresses:
        return Fence()
    ip = family.keyword
    if len(networks) <= RANGES_IN_LINE:
        return Fence(tuple(f"{ip} saddr {network} return" for network in networks))
    texts_of_ranges = (interval_text(one, family) for one in ranges)
    name, declaration = interval_set("sources", family.address_type, texts_of_ranges)
    return Fence((f"{ip} saddr @{name} return",), name, declaration)


def _external_addresses(service: Service, settings: ProxySettings) -> list[AddressText]:
    """Return the external addresses, each once.

    Those of pods and of other services take precedence, and those of each machine's own loopback are no way in.
    """
    own = [network_of(text) for text in (settings.cluster_cidr, settings.service_cidr)]
    found = (*service.spec.externalIPs, *addresses_of(service))
    texts = dict.fromkeys(endpoint_text(text, settings.family) for text in found)
    return [
        address
        for address in texts
        if address is not None and not any(ip_address(address) in network for network in own)
    ]
