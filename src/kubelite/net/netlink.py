"""Speaks netlink with the kernel: links, addresses, routes, of this network namespace or a process's.

Calls block, mostly for well below a millisecond, but wait whenever the kernel's one lock for links is held:
make them in a thread. Failures are `OSError` with the kernel's errno. Numbers are those of linux/rtnetlink.h,
if_link.h and if_addr.h.
"""

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
LINK: Final = struct.Struct("=BxHiII")  # family, type, index, flags, change
ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
ROUTE: Final = struct.Struct(
    "=BBBBBBBBI"
)  # family, dst length, src length, tos, table, protocol, scope, type, flags
NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # family, link index, state, flags, type
ATTRIBUTE: Final = struct.Struct("=HH")  # length, type

REQUEST, ACK, DUMP, CREATE, EXCLUSIVE, REPLACE = 0x1, 0x4, 0x300, 0x400, 0x200, 0x100
MESSAGE_ERROR, MESSAGE_DONE = 2, 3
NEWLINK, DELLINK, GETLINK, SETLINK = 16, 17, 18, 19
NEWADDR, DELADDR, GETADDR = 20, 21, 22
NEWROUTE, DELROUTE, GETROUTE = 24, 25, 26
NEWNEIGH, DELNEIGH = 28, 29

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO = 1, 3, 4, 10, 12
IFLA_LINKINFO, IFLA_IFALIAS, IFLA_NET_NS_FD = 18, 20, 28
INFO_KIND, INFO_DATA, VETH_INFO_PEER, BRPORT_MODE = 1, 2, 1, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5
RTNH_ONLINK = 4
VXLAN_ID, VXLAN_LOCAL, VXLAN_LEARNING, VXLAN_PORT = 1, 4, 7, 15
NDA_DST, NDA_LLADDR = 1, 2
NEIGHBOUR_PERMANENT, NEIGHBOUR_SELF = 0x80, 0x02
NESTED = 0x8000
IFF_UP, IFF_RUNNING = 0x1, 0x40
SOL_NETLINK, ADD_MEMBERSHIP, GROUP_LINK = 270, 1, 1
AF_BRIDGE = 7
TABLE_MAIN, PROTOCOL_KUBELITE, TYPE_UNICAST = 254, 142, 1
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
CLONE_NEWNET = 0x40000000
RECEIVE_BYTES = 1 << 18
NETLINK_NETFILTER = 12  # the protocol of nftables and conntrack

Attributes = Mapping[int, bytes]


class Link(Struct, frozen=True):
    """A network interface."""

    index: int
    name: str
    alias: str = ""
    mtu: int = 0
    master: int = 0
    is_up: bool = False
    is_running: bool = False  # it carries packets: being up is only the wish


class Route(Struct, frozen=True):
    """A way to a range of IPv4 addresses; an empty destination is the default route."""

    destination: str
    prefix_length: int
    link_index: int
    gateway: str = ""
    protocol: int = PROTOCOL_KUBELITE  # who made it
    is_onlink: bool = False  # the gateway is behind the link although no address there says so


def encode_attributes(attributes: Attributes) -> bytes:
    """Return attributes as type-length-value, each padded to four bytes."""
    parts = []
    for kind, value in attributes.items():
        parts.append(ATTRIBUTE.pack(len(value) + ATTRIBUTE.size, kind) + value)
        parts.append(b"\0" * (-len(value) % 4))
    return b"".join(parts)


def decode_attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes in `data`, flags of the type taken off; ends at the first malformed one."""
    attributes = {}
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        attributes[kind & 0x3FFF] = data[offset + ATTRIBUTE.size : offset + length]
        offset += length + -length % 4
    return attributes


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, flags, sequence, payload) of each message in a datagram."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, flags, sequence, data[offset + HEADER.size : offset + length]
        offset += length + -length % 4


class NetlinkSocket:
    """One conversation with the kernel; each request is answered before the next."""

    def __init__(self, protocol: int = 0, *, sock: socket.socket | None = None) -> None:
        self.socket = sock or socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def __enter__(self) -> "NetlinkSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(
        self, kind: int, payload: bytes, attributes: Attributes | None = None, flags: int = ACK
    ) -> list[bytes]:
        """Send one message; return the payloads of the answer, which is empty for a plain acknowledgement."""
        body = payload + encode_attributes(attributes or {})
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(body), kind, flags | REQUEST, self._sequence, 0)
        self.socket.send(header + body)
        found: list[bytes] = []
        while not self._is_complete(found):
            pass
        return found

    def _is_complete(self, found: list[bytes]) -> bool:
        """Read one datagram into `found`; True when it ended the answer."""
        for kind, _, sequence, payload in messages(self.socket.recv(RECEIVE_BYTES)):
            if sequence != self._sequence:
                continue  # the rest of an answer that was given up
            if kind == MESSAGE_DONE:
                return True
            if kind == MESSAGE_ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                if code:
                    raise OSError(code, os.strerror(code))
                return True
            found.append(payload)
        return False


class RouteSocket(NetlinkSocket):
    """Links, addresses and routes of the namespace the socket was opened in."""

    def __enter__(self) -> "RouteSocket":
        return self

    def links(self) -> list[Link]:
        """Return all links."""
        return [_link(data) for data in self.request(GETLINK, LINK.pack(0, 0, 0, 0, 0), flags=DUMP)]

    def find_link(self, name: str) -> Link | None:
        """Return the link called `name`."""
        request = LINK.pack(0, 0, 0, 0, 0)
        try:
            found = self.request(GETLINK, request, {IFLA_IFNAME: _text(name)})
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise
        return _link(found[0])

    def add_bridge(self, name: str, *, mac: bytes, mtu: int) -> None:
        """Make a bridge; a fixed `mac` keeps it from changing as ports come and go."""
        self._add_link(
            {
                IFLA_IFNAME: _text(name),
                IFLA_ADDRESS: mac,
                IFLA_MTU: _u32(mtu),
                IFLA_LINKINFO: encode_attributes({INFO_KIND: _text("bridge")}),
            }
        )

    def add_veth(self, name: str, *, peer: str, peer_namespace: int, mtu: int) -> None:
        """Make a pair of links, the other end called `peer` in the namespace of the open file `peer_namespace`."""
        other = LINK.pack(0, 0, 0, 0, 0) + encode_attributes(
            {
                IFLA_IFNAME: _text(peer),
                IFLA_MTU: _u32(mtu),
                IFLA_NET_NS_FD: _u32(peer_namespace),
            }
        )
        info = {
            INFO_KIND: _text("veth"),
            INFO_DATA | NESTED: encode_attributes({VETH_INFO_PEER | NESTED: other}),
        }
        self._add_link(
            {
                IFLA_IFNAME: _text(name),
                IFLA_MTU: _u32(mtu),
                IFLA_LINKINFO | NESTED: encode_attributes(info),
            }
        )

    def _add_link(self, attributes: Attributes) -> None:
        self.request(NEWLINK, LINK.pack(0, 0, 0, 0, 0), attributes, flags=ACK | CREATE | EXCLUSIVE)

    def set_link(
        self, index: int, *, up: bool = False, master: int = 0, alias: str = "", mtu: int = 0
    ) -> None:
        """Change what is given of a link."""
        attributes = {}
        if master:
            attributes[IFLA_MASTER] = _u32(master)
        if alias:
            attributes[IFLA_IFALIAS] = alias.encode()
        if mtu:
            attributes[IFLA_MTU] = _u32(mtu)
        flag = IFF_UP if up else 0
        self.request(SETLINK, LINK.pack(0, 0, index, flag, flag), attributes)

    def wait_until_running(self, name: str, timeout_seconds: float) -> bool:
        """Wait until a link carries packets; False when it does not in time.

        The kernel starts a link after the request that sets it up has returned. What is sent in between is lost, and a
        lost ARP question is asked again only after a second.
        """
        self.socket.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP_LINK)
        deadline = time.monotonic() + timeout_seconds
        try:
            while (link := self.find_link(name)) is None or not link.is_running:
                # messages passed over by a request are older than its answer, so none that matters is missed
                self.socket.settimeout(max(0.001, deadline - time.monotonic()))
                self._next_message()
                self.socket.settimeout(None)
        except TimeoutError:
            return False
        finally:
            self.socket.settimeout(None)
        return True

    def _next_message(self) -> None:
        try:
            self.socket.recv(RECEIVE_BYTES)
        except OSError as error:
            if (
                error.errno != errno.ENOBUFS
            ):  # so many that some were lost: the state is looked at anyway
                raise

    def set_hairpin(self, index: int) -> None:
        """Let a bridge port send back what came in by it: a pod that reaches itself through its service."""
        port = encode_attributes({BRPORT_MODE: b"\1"})
        self.request(SETLINK, LINK.pack(AF_BRIDGE, 0, index, 0, 0), {IFLA_PROTINFO | NESTED: port})

    def delete_link(self, index: int) -> None:
        """Remove a link; one that is already gone is no error."""
        try:
            self.request(DELLINK, LINK.pack(0, 0, index, 0, 0))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def addresses(self, index: int) -> list[tuple[str, int]]:
        """Return the IPv4 addresses of a link with their prefix lengths."""
        found = []
        for data in self.request(GETADDR, ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0), flags=DUMP):
            _, prefix_length, _, _, link = ADDRESS.unpack_from(data)
            value = decode_attributes(data[ADDRESS.size :]).get(IFA_LOCAL)
            if link == index and value:
                found.append((socket.inet_ntoa(value), prefix_length))
        return found

    def add_address(
        self, index: int, address: str, prefix_length: int, *, scope: int = SCOPE_UNIVERSE
    ) -> None:
        """Give a link an IPv4 address, or leave it when it is there."""
        self._change_address(NEWADDR, index, address, prefix_length, scope)

    def delete_address(self, index: int, address: str, prefix_length: int) -> None:
        """Take an IPv4 address from a link."""
        self._change_address(DELADDR, index, address, prefix_length, SCOPE_UNIVERSE)

    def _change_address(
        self, kind: int, index: int, address: str, prefix_length: int, scope: int
    ) -> None:
        value = socket.inet_aton(address)
        self.request(
            kind,
            ADDRESS.pack(socket.AF_INET, prefix_length, 0, scope, index),
            {IFA_LOCAL: value, IFA_ADDRESS: value},
            flags=ACK | (CREATE | REPLACE if kind == NEWADDR else 0),
        )

    def routes(self) -> list[Route]:
        """Return the IPv4 routes of the main table."""
        request = ROUTE.pack(socket.AF_INET, 0, 0, 0, TABLE_MAIN, 0, 0, 0, 0)
        found = []
        for data in self.request(GETROUTE, request, flags=DUMP):
            _, length, _, _, table, protocol, _, _, flags = ROUTE.unpack_from(data)
            attributes = decode_attributes(data[ROUTE.size :])
            if table == TABLE_MAIN and RTA_OIF in attributes:
                found.append(
                    Route(
                        socket.inet_ntoa(attributes.get(RTA_DST, bytes(4))),
                        length,
                        int.from_bytes(attributes[RTA_OIF], "little"),
                        socket.inet_ntoa(attributes[RTA_GATEWAY])
                        if RTA_GATEWAY in attributes
                        else "",
                        protocol,
                        bool(flags & RTNH_ONLINK),
                    )
                )
        return found

    def replace_route(self, route: Route) -> None:
        """Add a route, or change the one to the same destination."""
        self._change_route(NEWROUTE, route, ACK | CREATE | REPLACE)

    def delete_route(self, route: Route) -> None:
        """Remove a route; one that is already gone is no error."""
        try:
            self._change_route(DELROUTE, route, ACK)
        except OSError as error:
            if error.errno != errno.ESRCH:
                raise

    def _change_route(self, kind: int, route: Route, flags: int) -> None:
        scope = SCOPE_UNIVERSE if route.gateway else SCOPE_LINK
        attributes = {RTA_OIF: _u32(route.link_index)}
        if route.prefix_length:
            attributes[RTA_DST] = socket.inet_aton(route.destination)
        if route.gateway:
            attributes[RTA_GATEWAY] = socket.inet_aton(route.gateway)
        onlink = RTNH_ONLINK if route.is_onlink else 0
        head = (socket.AF_INET, route.prefix_length, 0, 0, TABLE_MAIN, route.protocol)
        self.request(kind, ROUTE.pack(*head, scope, TYPE_UNICAST, onlink), attributes, flags=flags)

    def add_vxlan(self, name: str, *, network_id: int, local: str, port: int, mac: bytes) -> None:
        """Make a tunnel link with fixed partners: it neither learns nor floods."""
        data = {
            VXLAN_ID: _u32(network_id),
            VXLAN_LOCAL: socket.inet_aton(local),
            VXLAN_LEARNING: b"\0",
            VXLAN_PORT: port.to_bytes(2, "big"),
        }
        info = {INFO_KIND: _text("vxlan"), INFO_DATA | NESTED: encode_attributes(data)}
        self._add_link(
            {
                IFLA_IFNAME: _text(name),
                IFLA_ADDRESS: mac,
                IFLA_LINKINFO | NESTED: encode_attributes(info),
            }
        )

    def set_tunnel_end(self, index: int, *, address: str, mac: bytes, machine: str) -> None:
        """Tell a tunnel link that `address` has `mac`, and that `mac` is behind `machine`."""
        for family, flags, destination in (
            (socket.AF_INET, 0, address),
            (AF_BRIDGE, NEIGHBOUR_SELF, machine),
        ):
            self.request(
                NEWNEIGH,
                NEIGHBOUR.pack(family, index, NEIGHBOUR_PERMANENT, flags, 0),
                {NDA_DST: socket.inet_aton(destination), NDA_LLADDR: mac},
                flags=ACK | CREATE | REPLACE,
            )


def open_in(namespace: int) -> RouteSocket:
    """Open a socket in the namespace of an open file; the calling thread must be one that nothing else uses.

    The thread goes there and comes back. (A child process, the other way, would fork a process with threads.)
    """
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        _setns(namespace)
        try:
            return RouteSocket()
        finally:
            _setns(home.fileno())


def _setns(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _link(data: bytes) -> Link:
    _, _, index, flags, _ = LINK.unpack_from(data)
    attributes = decode_attributes(data[LINK.size :])
    return Link(
        index,
        attributes.get(IFLA_IFNAME, b"").rstrip(b"\0").decode(),
        attributes.get(IFLA_IFALIAS, b"").rstrip(b"\0").decode(errors="replace"),
        int.from_bytes(attributes.get(IFLA_MTU, b""), "little"),
        int.from_bytes(attributes.get(IFLA_MASTER, b""), "little"),
        bool(flags & IFF_UP),
        bool(flags & IFF_RUNNING),
    )


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)
