"""Keeps the EndpointSlices of services with a selector: at most 100 endpoints each, with as few writes as possible."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.batches import NAMESPACE_TERMINATING
from kubelite.control.conditions import is_true
from kubelite.control.endpoints import HEADLESS
from kubelite.control.ownership import controller_reference
from kubelite.control.pods import is_ready
from kubelite.control.runtime import Context, Key, Watch
from kubelite.control.service_pods import (
    TargetPorts,
    addresses_of,
    endpoints_cost_bytes,
    families,
    hostname_of,
    is_selecting,
    matters,
    pod_reference,
    selected_pods,
    served_ports,
    service_selectors,
)
from kubelite.control.topology_hints import (
    ZONE,
    HintsDisabled,
    asks_for_hints,
    cpu_shares,
    hinted,
)

SERVICE = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
ENDPOINTS_LIMIT = 100
HINTED = "asks-for-hints"

# Name, protocol, number, application protocol. A slice of another writer may lack the number.
SlicePorts = tuple[tuple[str, str, int | None, str], ...]
Group = tuple[str, SlicePorts]  # address type, ports


class Plan(Struct, frozen=True):
    """The writes that bring the slices to the wanted endpoints."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    delete: tuple[str, ...] = ()
    hintless: tuple[str, ...] = ()  # why families have no hints that the service asks for


def plan(
    service: Service,
    pods: Sequence[Pod],
    zones: Mapping[str, str],
    slices: Sequence[EndpointSlice],
    shares: Mapping[str, float] | None = None,
) -> Plan:
    """Decide how to spread the endpoints over slices; `zones` maps names of nodes to their zones.

    `shares` are those of zones in the nodes' CPUs, for a service that asks for hints by them; else None.
    """
    wanted = _wanted(service, pods, zones)
    hintless = _hint(wanted, slices, shares) if shares is not None else []
    labels = _labels(service)
    existing: dict[Group, list[EndpointSlice]] = defaultdict(list)
    for one in slices:
        existing[one.addressType, _ports_of(one)].append(one)
    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    delete: list[str] = []
    with_slices: set[str] = set()  # the families that have one
    for group in sorted({*wanted, *existing}, key=repr):
        before = sorted(existing.get(group, []), key=lambda one: one.metadata.name)
        after, added = _filled(wanted.get(group, {}), before)
        for old, endpoints in zip(before, after, strict=True):
            if not endpoints:
                delete.append(old.metadata.name)
                continue
            with_slices.add(group[0])
            if endpoints != old.endpoints or old.metadata.labels != labels:
                metadata = replace(old.metadata, labels=labels)
                update.append(replace(old, metadata=metadata, endpoints=endpoints))
        if added:
            with_slices.add(group[0])
        create += (_slice(service, group, endpoints, labels) for endpoints in added)
    for family in families(service):
        if family not in with_slices:
            placeholder = _placeholder(service, family, slices, labels)
            create += placeholder.create
            update += placeholder.update
            delete = [name for name in delete if name not in placeholder.keep]
    return Plan(tuple(create), tuple(update), tuple(delete), tuple(hintless))


def _hint(
    wanted: dict[Group, dict[str, Endpoint]],
    slices: Sequence[EndpointSlice],
    shares: Mapping[str, float],
) -> list[str]:
    """Set the hints of the wanted endpoints, which are changed, by zone; return why families have none."""
    before = {
        (one.addressType, _identity(endpoint)): endpoint.hints.forZones[0].name
        for one in slices
        for endpoint in one.endpoints
        if endpoint.hints and endpoint.hints.forZones
    }
    hintless = []
    for family in sorted({family for family, _ in wanted}):
        places = [
            (group, key) for group in sorted(wanted) if group[0] == family for key in wanted[group]
        ]
        endpoints = [wanted[group][key] for group, key in places]
        try:
            found = hinted(endpoints, shares, [before.get((family, key), "") for _, key in places])
        except HintsDisabled as reason:
            hintless.append(f"{reason}, addressType: {family}")
            found = [replace(one, hints=None) for one in endpoints]
        for (group, key), endpoint in zip(places, found, strict=True):
            wanted[group][key] = endpoint
    return hintless


class Placeholder(Struct, frozen=True):
    """How a family without endpoints gets its empty slice."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    keep: tuple[str, ...] = ()  # the name of a slice that becomes it, or is it


def _placeholder(
    service: Service, family: str, slices: Sequence[EndpointSlice], labels: dict[str, str]
) -> Placeholder:
    """Keep one empty slice of an address family, so that watchers see that it has no endpoints."""
    empty = [one for one in slices if one.addressType == family and not one.ports]
    if not empty:
        return Placeholder(create=(_slice(service, (family, ()), [], labels),))
    kept = empty[0]
    if not kept.endpoints and kept.metadata.labels == labels:
        return Placeholder(keep=(kept.metadata.name,))
    changed = replace(kept, metadata=replace(kept.metadata, labels=labels), endpoints=[])
    return Placeholder(update=(changed,), keep=(kept.metadata.name,))


def _filled(
    wanted: Mapping[str, Endpoint], slices: Sequence[EndpointSlice]
) -> tuple[list[list[Endpoint]], list[list[Endpoint]]]:
    """Return the new endpoints of the existing slices, in order, and those of slices to create."""
    left = dict(wanted)
    after = []
    for one in slices:
        stay = []
        for endpoint in one.endpoints:
            fresh = left.pop(_identity(endpoint), None)
            if fresh is not None:
                stay.append(fresh)
        after.append(stay)
    rest = [left[key] for key in sorted(left)]
    # Fill slices that change anyway first, so that the fewest slices are written.
    order = sorted(
        range(len(after)), key=lambda i: (after[i] == slices[i].endpoints, -len(after[i]))
    )
    for index in order:
        room = ENDPOINTS_LIMIT - len(after[index])
        after[index] += rest[:room]
        rest = rest[room:]
    return after, [rest[i : i + ENDPOINTS_LIMIT] for i in range(0, len(rest), ENDPOINTS_LIMIT)]


def _identity(endpoint: Endpoint) -> str:
    uid = endpoint.targetRef.uid if endpoint.targetRef else ""
    return f"{uid} {','.join(endpoint.addresses)}"


def _wanted(
    service: Service, pods: Sequence[Pod], zones: Mapping[str, str]
) -> dict[Group, dict[str, Endpoint]]:
    wanted: dict[Group, dict[str, Endpoint]] = defaultdict(dict)
    targets = TargetPorts(service)
    for family in families(service):
        for pod in pods:
            if addresses := addresses_of(pod, family):
                endpoint = _endpoint(service, pod, addresses, zones.get(pod.spec.nodeName, ""))
                wanted[family, served_ports(targets, pod)][_identity(endpoint)] = endpoint
    return wanted


def _ports_of(one: EndpointSlice) -> SlicePorts:
    return tuple(
        sorted(
            (port.name or "", port.protocol or "TCP", port.port, port.appProtocol or "")
            for port in one.ports
        )
    )


def _endpoint(service: Service, pod: Pod, addresses: list[str], zone: str) -> Endpoint:
    serving = is_ready(pod)
    terminating = pod.metadata.deletionTimestamp is not None
    ready = service.spec.publishNotReadyAddresses or (serving and not terminating)
    return Endpoint(
        addresses=addresses[:1],
        conditions=EndpointConditions(
            ready=ready,
            serving=serving,
            terminating=terminating,
        ),
        hints=_hints(service, zone, pod.spec.nodeName) if ready else None,
        hostname=hostname_of(pod, service) or None,
        nodeName=pod.spec.nodeName or None,
        targetRef=pod_reference(pod),
        zone=zone or None,
    )


def _hints(service: Service, zone: str, node: str) -> EndpointHints | None:
    """Return the nodes and zones that should prefer this endpoint, by the service's trafficDistribution."""
    if asks_for_hints(service.metadata.annotations):
        return None  # the annotation wins
    distribution = service.spec.trafficDistribution
    zones = [ForZone(name=zone)] if zone else []
    if distribution == "PreferSameNode" and node:
        return EndpointHints(forNodes=[ForNode(name=node)], forZones=zones)
    if distribution in {"PreferClose", "PreferSameZone"} and zone:
        return EndpointHints(forZones=zones)
    return None


def _labels(service: Service) -> dict[str, str]:
    labels = {**service.metadata.labels, SERVICE: service.metadata.name, MANAGED_BY: MANAGER}
    if service.spec.clusterIP in {"", "None"}:
        labels[HEADLESS] = ""
    else:
        labels.pop(HEADLESS, None)
    return labels


def _slice(
    service: Service, group: Group, endpoints: list[Endpoint], labels: dict[str, str]
) -> EndpointSlice:
    family, ports = group
    return EndpointSlice(
        metadata=ObjectMeta(
            generateName=f"{service.metadata.name}-",
            namespace=service.metadata.namespace,
            labels=labels,
            ownerReferences=[controller_reference(service)],
        ),
        addressType=family,
        endpoints=endpoints,
        ports=[
            EndpointPort(name=name, protocol=protocol, port=port, appProtocol=app or None)
            for name, protocol, port, app in ports
        ],
    )


class EndpointSliceController:
    """Reconciles services."""

    name = "endpointslice-controller"
    workers = 5

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._offload = context.offload
        self._selecting = service_selectors(context)
        self._services = context.mirror(Service)
        self._pods = context.mirror(Pod)
        self._nodes = context.mirror(Node)
        self._slices = context.mirror(EndpointSlice)
        self._slices.add_index(SERVICE, _service_of_slice)
        self._services.add_index(
            HINTED, lambda one: [HINTED] if asks_for_hints(one.metadata.annotations) else []
        )
        self._events = context.events
        self._hintless: dict[Key, tuple[str, ...]] = {}  # what was last told of a service

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch services, the pods they select, this controller's slices, and nodes that change zone."""
        return (
            Watch(Service),
            Watch(Pod, self._services_of, where=matters),
            Watch(EndpointSlice, _key_of_slice),
            Watch(Node, self._all_services, where=_zone_changed),
            Watch(Node, self._hinted_services, where=_capacity_changed),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Write the slices that differ; the garbage collector deletes those of a service that is gone."""
        service = self._services.get(key.name, key.namespace)
        if (
            service is None
            or service.metadata.deletionTimestamp is not None
            or not is_selecting(service)
        ):
            self._hintless.pop(key, None)
            return None
        slices = self._slices.indexed(SERVICE, f"{key.namespace}/{key.name}")
        nodes = self._nodes.list()
        zones = {node.metadata.name: node.metadata.labels.get(ZONE, "") for node in nodes}
        shares = cpu_shares(nodes) if asks_for_hints(service.metadata.annotations) else None
        pods = await selected_pods(self._offload, service, self._pods)
        decided = await self._offload.run(
            2 * endpoints_cost_bytes(service, pods) + sum(len(one.endpoints) for one in slices),
            lambda: plan(service, pods, zones, slices, shares),
        )
        self._tell_hints(key, service, decided.hintless, is_asked=shares is not None)
        for one in decided.create:
            await self._create(one)
        for one in decided.update:
            await self._client.update(one)
        for name in decided.delete:
            try:
                await self._client.delete(EndpointSlice, name, key.namespace)
            except NotFound:
                continue
        return None

    def _tell_hints(
        self, key: Key, service: Service, hintless: tuple[str, ...], *, is_asked: bool
    ) -> None:
        """Record whether a service has the hints that it asks for, when that changes."""
        told = self._hintless.get(key)
        if not is_asked:
            if self._hintless.pop(key, None) == ():
                about = "Topology Aware Hints has been disabled"
                self._events.event(service, WARNING, "TopologyAwareHintsDisabled", about)
            return
        self._hintless[key] = hintless
        if hintless == told:
            return
        for reason in hintless:
            self._events.event(service, WARNING, "TopologyAwareHintsDisabled", reason)
        if not hintless:
            about = "Topology Aware Hints has been enabled"
            self._events.event(service, NORMAL, "TopologyAwareHintsEnabled", about)

    def _hinted_services(self, _node: Node) -> Iterable[Key]:
        found = self._services.indexed(HINTED, HINTED)
        return (Key(one.metadata.namespace, one.metadata.name) for one in found)

    def _services_of(self, pod: Pod) -> Iterable[Key | None]:
        return self._selecting.keys(pod.metadata.namespace, pod.metadata.labels)

    async def _create(self, one: EndpointSlice) -> None:
        try:
            await self._client.create(one)
        except Forbidden as error:
            if NAMESPACE_TERMINATING not in error.message:
                raise

    def _all_services(self, _node: Node) -> Iterable[Key]:
        return (Key(one.metadata.namespace, one.metadata.name) for one in self._services.list())


def _capacity_changed(before: Node | None, after: Node | None) -> bool:
    return _capacity(before) != _capacity(after)


def _capacity(node: Node | None) -> object:
    """Return what a node adds to the shares of zones."""
    return node and (
        node.metadata.labels,
        node.status.allocatable.get("cpu"),
        is_true(node.status.conditions, "Ready"),
    )


def _zone_changed(before: Node | None, after: Node | None) -> bool:
    old = before.metadata.labels.get(ZONE, "") if before else ""
    new = after.metadata.labels.get(ZONE, "") if after else ""
    return old != new


def _service_of_slice(one: EndpointSlice) -> tuple[str, ...]:
    labels = one.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER or one.metadata.deletionTimestamp is not None:
        return ()
    return (f"{one.metadata.namespace}/{labels.get(SERVICE, '')}",)


def _key_of_slice(one: EndpointSlice) -> tuple[Key, ...]:
    labels = one.metadata.labels
    if labels.get(MANAGED_BY) != MANAGER:
        return ()
    return (Key(one.metadata.namespace, labels.get(SERVICE, "")),)
