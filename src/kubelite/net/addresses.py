"""Hands out the pod addresses of one node's range.

Pure. After a restart the caller calls `reserve` for each address that a link of a pod still has.
"""

import ipaddress


class AddressesExhausted(Exception):
    """The node's range has no free address."""


class AddressPool:
    """Addresses of an IPv4 range by owner; the first is the gateway's, the network's and broadcast's are left out.

    A released address is reused as late as possible, so that late packets to a dead pod reach no other pod.
    """

    def __init__(self, cidr: str) -> None:
        self.network = ipaddress.IPv4Network(cidr)
        if self.network.num_addresses < 4:
            raise ValueError(f"cannot use {cidr} for pods: it has no room for a gateway and a pod")
        self._base = int(self.network.network_address)
        self._last = self.network.num_addresses - 2
        self._used = 0b11  # bit n: address n of the range; the network's own and the gateway's
        self._next = 2
        self._owned: dict[str, int] = {}

    @property
    def gateway(self) -> str:
        """The address of the bridge."""
        return self._text(1)

    @property
    def allocated(self) -> list[str]:
        """The addresses that owners have now."""
        return [self._text(offset) for offset in self._owned.values()]

    def get(self, owner: str) -> str | None:
        """Return the address allocated to `owner`, if any."""
        offset = self._owned.get(owner)
        return None if offset is None else self._text(offset)

    def allocate(self, owner: str) -> str:
        """Return the address of `owner`; allocate one if it has none. Raises AddressesExhausted."""
        offset = self._owned.get(owner)
        if offset is None:
            offset = self._free_offset()
            self._take(owner, offset)
        return self._text(offset)

    def reserve(self, owner: str, address: str) -> bool:
        """Allocate the address that `owner` uses already; False if it is outside the range or another owner's."""
        offset = int(ipaddress.IPv4Address(address)) - self._base
        if not 2 <= offset <= self._last or self._used >> offset & 1 or owner in self._owned:
            return self._owned.get(owner) == offset
        self._take(owner, offset)
        return True

    def release(self, owner: str) -> None:
        """Release the address of `owner`; does nothing if it has none."""
        offset = self._owned.pop(owner, None)
        if offset is not None:
            self._used &= ~(1 << offset)

    def _take(self, owner: str, offset: int) -> None:
        self._used |= 1 << offset
        self._owned[owner] = offset
        self._next = offset + 1

    def _free_offset(self) -> int:
        """Find the first free offset at or after the last one given, going round once."""
        for start in (self._next, 2):
            free = ~(self._used >> start)
            offset = start + (free & -free).bit_length() - 1
            if offset <= self._last:
                return offset
        raise AddressesExhausted(f"cannot give a pod an address: {self.network} is full")

    def _text(self, offset: int) -> str:
        return str(ipaddress.IPv4Address(self._base + offset))
