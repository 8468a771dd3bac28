"""The host's addresses and routes, and the ranges that the cluster would take beside them."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_network

from msgspec import Struct

from kubelite.config import node_name_problem
from kubelite.doctor.findings import Finding, error, note, ok, warning
from kubelite.doctor.wanted import Wanted
from kubelite.net.families import IPV4, IPV6, Family, family_of
from kubelite.net.host_addresses import local_addresses, preferred_source

OWN_LINKS = ("kubelite", "kl")  # how names of kubelite's own links begin
MTU_MIN, MTU_MIN_V6 = 576, 1280
SAME_EVERYWHERE = ("localhost", "localhost.localdomain", "debian", "ubuntu", "raspberrypi")


class HostRoute(Struct, frozen=True):
    """A route of the host to a range of addresses; a prefix of 0 is a default route."""

    network: str
    link: str
    is_ours: bool = False


class Addresses(Struct, frozen=True):
    """What is known of the host's network."""

    primary: str = ""  # of the default route, IPv4; "": none
    primary_v6: str = ""
    local: tuple[str, ...] = ()
    routes: tuple[HostRoute, ...] = ()
    mtu: int = 1500  # of the default route's link


def judge(addresses: Addresses, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about the host's addresses."""
    yield from _judge_name(wanted)
    yield from _judge_own(addresses, wanted)
    yield from _judge_ranges(addresses, wanted.ranges)
    if wanted.has_node and wanted.owns_network:
        is_v6 = any(family_of(text) is IPV6 for text in wanted.ranges)
        if addresses.mtu < (MTU_MIN_V6 if is_v6 else MTU_MIN):
            yield warning(
                f"packets on the default route have {addresses.mtu} bytes at most",
                "what pods send is cut up or lost",
                "raise the MTU of the link",
            )


def _judge_name(wanted: Wanted) -> Iterator[Finding]:
    name = wanted.node_name
    if problem := node_name_problem(name):
        yield error(
            f"a node cannot be called {name}",
            f"a node's name {problem}",
            "give another with --node-name",
        )
    elif name in SAME_EVERYWHERE:
        yield warning(
            f"the node would be called {name}, as many machines are",
            "a second machine of that name cannot join the cluster",
            "hostnamectl set-hostname, or --node-name",
        )
    else:
        yield ok(f"the node would be called {name}")


def _judge_own(addresses: Addresses, wanted: Wanted) -> Iterator[Finding]:
    if wanted.address and wanted.address not in addresses.local:
        yield warning(
            f"the address {wanted.address} of --node-ip is not on this host",
            "others cannot reach the node at it",
            "give an address of this host, or --node-external-ip for one that leads to it",
        )
    for family, primary in ((IPV4, addresses.primary), (IPV6, addresses.primary_v6)):
        if not primary and _is_wanted(family, wanted.ranges):
            yield _unreachable(family, addresses)
        elif primary:
            yield ok(f"the address of the default route is {primary}")


def _is_wanted(family: Family, ranges: Sequence[str]) -> bool:
    families = [family_of(text) for text in ranges]
    return family in families if families else family is IPV4


def _unreachable(family: Family, addresses: Addresses) -> Finding:
    others = [
        one
        for one in addresses.local
        if family_of(one) is family and not one.startswith(("127.", "fe80", "::1"))
    ]
    name = f"IPv{family.version}"
    if others:
        return note(
            f"there is no default route of {name}; the node would have {others[0]}",
            "pods reach nothing beyond the host's own links",
            "nothing, if the machine is to be without a network",
        )
    return warning(
        f"the host has no address of {name} but its own",
        "pods reach the API once there is one",
        "ip address add 192.0.2.1/32 dev lo gives it one, if the machine is to be without a network",
    )


def _judge_ranges(addresses: Addresses, ranges: Sequence[str]) -> Iterator[Finding]:
    clash = False
    for text in ranges:
        for route in addresses.routes:
            if not route.is_ours and _overlap(text, route.network):
                clash = True
                yield warning(
                    f"the range {text} of the cluster overlaps {route.network}, which is on {route.link}",
                    "what is there cannot be reached from pods, or pods cannot be reached",
                    "choose another --cluster-cidr or --service-cidr, before the first start",
                )
    for index, text in enumerate(ranges):
        for other in ranges[index + 1 :]:
            if _overlap(text, other):
                clash = True
                yield error(
                    f"the ranges {text} and {other} overlap",
                    "an address would be a pod's and a Service's",
                    "choose others",
                )
    if ranges and not clash:
        yield ok(f"ranges of the cluster are free: {', '.join(ranges)}")


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one, strict=False), ip_network(other, strict=False)
    if first.version != second.version or 0 in (first.prefixlen, second.prefixlen):
        return False
    return first.overlaps(second)


def gather(_: Wanted) -> Addresses:
    """Ask the kernel for addresses and routes."""
    from kubelite.net.netlink import PROTOCOL_KUBELITE, RouteSocket

    with RouteSocket() as route:
        links = {link.index: link for link in route.links()}
        routes = route.routes()
    names = {index: link.name for index, link in links.items()}
    uplinks = [
        links[one.link_index]
        for one in routes
        if one.prefix_length == 0 and one.link_index in links
    ]
    found = (
        HostRoute(
            f"{one.destination}/{one.prefix_length}",
            names.get(one.link_index, "no link"),
            one.protocol == PROTOCOL_KUBELITE
            or names.get(one.link_index, "").startswith(OWN_LINKS),
        )
        for one in routes
    )
    return Addresses(
        preferred_source(IPV4),
        preferred_source(IPV6),
        tuple(sorted(local_addresses())),
        tuple(found),
        uplinks[0].mtu if uplinks else 1500,
    )
