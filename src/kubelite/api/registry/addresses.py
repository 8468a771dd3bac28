"""The allocator of the cluster addresses and node ports of Services.

The store is authoritative: the Services, and an IPAddress per address, which the commit of a Service writes beside it.
The allocated numbers are kept in memory from a scan at the start, so an allocation is a look-up. A number is taken at
once and released if the write fails, so two writes in flight never get the same one.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from kubelite.api.registry.allocation import Unavailable, addresses_of, ports_of
from kubelite.api.registry.numbers import Numbers as Numbers  # noqa: PLC0414 - exported
from kubelite.api.registry.objects import decode, put
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.service_ranges import Address, Network, ServiceRanges, parsed
from kubelite.randomness import Randomness
from kubelite.store.protocol import Delete, Operation, Store

SERVICES = "/services.core/"


class ServiceAddresses:
    """The cluster addresses and node ports that Services have allocated."""

    def __init__(
        self,
        store: Store,
        *,
        records: Resource,
        cidr: str,
        node_ports: tuple[int, int],
        randomness: Randomness,
    ) -> None:
        """`records` is the row of IPAddresses; `node_ports` are the first and the last port of the range.

        `cidr` is the range of the flags, or one of each family with a comma between them.
        """
        self._records = records
        networks = [ip_network(part.strip()) for part in cidr.split(",")]
        size = min(network.num_addresses for network in networks)
        assert size >= 8, f"a service range of {size} addresses is too small"
        self._networks = networks
        self._addresses = ServiceRanges(store, networks, randomness)
        first, last = node_ports
        count = last - first + 1
        self._ports = Numbers(first, count, min(max(16, count // 32), 128), randomness)
        self._range = f"{first}-{last}"
        self._store = store
        self._scan(store)

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the cluster, the primary one first."""
        return self._addresses.families

    @property
    def first_address(self) -> str:
        """The first address of the primary range, which the API's own Service has."""
        return str(self._networks[0][1])

    def take_address(self, wanted: str = "", family: str = "") -> str:
        """Allocate `wanted`, or any free address of a family, by default the primary one; raises Unavailable."""
        if not wanted:
            return self._take_any_address(family or self.families[0])
        address = parsed(wanted)
        ranges = self._addresses.usable("" if address is None else f"IPv{address.version}")
        in_range = address is not None and any(
            int(address) in self._addresses.numbers(network) for network in ranges
        )
        if address is None or not in_range:
            raise Unavailable(
                f"the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {_listed(ranges or self._networks)}"
            )
        if self._is_recorded(str(address)) or not self._addresses.take(address):
            raise Unavailable("provided IP is already allocated")
        return wanted

    def _take_any_address(self, family: str) -> str:
        """Allocate a free address that no IPAddress object, which a user may have created, records."""
        ranges = self._addresses.usable(family)
        recorded = []
        try:
            for network in ranges:
                numbers = self._addresses.numbers(network)
                while (number := numbers.take_any()) is not None:
                    address = _address(number, network.version)
                    if not self._is_recorded(str(address)):
                        return str(address)
                    recorded.append(address)
        finally:
            for address in recorded:
                self._addresses.give_back(address)
        raise Unavailable(f"range is full: {_listed(ranges or self._networks)}")

    def _is_recorded(self, address: str) -> bool:
        return self._store.get(self._records.key("", address)) is not None

    def give_back_address(self, address: str) -> None:
        """Release an address; ignore what is none."""
        if (found := parsed(address)) is not None:
            self._addresses.give_back(found)

    def take_port(self, wanted: int = 0) -> int:
        """Allocate the node port `wanted`, or any free one; raises Unavailable."""
        if not wanted:
            number = self._ports.take_any()
            if number is None:
                raise Unavailable(f"range is full: {self._range}")
            return number
        if wanted not in self._ports:
            raise Unavailable(
                "provided port is not in the valid range. "
                f"The range of valid ports is {self._range}"
            )
        if not self._ports.take(wanted):
            raise Unavailable("provided port is already allocated")
        return wanted

    def give_back_port(self, port: int) -> None:
        """Release a node port."""
        self._ports.give_back(port)

    def record(
        self,
        taken: Iterable[str],
        given_back: Iterable[str],
        service: dict[str, Any],
        now: str,
        uid: str,
    ) -> list[Operation]:
        """Return the operations that write and remove the IPAddress objects in the commit of a Service."""
        operations: list[Operation] = [
            put(self._records, ip_address_object(address, service, now, uid), 0)
            for address in taken
        ]
        for address in given_back:
            entry = self._store.get(self._records.key("", str(ip_address(address))))
            if entry is not None:
                operations.append(Delete(entry.key, entry.revision))
        return operations

    def _scan(self, store: Store) -> None:
        for entry in store.list(SERVICES).entries:
            spec = decode.decode(entry.value).get("spec") or {}
            for address in addresses_of(spec):
                if (found := parsed(address)) is not None:
                    self._addresses.take(found)
            for port in ports_of(spec):
                if port in self._ports:
                    self._ports.take(port)


def ip_address_object(address: str, service: dict[str, Any], now: str, uid: str) -> dict[str, Any]:
    """Return the IPAddress object that records the Service of an address."""
    metadata, parsed_address = service["metadata"], ip_address(address)
    return {
        "metadata": {
            "name": str(parsed_address),
            "uid": uid,
            "creationTimestamp": now,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": f"IPv{parsed_address.version}",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {
            "parentRef": {
                "resource": "services",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
            }
        },
    }


def _address(number: int, version: int) -> Address:
    # `ip_address` would take a small number for IPv4.
    return IPv4Address(number) if version == 4 else IPv6Address(number)


def _listed(ranges: Iterable[Network]) -> str:
    return ", ".join(map(str, ranges))
