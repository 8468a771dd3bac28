"""The connections of one listener, by where they come from: how many there may be and what they may hold.

A source is a remote IPv4 address, an IPv6 /64 network (one host commands as much) or loopback. Each source has a cap
below the total. When a cap is met the newcomer takes the place of a connection that is idle, so connections that ask
for nothing keep nobody out; when none is idle the newcomer is refused. Beyond the total some places are kept for
loopback, so that an administrator on the host gets in when all others are taken. Any process of the host has those
places, also a container on the host's network.
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
LOOKS_MAX = 32  # connections asked whether they are idle, for one newcomer


class Slot:
    """The place of one connection, taken when it is accepted."""

    __slots__ = ("_table", "charged_bytes", "close", "is_idle", "is_open", "source")

    def __init__(self, table: "ConnectionTable", source: str) -> None:
        self._table = table
        self.source = source
        self.is_open = True
        self.charged_bytes = 0  # of the shared budgets: what is beyond `HELD_ALWAYS`
        self.is_idle: Callable[[], bool] = _never  # set once the connection is established
        self.close: Callable[[], None] = _nothing

    def hold(self, size_bytes: int) -> bool:
        """Note how much the connection makes the process hold now; False if that is too much."""
        charge = max(0, size_bytes - HELD_ALWAYS.value)
        if charge == self.charged_bytes or not self.is_open:
            return True
        return self._table.charge(self, charge)

    def release(self) -> None:
        """Give the place back; it may be called again."""
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
        """How many places are taken."""
        return len(self._slots)

    def admit(self, address: str) -> Slot | None:
        """Take a place for a connection from an address; None: there is none."""
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
        """Forget a slot; called by `Slot.release`."""
        self.charge(slot, 0)
        self._slots.pop(slot)
        own = self._sources[slot.source]
        own.pop(slot)
        if not own:
            del self._sources[slot.source]

    def charge(self, slot: Slot, charge: int) -> bool:
        """Replace what a slot holds of the shared budgets; False, and nothing changes, when one is used up."""
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
        # What runs on the host itself may take half of all places.
        return max(1, self.total // 2) if source == LOOPBACK else self._per_address


def source_of(address: str) -> str:
    """Return the source an address belongs to; text that is no address is one of its own."""
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
    """Close a connection that is idle, if one of the next few in turn is."""
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
