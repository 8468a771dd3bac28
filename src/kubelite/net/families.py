"""The two families of addresses as rules, routes and records spell them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from msgspec import Struct

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Family(Struct, frozen=True):
    """A family of addresses; `keyword` is nftables' word for it, also as family of a table."""

    version: int
    keyword: str
    address_type: str  # of a set's elements
    slices: str  # the addressType of its EndpointSlices
    bits: int
    loopback: str
    multicast: str
    anywhere: str
    redirect: str  # how nftables matches a redirect of the router
    iptables: str  # the program of older firewalls

    @property
    def all_addresses(self) -> list[tuple[int, int]]:
        """The addresses of the family as intervals of numbers."""
        return [(0, 2**self.bits - 1)]

    def address(self, number: int) -> Address:
        """Return an address by its number."""
        return IPv4Address(number) if self.version == 4 else IPv6Address(number)

    def place(self, address: str, port: int) -> str:
        """Write an address with a port as nftables and URLs do."""
        return f"{address}:{port}" if self.version == 4 else f"[{address}]:{port}"


IPV4: Final = Family(
    4,
    "ip",
    "ipv4_addr",
    "IPv4",
    32,
    "127.0.0.0/8",
    "224.0.0.0/4",
    "0.0.0.0",  # noqa: S104 - compared, and bound where all addresses of the node are meant
    "icmp type redirect",
    "iptables",
)
IPV6: Final = Family(
    6,
    "ip6",
    "ipv6_addr",
    "IPv6",
    128,
    "::1/128",
    "ff00::/8",
    "::",
    "icmpv6 type nd-redirect",
    "ip6tables",
)


def family_of(text: str) -> Family:
    """Return the family of an address or range, which must be a valid one."""
    return IPV6 if ":" in text else IPV4


def network_of(text: str) -> Network:
    """Return a range, whose host bits may be set. Raises ValueError."""
    return ip_network(text, strict=False)
