"""Services: allocation of addresses and node ports, and the pair of fields clusterIP and clusterIPs.

A Service gets one address of each of its families, which `service_families` decides, or none if it is headless.
"""

from collections.abc import Sequence
from typing import Any

from kubelite.api.machinery import causes
from kubelite.api.machinery.times import format_time
from kubelite.api.registry.allocation import Allocator, Unavailable, addresses_of, ports_of
from kubelite.api.registry.reservation import Reservation
from kubelite.api.registry.rules.values import Out
from kubelite.api.registry.strategies.service_families import HEADLESS, settle_families
from kubelite.api.registry.strategy import Strategy, WriteContext
from kubelite.store.protocol import Operation

EXTERNAL_NAME, NODE_PORT, LOAD_BALANCER = "ExternalName", "NodePort", "LoadBalancer"
_BY_ADDRESS = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")

JSON = dict[str, Any]


class ServiceStrategy(Strategy):
    """The write hooks of Services."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set an empty status, and clusterIPs from clusterIP."""
        super().prepare_create(item, context)
        item["status"] = {"loadBalancer": {}}
        _pair_addresses(item.setdefault("spec", {}), {})

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Drop fields that the new type does not use, and restore allocated fields that the client omitted."""
        super().prepare_update(item, old, subresource, context)
        if subresource:
            return
        spec, before = item.setdefault("spec", {}), old.get("spec") or {}
        _pair_addresses(spec, before)
        _drop_unneeded(spec, before)
        _keep_given(spec, before)
        if spec.get("type") != LOAD_BALANCER:
            item["status"] = {**(item.get("status") or {}), "loadBalancer": {}}

    def reserve(self, item: JSON, old: JSON | None, context: WriteContext) -> Reservation | None:
        """Allocate missing and new addresses and ports; raises Invalid."""
        if context.addresses is None:
            return None
        before = (old or {}).get("spec") or {}
        if old is not None and item["spec"] == before:
            return None
        return _take(item, before, context.addresses, context)

    def release(self, item: JSON, context: WriteContext) -> Reservation | None:
        """Release all addresses and ports of the Service."""
        if context.addresses is None:
            return None
        held = Held(context.addresses, item, context)
        held.leave(addresses_of(item["spec"]), ports_of(item["spec"]))
        return held


class Held:
    """The reservation of the addresses and ports that one write of a Service allocates and releases."""

    def __init__(self, addresses: Allocator, service: JSON, context: WriteContext) -> None:
        self._addresses = addresses
        self._service = service
        self._context = context
        self._taken_addresses: list[str] = []
        self._taken_ports: list[int] = []
        self._left_addresses: Sequence[str] = ()
        self._left_ports: Sequence[int] = ()

    def take_address(self, wanted: str, family: str) -> str:
        """Allocate an address; raises Unavailable."""
        address = self._addresses.take_address(wanted, family)
        self._taken_addresses.append(address)
        return address

    def take_port(self, wanted: int = 0) -> int:
        """Allocate a node port; raises Unavailable."""
        port = self._addresses.take_port(wanted)
        self._taken_ports.append(port)
        return port

    def leave(self, addresses: Sequence[str], ports: frozenset[int]) -> None:
        """Release these numbers once the write is committed."""
        self._left_addresses, self._left_ports = addresses, sorted(ports)

    def operations(self) -> Sequence[Operation]:
        """Return the operations that write and remove the IPAddress objects."""
        now, uid = format_time(self._context.now), self._context.randomness.uid()
        return self._addresses.record(
            self._taken_addresses, self._left_addresses, self._service, now, uid
        )

    def settled(self, *, committed: bool) -> None:
        """Release the numbers the write no longer uses or, if it failed, those it allocated."""
        addresses = self._left_addresses if committed else self._taken_addresses
        for address in addresses:
            self._addresses.give_back_address(address)
        for port in self._left_ports if committed else self._taken_ports:
            self._addresses.give_back_port(port)


def _take(item: JSON, before: JSON, addresses: Allocator, context: WriteContext) -> Reservation:
    held = Held(addresses, item, context)
    spec = item["spec"]
    had_addresses, had_ports = addresses_of(before), ports_of(before)
    try:
        if found := _families(spec, before, addresses.families):
            raise causes.invalid_object("Service", "", item["metadata"].get("name", ""), found)
        _take_addresses(item, had_addresses, held)
        _take_ports(item, had_ports, held)
    except BaseException:
        held.settled(committed=False)
        raise
    has_addresses, has_ports = addresses_of(spec), ports_of(spec)
    held.leave(
        [address for address in had_addresses if address not in has_addresses],
        had_ports - has_ports,
    )
    return held


def _families(spec: JSON, before: JSON, families: Sequence[str]) -> Out:
    return Out() if spec.get("type") == EXTERNAL_NAME else settle_families(spec, before, families)


def _take_addresses(item: JSON, had: Sequence[str], held: Held) -> None:
    """Allocate an address of each family of a Service, unless it has it already."""
    spec = item["spec"]
    if spec.get("type") == EXTERNAL_NAME or spec.get("clusterIP") == HEADLESS:
        return
    given = spec.get("clusterIPs") or []
    addresses = []
    for index, family in enumerate(spec["ipFamilies"]):
        wanted = given[index] if index < len(given) else ""
        if wanted in had and wanted:
            addresses.append(wanted)
            continue
        try:
            addresses.append(held.take_address(wanted, family))
        except Unavailable as error:
            which = f" {wanted}" if wanted else ""
            text = f"failed to allocate IP{which}: {error}"
            raise _invalid(item, "spec.clusterIPs", given or None, text) from error
    spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses


def _take_ports(item: JSON, had: frozenset[int], held: Held) -> None:
    spec = item["spec"]
    own = set(had)  # of the Service: two protocols of one port may share a number
    if needs_node_port(spec):
        by_port: dict[int, int] = {}
        wanting = spec.get("ports") or []
        # Ports with a requested number come first, so that no other port is allocated it.
        for index, port in sorted(enumerate(wanting), key=lambda each: not each[1].get("nodePort")):
            wanted = port.get("nodePort") or 0
            if not wanted and port["port"] in by_port and _shares(port, wanting):
                port["nodePort"] = by_port[port["port"]]
                continue
            if wanted not in own or not wanted:
                path = f"spec.ports[{index}].nodePort"
                port["nodePort"] = _port(item, path, wanted, held)
                own.add(port["nodePort"])
            by_port.setdefault(port["port"], port["nodePort"])
    if needs_health_port(spec):
        wanted = spec.get("healthCheckNodePort") or 0
        if not wanted or wanted not in had:
            spec["healthCheckNodePort"] = _port(item, "spec.healthCheckNodePort", wanted, held)


def _shares(port: JSON, ports: Sequence[JSON]) -> bool:
    """Return whether a port differs from all ports of the same number by its protocol."""
    same = [one for one in ports if one["port"] == port["port"]]
    return len({one.get("protocol", "TCP") for one in same}) == len(same)


def _port(item: JSON, path: str, wanted: int, held: Held) -> int:
    try:
        return held.take_port(wanted)
    except Unavailable as error:
        text = str(error) if wanted else f"failed to allocate a nodePort: {error}"
        raise _invalid(item, path, wanted, text) from error


def _invalid(item: JSON, path: str, value: Any, text: str) -> Exception:
    cause = causes.invalid(path, value, text)
    return causes.invalid_object("Service", "", item["metadata"].get("name", ""), [cause])


def needs_address(spec: JSON) -> bool:
    """Return whether a Service of this type has a clusterIP, which may be None."""
    return bool(spec.get("type", "ClusterIP") != EXTERNAL_NAME)


def needs_node_port(spec: JSON) -> bool:
    """Return whether the ports of a Service need node ports."""
    if spec.get("type") == NODE_PORT:
        return True
    return (
        spec.get("type") == LOAD_BALANCER and spec.get("allocateLoadBalancerNodePorts") is not False
    )


def needs_health_port(spec: JSON) -> bool:
    """Return whether a Service needs a health check node port for load balancers."""
    return spec.get("type") == LOAD_BALANCER and spec.get("externalTrafficPolicy") == "Local"


def _pair_addresses(spec: JSON, before: JSON) -> None:
    """Set `clusterIPs` from `clusterIP` if the client, an old one, wrote only that."""
    one, many = spec.get("clusterIP", ""), spec.get("clusterIPs")
    if not before:
        if one and not many:
            spec["clusterIPs"] = [one]
        return
    if one != before.get("clusterIP", "") and many == before.get("clusterIPs"):
        # The client wrote only the old field.
        if one:
            spec["clusterIPs"] = [one, *(many or ())[1:]]
        else:
            spec.pop("clusterIPs", None)


def _drop_unneeded(spec: JSON, before: JSON) -> None:
    """Drop fields that the new type does not use, unless the client changed them, which validation rejects."""
    if needs_address(before) and not needs_address(spec):
        _drop_unchanged(spec, before, _BY_ADDRESS)
    ports, old_ports = spec.get("ports") or [], before.get("ports") or []
    if needs_node_port(before) and not needs_node_port(spec):
        kept = [port.get("nodePort", 0) for port in ports]
        if sorted(kept) == sorted(port.get("nodePort", 0) for port in old_ports) or (
            set(kept) <= ports_of(before) | {0}
        ):
            for port in ports:
                port.pop("nodePort", None)
    if needs_health_port(before) and not needs_health_port(spec):
        _drop_unchanged(spec, before, ("healthCheckNodePort",))
    if before.get("type") == LOAD_BALANCER and spec.get("type") != LOAD_BALANCER:
        _drop_unchanged(spec, before, ("allocateLoadBalancerNodePorts", "loadBalancerClass"))
    outside = (NODE_PORT, LOAD_BALANCER)
    was_outside = before.get("type") in outside or bool(before.get("externalIPs"))
    if was_outside and spec.get("type") not in outside and not spec.get("externalIPs"):
        _drop_unchanged(spec, before, ("externalTrafficPolicy",))


def _drop_unchanged(spec: JSON, before: JSON, names: Sequence[str]) -> None:
    for name in names:
        if spec.get(name) == before.get(name):
            spec.pop(name, None)


def _keep_given(spec: JSON, before: JSON) -> None:
    """Restore allocated fields that the client omitted."""
    if needs_address(before) and needs_address(spec):
        for name in _BY_ADDRESS:
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    if needs_node_port(before) and needs_node_port(spec):
        given = {
            (port.get("protocol", "TCP"), port.get("port")): port.get("nodePort")
            for port in before.get("ports") or ()
        }
        wanted = {port.get("nodePort") for port in spec.get("ports") or ()}
        for port in spec.get("ports") or ():
            number = given.get((port.get("protocol", "TCP"), port.get("port")))
            if not port.get("nodePort") and number and number not in wanted:
                port["nodePort"] = number
    if (
        needs_health_port(before)
        and needs_health_port(spec)
        and not spec.get("healthCheckNodePort")
    ):
        spec["healthCheckNodePort"] = before.get("healthCheckNodePort", 0)
