"""The addresses at which this host is reached, followed live: the one source for all that announce or use them.

The kernel tells of changes by netlink; nothing polls. Needs no rights: every process may ask for addresses and hear of
them. One address is the primary: the node and the API are announced under it. It is that of the default route if there
is one, else the one it was before, else any.
"""

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec import Struct

from kubelite.net.families import IPV4, IPV6, Family, family_of
from kubelite.net.netlink_messages import (
    DUMP,
    RECEIVE_BYTES,
    NetlinkSocket,
    decode_attributes,
)

log = logging.getLogger(__name__)

ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
GETADDR = 22
IFA_ADDRESS, IFA_LOCAL = 1, 2
SCOPE_UNIVERSE = 0
GROUPS = 0x10 | 0x40 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR
ROUTES_V6 = 0x400  # RTMGRP_IPV6_ROUTE
TEMPORARY, DUPLICATE, TENTATIVE = 0x01, 0x08, 0x40  # IFA_F_…, of IPv6 addresses
# A renewed lease takes an address away for a moment, and one change of a link is several messages.
SETTLE_SECONDS = 0.1
# Documentation addresses: no packet is sent, the kernel only says which of its own addresses it would use.
ELSEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}
LOOPBACK, LOOPBACK_V6 = "127.0.0.1", "::1"

Ranges = Sequence[IPv4Network | IPv6Network]


class HostAddress(Struct, frozen=True):
    """An address of an interface, as netlink reports it."""

    text: str
    scope: int
    flags: int
    link: int = 0  # index of the interface

    def serves(self, besides: Ranges) -> bool:
        """Return whether others may reach the host at it; `besides` are ranges that belong to the cluster."""
        address = ip_address(self.text)
        if self.scope != SCOPE_UNIVERSE or address.is_loopback or address.is_link_local:
            return False
        if address.version == 6 and self.flags & (TEMPORARY | DUPLICATE | TENTATIVE):
            return False  # gone by tomorrow, or not yet there
        return not any(address in network for network in besides)


class HostView(Struct, frozen=True):
    """The addresses at which the host is reached now."""

    addresses: tuple[str, ...] = ()  # of both families, sorted
    primary: str = ""  # what the node and the API are announced under; empty: there is none
    secondary: str = ""  # of the other family, if the node has one
    loopback: str = LOOPBACK  # of the primary family

    @property
    def node_address(self) -> str:
        """The address of the node in this process: loopback while there is no other, so that streams still work."""
        return self.primary or self.loopback

    @property
    def node_addresses(self) -> tuple[str, ...]:
        """The addresses of the node in this process, the primary one first."""
        return (self.node_address, *filter(None, (self.secondary,)))


def primary_address(
    addresses: Sequence[str], preferred: str, current: str, family: Family = IPV4
) -> str:
    """Choose the primary of a host's addresses of a family; empty if there is none.

    `preferred` is the source address of the default route, which may be missing or belong to the cluster.
    """
    usable = [address for address in addresses if family_of(address) is family]
    for choice in (preferred, current):
        if choice in usable:
            return choice
    return usable[0] if usable else ""


def preferred_source(family: Family = IPV4) -> str:
    """Return the address of a family that this host uses towards others; empty when it has no route."""
    kind = socket.AF_INET if family is IPV4 else socket.AF_INET6
    try:
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect((ELSEWHERE[family.version], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return ""


class HostAddresses:
    """Follows the addresses of the network namespace it was opened in."""

    def __init__(
        self,
        *,
        besides: Ranges = (),
        fixed: str = "",
        interface: str = "",
        families: Sequence[Family] = (IPV4,),
        fixed_secondary: str = "",
    ) -> None:
        """Begin to listen; raises OSError. See `HostAddress.serves` for `besides`.

        `families` are those of the cluster, the primary one first. `fixed` is the primary address if it was configured,
        and `fixed_secondary` that of the other family: they are used whether or not the host has them. With
        `interface` the primary address is one of that interface; while it has none, the one it had before.
        """
        self._families = tuple(families)
        self._loopback = LOOPBACK if self._families[0] is IPV4 else LOOPBACK_V6
        self.view = HostView(primary=fixed, secondary=fixed_secondary, loopback=self._loopback)
        self._besides = tuple(besides)
        self._fixed = fixed
        self._fixed_secondary = fixed_secondary
        self._interface = interface
        self._changed = asyncio.Event()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._socket.setblocking(False)
        self._socket.bind((0, GROUPS | (ROUTES_V6 if IPV6 in self._families else 0)))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(self) -> HostView:
        """Return the addresses as they are now. Blocks shortly; raises OSError."""
        serving = [one for one in _addresses() if one.serves(self._besides)]
        addresses = tuple(sorted({one.text for one in serving}))
        if self._interface:
            link = link_index(self._interface)
            own = tuple(sorted({one.text for one in serving if one.link == link}))
            chosen = [
                primary_address(own, current, current, family) or current
                for family, current in zip(self._families, self._current(), strict=False)
            ]
        elif self._fixed:
            chosen = [self._fixed, self._fixed_secondary]
        else:
            chosen = [
                primary_address(addresses, preferred_source(family), current, family)
                for family, current in zip(self._families, self._current(), strict=False)
            ]
        primary, *secondary = chosen
        return HostView(addresses, primary, "".join(secondary), self._loopback)

    def _current(self) -> tuple[str, str]:
        return self.view.primary, self.view.secondary

    async def start(self) -> HostView:
        """Read the addresses for the first time; raises OSError."""
        self.view = await asyncio.to_thread(self.read)
        if not self.view.primary:
            log.warning(
                "the host has no address but loopback: pods reach the API, and agents this host, once it "
                "has another one, or is given one with --node-ip"
            )
        elif self._fixed and self._fixed not in self.view.addresses:
            log.warning(
                "the configured node address is not on this host", extra={"address": self._fixed}
            )
        return self.view

    async def run(self) -> None:
        """Follow the kernel's messages until cancelled. Run it supervised."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()

        def listen() -> None:
            self._drain()
            heard.set()

        loop.add_reader(self._socket, listen)
        try:
            while True:
                heard.clear()
                self._publish(await asyncio.to_thread(self.read))
                await heard.wait()
                await asyncio.sleep(SETTLE_SECONDS)
        finally:
            loop.remove_reader(self._socket)

    async def changes(self) -> AsyncIterator[HostView]:
        """Yield the present view, then the newest one each time it has changed, for ever."""
        told = None
        while True:
            changed = self._changed
            if self.view != told:
                told = self.view
                yield told
            else:
                await changed.wait()

    def _publish(self, view: HostView) -> None:
        if view == self.view:
            return
        log.info(
            "host addresses changed", extra={"primary": view.primary, "addresses": view.addresses}
        )
        self.view = view
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost: all addresses are read anyway
                    raise


def link_index(name: str) -> int:
    """Return the index of an interface; 0 if there is none of that name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def local_addresses() -> frozenset[str]:
    """Return all addresses of the host, of any scope. Blocks shortly."""
    return frozenset(address.text for address in _addresses())


def _addresses() -> list[HostAddress]:
    with NetlinkSocket() as asking:
        found = asking.request(GETADDR, ADDRESS.pack(0, 0, 0, 0, 0), flags=DUMP)
        return [address for data in found if (address := decoded(data)) is not None]


def decoded(data: bytes) -> HostAddress | None:
    """Read an address message; None for a family that is not known."""
    family, _, flags, scope, link = ADDRESS.unpack_from(data)
    attributes = decode_attributes(data[ADDRESS.size :])
    value = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or not value:
        return None
    return HostAddress(socket.inet_ntop(family, value), scope, flags, link)
