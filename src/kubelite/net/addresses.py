"""Hands out the pod addresses of one node's ranges, one of each family.

Pure. After a restart the caller calls `reserve` for the addresses that a link of a pod still has.
"""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from msgspec import Struct

OFFSET_MAX = 65534  # a range of IPv6 has more addresses than a node has use for


class AddressesExhausted(Exception):
    """The node's range has no free address."""


class Allotment(Struct, frozen=True):
    """What an owner has: the number of its addresses in the ranges, and the addresses."""

    offset: int
    addresses: tuple[str, ...]


class AddressPool:
    """Addresses of one or two ranges by owner; the first is the gateway's, the network's and the last are left out.

    An owner has the same number in each range, so that one address tells the other, and the link's hardware address
    both. A released address is reused as late as possible, so that late packets to a dead pod reach no other pod.
    """

    def __init__(self, *cidrs: str) -> None:
        """The first range is that of the primary family."""
        self.networks = tuple(map(ip_network, cidrs))
        for network in self.networks:
            if network.num_addresses < 4:
                raise ValueError(
                    f"cannot use {network} for pods: it has no room for a gateway and a pod"
                )
        self._last = min(OFFSET_MAX, *(network.num_addresses - 2 for network in self.networks))
        self._used = 0b11  # bit n: address n of the range; the network's own and the gateway's
        self._next = 2
        self._owned: dict[str, Allotment] = {}

    @property
    def gateways(self) -> tuple[str, ...]:
        """The addresses of the bridge, one of each family."""
        return self._texts(1)

    @property
    def allocated(self) -> list[str]:
        """The addresses that owners have now."""
        return [address for owned in self._owned.values() for address in owned.addresses]

    def get(self, owner: str) -> tuple[str, ...]:
        """Return the addresses allocated to `owner`, if any."""
        owned = self._owned.get(owner)
        return () if owned is None else owned.addresses

    def allocate(self, owner: str) -> tuple[str, ...]:
        """Return the addresses of `owner`; allocate them if it has none. Raises AddressesExhausted."""
        if owner not in self._owned:
            offset = self._free_offset()
            self._take(owner, offset, self._texts(offset))
        return self._owned[owner].addresses

    def reserve(self, owner: str, addresses: Sequence[str]) -> bool:
        """Allocate the addresses that `owner` uses already; False if one is outside the ranges or another owner's.

        They may be fewer than there are ranges: a pod keeps what it had when the cluster gets a second family.
        """
        offsets = {self._offset(address) for address in addresses}
        offset = offsets.pop() if len(offsets) == 1 else 0
        if not 2 <= offset <= self._last or self._used >> offset & 1 or owner in self._owned:
            known = self._owned.get(owner)
            return known is not None and known.addresses == tuple(addresses)
        self._take(owner, offset, tuple(addresses))
        return True

    def release(self, owner: str) -> None:
        """Release the addresses of `owner`; does nothing if it has none."""
        owned = self._owned.pop(owner, None)
        if owned is not None:
            self._used &= ~(1 << owned.offset)

    def _take(self, owner: str, offset: int, addresses: tuple[str, ...]) -> None:
        self._used |= 1 << offset
        self._owned[owner] = Allotment(offset, addresses)
        self._next = offset + 1

    def _free_offset(self) -> int:
        """Find the first free offset at or after the last one given, going round once."""
        for start in (self._next, 2):
            free = ~(self._used >> start)
            offset = start + (free & -free).bit_length() - 1
            if offset <= self._last:
                return offset
        ranges = " and ".join(map(str, self.networks))
        raise AddressesExhausted(f"cannot give a pod an address: {ranges} is full")

    def _offset(self, text: str) -> int:
        """Return the number of an address in its range; 0 if it is in none."""
        address = ip_address(text)
        for network in self.networks:
            if address in network:
                return int(address) - int(network.network_address)
        return 0

    def _texts(self, offset: int) -> tuple[str, ...]:
        return tuple(str(network[offset]) for network in self.networks)
