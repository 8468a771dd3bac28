"""The ranges from which Services get addresses: those of the flags, and of ServiceCIDR objects that are Ready.

The objects are read at each allocation, so a new range is used once it is Ready, and one that is being deleted gives no
more. A range of the flags counts as Ready unless the object `kubernetes` says otherwise.
"""

from collections.abc import Collection, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from msgspec import Struct

from kubelite.api.registry.numbers import Numbers
from kubelite.api.registry.objects import decode
from kubelite.randomness import Randomness
from kubelite.store.protocol import Entry, Store

DEFAULT = "kubernetes"  # the ServiceCIDR of the flags
PREFIX = "/servicecidrs.networking.k8s.io/"

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


class Range(Struct, frozen=True):
    """What is needed of a ServiceCIDR."""

    name: str
    networks: tuple[Network, ...]
    is_ready: bool  # and is not being deleted
    is_refused: bool  # Ready is False, or it is being deleted


class ServiceRanges:
    """The numbers of addresses by range; what is taken is shared by the ranges of a family, which may overlap."""

    def __init__(self, store: Store, networks: Sequence[Network], randomness: Randomness) -> None:
        """`networks` are those of the flags, one of each family, the primary one first."""
        self._store = store
        self._networks = networks
        self._randomness = randomness
        self._taken: dict[int, set[int]] = {4: set(), 6: set()}
        self._numbers: dict[Network, Numbers] = {}
        self._known: dict[str, tuple[int, Range]] = {}  # by name, with the revision

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the cluster, the primary one first."""
        return tuple(f"IPv{network.version}" for network in self._networks)

    @property
    def taken(self) -> int:
        """The count of taken addresses."""
        return sum(map(len, self._taken.values()))

    def usable(self, family: str) -> list[Network]:
        """Return the ranges of a family that give addresses now: the flags' first, then the others by name."""
        objects = list(self._objects())
        is_refused = any(one.name == DEFAULT and one.is_refused for one in objects)
        own = () if is_refused else self._networks
        others = (network for one in objects if one.is_ready for network in one.networks)
        found = (network for network in (*own, *others) if f"IPv{network.version}" == family)
        return list(dict.fromkeys(found))

    def numbers(self, network: Network) -> Numbers:
        """Return the numbers of a range, without the addresses of the network and, with IPv4, of its broadcast."""
        found = self._numbers.get(network)
        if found is None:
            ends = 2 if network.version == 4 else 1
            count = max(network.num_addresses - ends, 0)
            reserved = min(max(16, network.num_addresses // 16), 256)
            first = int(network.network_address) + 1
            taken = self._taken[network.version]
            found = self._numbers[network] = Numbers(
                first, count, reserved, self._randomness, taken
            )
        return found

    def take(self, address: Address) -> bool:
        """Note that an address is taken, whatever its range; False: it is taken already."""
        taken, number = self._taken[address.version], int(address)
        if number in taken:
            return False
        taken.add(number)
        return True

    def give_back(self, address: Address) -> None:
        """Release an address."""
        self._taken[address.version].discard(int(address))

    def _objects(self) -> Iterator[Range]:
        entries = self._store.list(PREFIX).entries
        if len(self._known) > len(entries):
            self._forget({entry.key for entry in entries})
        for entry in entries:
            known = self._known.get(entry.key)
            if known is None or known[0] != entry.revision:
                known = self._known[entry.key] = entry.revision, _range(entry)
            yield known[1]

    def _forget(self, present: Collection[str]) -> None:
        self._known = {key: one for key, one in self._known.items() if key in present}
        self._numbers.clear()  # they are made again when they are needed; what is taken stays


def _range(entry: Entry) -> Range:
    item: dict[str, Any] = decode.decode(entry.value)
    metadata, status = item.get("metadata") or {}, item.get("status") or {}
    ready = [one for one in status.get("conditions") or () if one.get("type") == "Ready"]
    is_going = bool(metadata.get("deletionTimestamp"))
    return Range(
        metadata.get("name", ""),
        tuple(map(ip_network, (item.get("spec") or {}).get("cidrs") or ())),
        is_ready=not is_going and any(one.get("status") == "True" for one in ready),
        is_refused=is_going or any(one.get("status") == "False" for one in ready),
    )


def parsed(text: str) -> Address | None:
    """Return an address; None: it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None
