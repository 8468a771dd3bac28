"""What the kernel is asked for besides the plugins' work. Blocks; raises OSError."""

import os
from collections.abc import Sequence

from kubelite.net import ipv6_host
from kubelite.net.cni.calls import INTERFACE
from kubelite.net.families import family_of
from kubelite.net.namespaces import opened_namespace
from kubelite.net.netlink import SCOPE_HOST, RouteSocket, open_in
from kubelite.net.pod_network import BRIDGE, DEFAULT_MTU, IP_FORWARD, hardware_address


def answer_at(addresses: Sequence[str]) -> None:
    """Make the node answer at addresses of its own: at a bridge that has no ports."""
    with RouteSocket() as route:
        if (link := route.find_link(BRIDGE)) is None:
            route.add_bridge(BRIDGE, mac=hardware_address(addresses[0]), mtu=DEFAULT_MTU)
            link = route.find_link(BRIDGE)
            assert link is not None
        versions = {family_of(address).version for address in addresses}
        if 6 in versions:
            ipv6_host.set_link(BRIDGE)
        wanted = {(address, family_of(address).bits) for address in addresses}
        for stale in set(route.addresses(link.index)) - wanted:
            route.delete_address(link.index, *stale)
        for address in sorted(wanted):
            route.add_address(link.index, *address, scope=SCOPE_HOST)
        route.set_link(link.index, up=True)
    if 4 in versions and IP_FORWARD.read_text().strip() != "1":
        IP_FORWARD.write_text("1")
    if 6 in versions:
        ipv6_host.forward()


def identity(netns: str) -> tuple[int, int]:
    """Return device and inode of a pod's namespace; the host's own is refused."""
    with opened_namespace(netns) as namespace:
        status = os.fstat(namespace)
        return status.st_dev, status.st_ino


def raise_loopback(netns: str) -> None:
    """Bring the loopback interface of a namespace up, which no plugin of the network does."""
    with opened_namespace(netns) as namespace, open_in(namespace) as pod:
        if (loopback := pod.find_link("lo")) is not None:
            pod.set_link(loopback.index, up=True)


def addresses_in(netns: str) -> frozenset[str]:
    """Return the addresses of a pod's interface; none if it has none, or if the namespace is gone."""
    try:
        with opened_namespace(netns) as namespace, open_in(namespace) as pod:
            link = pod.find_link(INTERFACE)
            found = pod.addresses(link.index) if link is not None else []
            return frozenset(address for address, _ in found)
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()
