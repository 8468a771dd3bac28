"""Links, addresses and routes of a network namespace, through pyroute2.

Calls block, mostly for a few milliseconds, but wait whenever the kernel's one lock for links is held: make them in a
thread, and each `RouteSocket` in one thread only. pyroute2 runs them on a loop of that thread's own, for its
asynchronous sockets do not work on uvloop. It is loaded by `load`, or by the first socket: that takes longer than
anything else at the start of a node, although only a part of it is loaded. Failures are `OSError` with the kernel's
errno.
"""

import ctypes
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from kubelite.net.families import family_of

PROTOCOL_KUBELITE: Final = 142  # the program that made a route; see /etc/iproute2/rt_protos
TABLE_MAIN = 254
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
RTNH_ONLINK = 4
NODAD = (
    0x02  # an address that is used at once, without asking the link whether another machine has it
)
SYSTEM_FAMILIES: Final = {4: int(socket.AF_INET), 6: int(socket.AF_INET6)}
NEIGHBOUR_PERMANENT, NEIGHBOUR_STATIC = 0x80, 0x40  # states: NUD_PERMANENT, NUD_NOARP
NEIGHBOUR_SELF, NEIGHBOUR_MASTER = (
    0x02,
    0x04,
)  # flags: of the link itself, of the bridge it is a port of
IFF_UP, IFF_RUNNING = 0x1, 0x40
SOL_NETLINK, ADD_MEMBERSHIP, GROUP_LINK = 270, 1, 1
CLONE_NEWNET = 0x40000000
RECEIVE_BYTES = 1 << 16
FOREVER = 0xFFFFFFFF  # seconds of an address's life
ANYWHERE: Final = {int(socket.AF_INET): "0.0.0.0", int(socket.AF_INET6): "::"}  # noqa: S104 - of default routes


class Link(Struct, frozen=True):
    """A network interface."""

    index: int
    name: str
    alias: str = ""
    mtu: int = 0
    master: int = 0
    is_up: bool = False
    is_running: bool = False  # it has carrier; `up` alone is administrative
    tunnel_source: str = ""  # of a VXLAN link: the address its packets come from
    mac: bytes = b""


class Route(Struct, frozen=True):
    """A route to a range of addresses; an empty destination is the default route of the gateway's family."""

    destination: str
    prefix_length: int
    link_index: int
    gateway: str = ""
    protocol: int = PROTOCOL_KUBELITE  # who made it
    is_onlink: bool = False  # the gateway is behind the link although no address there says so


@cache
def load() -> Any:
    """Import what speaks rtnetlink of pyroute2: 3 MB instead of 8. Blocks.

    The package's own `__init__` imports all of the library: databases, wireless, containers and more. An empty module
    in its place finds the same submodules and imports none.
    """
    found = find_spec("pyroute2")
    if found is None:
        raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
    sys.modules.setdefault("pyroute2", module_from_spec(found))
    return import_module("pyroute2.iproute")


class RouteSocket:
    """Links, addresses and routes of the namespace the socket was opened in."""

    def __init__(self) -> None:
        self._route = load().IPRoute()
        self._failure = import_module("pyroute2.netlink.exceptions").NetlinkError
        self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)

    def close(self) -> None:
        """Close the sockets."""
        self._route.close()
        self._events.close()

    def __enter__(self) -> "RouteSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _errors_named(self, *, tolerated: int = 0) -> Iterator[None]:
        try:
            yield
        except self._failure as error:
            if error.code != tolerated:
                raise OSError(error.code, os.strerror(error.code)) from error

    def links(self) -> list[Link]:
        """Return all links."""
        with self._errors_named():
            return [_link(message) for message in self._route.get_links()]

    def find_link(self, name: str) -> Link | None:
        """Return the link called `name`."""
        with self._errors_named(tolerated=errno.ENODEV):
            for message in self._route.link("get", ifname=name):
                return _link(message)
        return None

    def add_bridge(self, name: str, *, mac: bytes, mtu: int) -> None:
        """Make a bridge; a fixed `mac` keeps it from changing as ports come and go."""
        with self._errors_named():
            self._route.link("add", ifname=name, kind="bridge", address=mac.hex(":"), mtu=mtu)

    def add_veth(
        self, name: str, *, peer: str, peer_namespace: int, peer_mac: bytes, mtu: int
    ) -> None:
        """Make a pair of links, the other end called `peer` in the namespace of the open file `peer_namespace`."""
        other = {
            "ifname": peer,
            "net_ns_fd": peer_namespace,
            "mtu": mtu,
            "address": peer_mac.hex(":"),
        }
        with self._errors_named():
            self._route.link("add", ifname=name, kind="veth", mtu=mtu, peer=other)

    def set_link(
        self, index: int, *, up: bool = False, master: int = 0, alias: str = "", mtu: int = 0
    ) -> None:
        """Change the given properties of a link; None leaves a property as it is."""
        wanted = {"state": up and "up", "master": master, "ifalias": alias, "mtu": mtu}
        given = {name: value for name, value in wanted.items() if value}
        with self._errors_named():
            self._route.link("set", index=index, **given)

    def wait_until_running(self, name: str, timeout_seconds: float) -> bool:
        """Wait until a link is running; False after the time-out.

        The kernel starts a link after the request that sets it up has returned. What is sent in between is lost, and a
        lost ARP request is repeated only after a second.
        """
        self._events.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP_LINK)
        deadline = time.monotonic() + timeout_seconds
        while (link := self.find_link(name)) is None or not link.is_running:
            self._events.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                self._events.recv(RECEIVE_BYTES)
            except TimeoutError:
                return False
            except OSError as error:
                # ENOBUFS: messages were lost, but the state is read anyway
                if error.errno != errno.ENOBUFS:
                    raise
        return True

    def set_bridge_port(self, index: int, *, mac: bytes) -> None:
        """Set up a bridge port with one hardware address behind it, which the bridge does not learn from frames.

        Its hairpin mode is on, so that a pod reaches itself through its service.
        """
        with self._errors_named():
            self._route.brport("set", index=index, mode=1, learning=0)
            self._route.fdb(
                "replace",
                ifindex=index,
                lladdr=mac.hex(":"),
                state=NEIGHBOUR_STATIC,
                flags=NEIGHBOUR_MASTER,
            )

    def delete_link(self, index: int) -> None:
        """Remove a link; one that is already gone is no error."""
        with self._errors_named(tolerated=errno.ENODEV):
            self._route.link("del", index=index)

    def addresses(self, index: int) -> list[tuple[str, int]]:
        """Return the addresses of a link with their prefix lengths, without those that IPv6 gives each link."""
        with self._errors_named():
            found = [
                (message.get("local") or message.get("address"), message["prefixlen"])
                for message in self._route.get_addr()
                if message["index"] == index
            ]
        return [(text, length) for text, length in found if text and not _is_links_own(text)]

    def add_address(
        self, index: int, address: str, prefix_length: int, *, scope: int = SCOPE_UNIVERSE
    ) -> None:
        """Add an address to a link, if it lacks it.

        Of IPv6 one of host scope is deprecated instead, which has the same effect: the kernel does not choose it.
        """
        more: dict[str, int] = {"scope": scope}
        if family_of(address).version == 6:
            more = {"flags": NODAD}
            if scope == SCOPE_HOST:
                more |= {"preferred_lft": 0, "valid_lft": FOREVER}
        with self._errors_named():
            self._route.addr(
                "replace",
                index=index,
                address=address,
                prefixlen=prefix_length,
                family=_system_family(address),
                **more,
            )

    def delete_address(self, index: int, address: str, prefix_length: int) -> None:
        """Remove an address from a link."""
        with self._errors_named():
            self._route.addr(
                "del",
                index=index,
                address=address,
                prefixlen=prefix_length,
                family=_system_family(address),
            )

    def routes(self) -> list[Route]:
        """Return the routes of the main table, those of IPv4 first."""
        with self._errors_named():
            return [
                _route(message)
                for family in SYSTEM_FAMILIES.values()
                for message in self._route.get_routes(family=family, table=TABLE_MAIN)
                if message.get("oif")
            ]

    def replace_route(self, route: Route) -> None:
        """Add a route, or replace the one to the same destination."""
        with self._errors_named():
            self._route.route("replace", **_wanted(route))

    def delete_route(self, route: Route) -> None:
        """Remove a route; one that is already gone is no error."""
        with self._errors_named(tolerated=errno.ESRCH):
            self._route.route("del", **_wanted(route))

    def add_vxlan(
        self, name: str, *, network_id: int, local: str, port: int, mac: bytes, mtu: int
    ) -> None:
        """Create a VXLAN link with static neighbours: it neither learns addresses nor floods."""
        source = {"vxlan_local6" if family_of(local).version == 6 else "vxlan_local": local}
        with self._errors_named():
            self._route.link(
                "add",
                ifname=name,
                kind="vxlan",
                address=mac.hex(":"),
                mtu=mtu,
                vxlan_id=network_id,
                **source,
                vxlan_port=port,
                vxlan_learning=0,
            )

    def set_tunnel_end(self, index: int, *, address: str, mac: bytes, machine: str) -> None:
        """Add a neighbour entry (`address` has `mac`) and a forwarding entry (`mac` is at `machine`) to a tunnel."""
        given = {"ifindex": index, "lladdr": mac.hex(":"), "state": NEIGHBOUR_PERMANENT}
        with self._errors_named():
            self._route.neigh("replace", dst=address, family=_system_family(address), **given)
            self._route.fdb("replace", dst=machine, flags=NEIGHBOUR_SELF, **given)


def _system_family(address: str) -> int:
    return SYSTEM_FAMILIES[family_of(address).version]


def _is_links_own(address: str) -> bool:
    return address.startswith("fe80:")


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """Be in the namespace of an open file; the calling thread must be one that nothing else uses."""
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        _setns(namespace)
        try:
            yield
        finally:
            _setns(home.fileno())


def open_in(namespace: int) -> RouteSocket:
    """Open a socket in the namespace of an open file; the calling thread must be one that nothing else uses.

    The thread enters the namespace and returns. (The alternative, a child process, would fork a process with threads.)
    """
    with inside(namespace):
        return RouteSocket()


def _setns(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _link(message: Any) -> Link:
    flags = message["flags"]
    return Link(
        message["index"],
        message.get("ifname") or "",
        message.get("ifalias") or "",
        message.get("mtu") or 0,
        message.get("master") or 0,
        bool(flags & IFF_UP),
        bool(flags & IFF_RUNNING),
        message.get(("linkinfo", "data", "vxlan_local"))
        or message.get(("linkinfo", "data", "vxlan_local6"))
        or "",
        bytes.fromhex((message.get("address") or "").replace(":", "")),
    )


def _route(message: Any) -> Route:
    return Route(
        message.get("dst") or ANYWHERE[message["family"]],
        message["dst_len"],
        message.get("oif"),
        message.get("gateway") or "",
        message["proto"],
        bool(message["flags"] & RTNH_ONLINK),
    )


def _wanted(route: Route) -> dict[str, Any]:
    """Return a route as arguments of pyroute2."""
    family = _system_family(route.destination or route.gateway)
    is_scoped = family == socket.AF_INET and not route.gateway
    wanted: dict[str, Any] = {
        "dst": f"{route.destination or ANYWHERE[family]}/{route.prefix_length}",
        "family": family,
        "oif": route.link_index,
        "table": TABLE_MAIN,
        "proto": route.protocol,
        "scope": SCOPE_LINK if is_scoped else SCOPE_UNIVERSE,
        "flags": RTNH_ONLINK if route.is_onlink else 0,
    }
    if route.gateway:
        wanted["gateway"] = route.gateway
    return wanted
