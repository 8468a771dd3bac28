"""The addresses at which this host is reached, and word from the kernel when they change.

Needs no rights: everybody may ask for addresses and hear of them.
"""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from msgspec import Struct

from kubelite.net.netlink_messages import (
    DUMP,
    RECEIVE_BYTES,
    NetlinkSocket,
    decode_attributes,
)

ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
GETADDR = 22
IFA_ADDRESS, IFA_LOCAL = 1, 2
SCOPE_UNIVERSE = 0
GROUPS = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
TEMPORARY, DUPLICATE, TENTATIVE = 0x01, 0x08, 0x40  # IFA_F_…, of IPv6 addresses


class HostAddress(Struct, frozen=True):
    """An address of an interface, as the kernel tells it."""

    text: str
    scope: int
    flags: int

    def serves(self, besides: Sequence[IPv4Network | IPv6Network]) -> bool:
        """Tell whether others may reach the host at it; `besides` are ranges that belong to the cluster."""
        address = ip_address(self.text)
        if self.scope != SCOPE_UNIVERSE or address.is_loopback or address.is_link_local:
            return False
        if address.version == 6 and self.flags & (TEMPORARY | DUPLICATE | TENTATIVE):
            return False  # gone by tomorrow, or not yet there
        return not any(address in network for network in besides)


class HostAddresses:
    """Follows the addresses of the network namespace it was opened in."""

    def __init__(self, *, besides: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        """Begin to listen; raises OSError. See `HostAddress.serves` for `besides`."""
        self._besides = tuple(besides)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
        self._socket.setblocking(False)
        self._socket.bind((0, GROUPS))

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def read(self) -> tuple[str, ...]:
        """Return the addresses as they are now, sorted. Blocks shortly."""
        return tuple(sorted({one.text for one in _addresses() if one.serves(self._besides)}))

    async def changes(self, known: tuple[str, ...]) -> AsyncIterator[tuple[str, ...]]:
        """Yield the addresses each time they differ from `known` or from those yielded last, for ever."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()

        def listen() -> None:
            self._drain()
            heard.set()

        loop.add_reader(self._socket, listen)
        try:
            while True:
                heard.clear()
                if (addresses := await asyncio.to_thread(self.read)) != known:
                    known = addresses
                    yield known
                await heard.wait()
        finally:
            loop.remove_reader(self._socket)

    def _drain(self) -> None:
        while True:
            try:
                self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # some were lost: all addresses are read anyway
                    raise


def local_addresses() -> frozenset[str]:
    """Return all addresses of the host, of any scope. Blocks shortly."""
    return frozenset(address.text for address in _addresses())


def _addresses() -> list[HostAddress]:
    with NetlinkSocket() as asking:
        found = asking.request(GETADDR, ADDRESS.pack(0, 0, 0, 0, 0), flags=DUMP)
        return [address for data in found if (address := decoded(data)) is not None]


def decoded(data: bytes) -> HostAddress | None:
    """Read an address message; None for a family that is not known."""
    family, _, flags, scope, _ = ADDRESS.unpack_from(data)
    attributes = decode_attributes(data[ADDRESS.size :])
    value = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if family not in (socket.AF_INET, socket.AF_INET6) or not value:
        return None
    return HostAddress(socket.inet_ntop(family, value), scope, flags)
