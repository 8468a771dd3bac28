"""The allocator of the cluster addresses and node ports of Services.

The store is authoritative: the Services, and an IPAddress per address, which the commit of a Service writes beside it.
The allocated numbers are kept in memory from a scan at the start, so an allocation is a look-up. A number is taken at
once and released if the write fails, so two writes in flight never get the same one.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

from kubelite.api.registry.allocation import Unavailable, addresses_of, ports_of
from kubelite.api.registry.objects import decode, put
from kubelite.api.registry.resource import Resource
from kubelite.randomness import Randomness
from kubelite.store.protocol import Delete, Operation, Store

SERVICES = "/services.core/"


class Numbers:
    """An allocator over a range of integers.

    The `reserved` lowest numbers are for requests of a certain number; others get them only if the rest is full.
    """

    def __init__(self, first: int, count: int, reserved: int, randomness: Randomness) -> None:
        self.first = first
        self.count = count
        self._reserved = reserved if reserved < count else 0
        self._randomness = randomness
        self._taken: set[int] = set()

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.first + self.count

    @property
    def taken(self) -> int:
        """The count of allocated numbers."""
        return len(self._taken)

    def take(self, number: int) -> bool:
        """Allocate a number of the range; False: it is allocated already."""
        if number in self._taken:
            return False
        self._taken.add(number)
        return True

    def take_any(self) -> int | None:
        """Allocate a free number, from a random start; None: the range is full."""
        for low, high in ((self._reserved, self.count), (0, self._reserved)):
            span = high - low
            if not span:
                continue
            start = int(self._randomness.uniform(0, span))
            for step in range(span):
                number = self.first + low + (start + step) % span
                if self.take(number):
                    return number
        return None

    def give_back(self, number: int) -> None:
        """Release a number."""
        self._taken.discard(number)


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
        """`records` is the row of IPAddresses; `node_ports` are the first and the last port of the range."""
        self._records = records
        self._network = IPv4Network(cidr)
        size = self._network.num_addresses
        assert size >= 8, f"a service range of {size} addresses is too small"
        # The network and broadcast addresses are not allocated.
        self._addresses = Numbers(
            int(self._network.network_address) + 1,
            size - 2,
            min(max(16, size // 16), 256),
            randomness,
        )
        first, last = node_ports
        count = last - first + 1
        self._ports = Numbers(first, count, min(max(16, count // 32), 128), randomness)
        self._range = f"{first}-{last}"
        self._store = store
        self._scan(store)

    @property
    def first_address(self) -> str:
        """The first address of the range, which the API's own Service has."""
        return str(IPv4Address(self._addresses.first))

    @property
    def cidr(self) -> str:
        """The CIDR of the addresses."""
        return str(self._network)

    def take_address(self, wanted: str = "") -> str:
        """Allocate `wanted`, or any free address; raises Unavailable."""
        if not wanted:
            return self._take_any_address()
        number = _number(wanted)
        if number is None or number not in self._addresses:
            raise Unavailable(
                f"the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {self.cidr}"
            )
        if self._is_recorded(wanted) or not self._addresses.take(number):
            raise Unavailable("provided IP is already allocated")
        return wanted

    def _take_any_address(self) -> str:
        """Allocate a free address that no IPAddress object, which a user may have created, records."""
        recorded = []
        try:
            while (number := self._addresses.take_any()) is not None:
                address = str(IPv4Address(number))
                if not self._is_recorded(address):
                    return address
                recorded.append(number)
        finally:
            for number in recorded:
                self._addresses.give_back(number)
        raise Unavailable(f"range is full: {self.cidr}")

    def _is_recorded(self, address: str) -> bool:
        return self._store.get(self._records.key("", address)) is not None

    def give_back_address(self, address: str) -> None:
        """Release an address; ignore one that is not IPv4."""
        if (number := _number(address)) is not None:
            self._addresses.give_back(number)

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
            entry = self._store.get(self._records.key("", address))
            if entry is not None:
                operations.append(Delete(entry.key, entry.revision))
        return operations

    def _scan(self, store: Store) -> None:
        for entry in store.list(SERVICES).entries:
            spec = decode.decode(entry.value).get("spec") or {}
            for address in addresses_of(spec):
                if (number := _number(address)) is not None and number in self._addresses:
                    self._addresses.take(number)
            for port in ports_of(spec):
                if port in self._ports:
                    self._ports.take(port)


def ip_address_object(address: str, service: dict[str, Any], now: str, uid: str) -> dict[str, Any]:
    """Return the IPAddress object that records the Service of an address."""
    metadata = service["metadata"]
    return {
        "metadata": {
            "name": address,
            "uid": uid,
            "creationTimestamp": now,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
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


def _number(address: str) -> int | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return int(parsed) if isinstance(parsed, IPv4Address) else None
