"""What a bed looks like, as data: links, the hosts on them, and which link hides behind which.

All links are joined by one router, which has the first address of each. A link that is `behind` another one is seen
there under the router's address only: its hosts reach everybody, and nobody can begin a conversation with them.
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network

NAME_LENGTH_MAX = 13  # an interface's name has room for 15 characters, and two say which end it is
FIRST_HOST = 10


@dataclass(frozen=True)
class Link:
    """A shared medium with a range of addresses."""

    name: str
    network: str
    behind: str = ""  # the link under whose address of the router its hosts are seen

    @property
    def router(self) -> IPv4Interface:
        """The router's address on it."""
        network = IPv4Network(self.network)
        return IPv4Interface(f"{network[1]}/{network.prefixlen}")


@dataclass(frozen=True)
class HostPlan:
    """A host and the link that it is plugged into."""

    name: str
    link: str


@dataclass(frozen=True)
class Topology:
    """The links and the hosts of a bed. Raises ValueError for what cannot be built."""

    links: tuple[Link, ...]
    hosts: tuple[HostPlan, ...]

    def __post_init__(self) -> None:
        names = [link.name for link in self.links] + [host.name for host in self.hosts]
        if len(set(names)) < len(names):
            raise ValueError(f"a name stands twice in {names}")
        if long := [name for name in names if len(name) > NAME_LENGTH_MAX]:
            raise ValueError(f"longer than {NAME_LENGTH_MAX} characters: {long}")
        known = {link.name for link in self.links}
        used = {host.link for host in self.hosts} | {link.behind for link in self.links} - {""}
        if used - known:
            raise ValueError(f"no such links: {sorted(used - known)}")

    def link(self, name: str) -> Link:
        """Return the link of that name; raises KeyError."""
        return {link.name: link for link in self.links}[name]

    def address(self, host: str) -> IPv4Interface:
        """Return the address that a host gets: by its place among the hosts of its link."""
        plan = {plan.name: plan for plan in self.hosts}[host]
        place = [other.name for other in self.hosts if other.link == plan.link].index(host)
        network = IPv4Network(self.link(plan.link).network)
        return IPv4Interface(f"{network[FIRST_HOST + place]}/{network.prefixlen}")


LAN = Link("lan", "192.0.2.0/24")
FAR = Link("far", "198.51.100.0/24")
HOME = Link("home", "203.0.113.0/24", behind="lan")


def one_link(*names: str) -> Topology:
    """Put all hosts on one link."""
    return Topology((LAN,), tuple(HostPlan(name, LAN.name) for name in names))


def spread(**hosts: Link) -> Topology:
    """Put each host on the link that is given for it; the links in use are joined by the router."""
    used = {link.name: link for link in (LAN, *hosts.values())}
    plans = tuple(HostPlan(name, link.name) for name, link in hosts.items())
    return Topology(tuple(used.values()), plans)
