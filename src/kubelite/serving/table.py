"""Limits on the connections of one listener by source: their number and the bytes they may hold.

A source is a remote IPv4 address, an IPv6 /64 network (one host may own all of it) or loopback. Each source has a cap
below the total. At a cap a new connection displaces an idle one, so idle connections cannot lock out clients; without
an idle one it is rejected. Some places beyond the total are reserved for loopback, so that an administrator on the host
gets in when all others are taken. Every process of the host can use those, also a container on the host's network.
"""

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from kubelite.limits import (
    CONNECTIONS_FOR_LOOPBACK,
    CONNECTIONS_PER_ADDRESS,
    HELD_ALWAYS,
    HELD_PER_ADDRESS,
    HELD_TOTAL,
    Limit,
)

LOOPBACK = "loopback"
LOOKS_MAX = 32  # connections examined for an idle one, per new connection


class Slot:
    """The place of one connection, taken when it is accepted."""

    __slots__ = ("_table", "charged_bytes", "close", "is_idle", "is_open", "source")

    def __init__(self, table: "ConnectionTable", source: str) -> None:
        self._table = table
        self.source = source
        self.is_open = True
        self.charged_bytes = 0  # to the shared budgets: the bytes beyond `HELD_ALWAYS`
        self.is_idle: Callable[[], bool] = _never  # set once the connection is established
        self.close: Callable[[], None] = _nothing

    def hold(self, size_bytes: int) -> bool:
        """Set the bytes that the connection makes the process hold; return whether the budgets allow it."""
        charge = max(0, size_bytes - HELD_ALWAYS.value)
        if charge == self.charged_bytes or not self.is_open:
            return True
        return self._table.charge(self, charge)

    def release(self) -> None:
        """Free the place. Idempotent."""
        if self.is_open:
            self.is_open = False
            self._table.remove(self)


class ConnectionTable:
    """The places of one listener."""

    def __init__(
        self, limit: Limit, total: int, *, per_address: int | None = None, kept: int | None = None
    ) -> None:
        """`limit` counts refusals; `kept` places beyond `total` are for loopback alone."""
        self._limit = limit
        self.total = total
        self._kept = CONNECTIONS_FOR_LOOPBACK.value if kept is None else kept
        most = (
            min(CONNECTIONS_PER_ADDRESS.value, total // 4) if per_address is None else per_address
        )
        self._per_address = max(1, most)
        self._slots: OrderedDict[Slot, None] = OrderedDict()
        self._sources: dict[str, OrderedDict[Slot, None]] = {}
        self._held: dict[str, int] = {}
        self.held_bytes = 0

    @property
    def count(self) -> int:
        """The number of places taken."""
        return len(self._slots)

    def admit(self, address: str) -> Slot | None:
        """Take a place for a connection from an address, displacing an idle connection if needed; None if full."""
        source = source_of(address)
        own = self._sources.get(source, _NONE)
        if len(own) >= self._share(source) and not _displace(own):
            CONNECTIONS_PER_ADDRESS.reached()
            return None
        places = self.total + (self._kept if source == LOOPBACK else 0)
        if len(self._slots) >= self.total and not _displace(self._slots):
            self._limit.reached()
            if len(self._slots) >= places:
                return None
        slot = Slot(self, source)
        self._slots[slot] = None
        self._sources.setdefault(source, OrderedDict())[slot] = None
        return slot

    def remove(self, slot: Slot) -> None:
        """Remove a slot and its charge; called by `Slot.release`."""
        self.charge(slot, 0)
        self._slots.pop(slot)
        own = self._sources[slot.source]
        own.pop(slot)
        if not own:
            del self._sources[slot.source]

    def charge(self, slot: Slot, charge: int) -> bool:
        """Set a slot's charge in bytes; False, and nothing changes, if a budget would be exceeded."""
        more = charge - slot.charged_bytes
        held = self._held.get(slot.source, 0) + more
        if more > 0:
            share = HELD_TOTAL.value // 2 if slot.source == LOOPBACK else HELD_PER_ADDRESS.value
            if held > share:
                HELD_PER_ADDRESS.reached()
                return False
            if self.held_bytes + more > HELD_TOTAL.value:
                HELD_TOTAL.reached()
                return False
        self.held_bytes += more
        slot.charged_bytes = charge
        if held:
            self._held[slot.source] = held
        else:
            self._held.pop(slot.source, None)
        return True

    def _share(self, source: str) -> int:
        # Processes of the host itself may take half of all places.
        return max(1, self.total // 2) if source == LOOPBACK else self._per_address


def plain_address(address: str) -> str:
    """Return an address as its owner writes it: a socket for both families shows IPv4 addresses as IPv6."""
    mapped = address.removeprefix("::ffff:")
    return mapped if mapped != address and "." in mapped else address


def source_of(address: str) -> str:
    """Return the source of an address; text that is no IP address is its own source."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped is None:
            return LOOPBACK if parsed.is_loopback else str(ip_network((parsed, 64), strict=False))
        parsed = parsed.ipv4_mapped
    return LOOPBACK if parsed.is_loopback else str(parsed)


_NONE: OrderedDict[Slot, None] = OrderedDict()


def _displace(slots: OrderedDict[Slot, None]) -> bool:
    """Close the first idle connection among the next LOOKS_MAX, in rotation; return whether there was one."""
    for _ in range(min(LOOKS_MAX, len(slots))):
        slot = next(iter(slots))
        if slot.is_idle():
            slot.release()
            slot.close()
            return True
        slots.move_to_end(slot)
    return False


def _never() -> bool:
    return False


def _nothing() -> None:
    return None
