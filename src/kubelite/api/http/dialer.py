"""Connections from the API server to nodes and to what runs on them."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from kubelite.api.errors import BadRequest, ServiceUnavailable
from kubelite.api.http.destinations import Destinations
from kubelite.limits import DIAL_SECONDS, STREAM_BUFFER

NODE_USER = "system:node:"

Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Backend(Struct, frozen=True):
    """Where a request is passed on to."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    node: str = ""  # the node the address belongs to; empty: not known
    proves_node: bool = False  # what answers must have the certificate of `node`

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Dialer(Protocol):
    """Opens connections to backends; a tunnel may take the place of TCP."""

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection, in TLS if the backend asks for it; raises BadRequest, ServiceUnavailable."""
        ...


class TCPDialer:
    """Connects over the network, to where `destinations` let it."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection; raises BadRequest for a place that is not allowed, ServiceUnavailable."""
        try:
            async with asyncio.timeout(DIAL_SECONDS.value):
                # Resolved once: what was looked at is what is connected to.
                addresses = await _addresses(backend)
                proving = backend.node if backend.proves_node else ""
                self._destinations.check(addresses, backend.port, proving)
                connected = await _first(backend, addresses)
        except TimeoutError as error:
            raise ServiceUnavailable(
                f"error trying to reach service: dial tcp {backend.authority}: i/o timeout"
            ) from error
        except (OSError, ssl.SSLError, ValueError, OverflowError) as error:
            # Names that idna refuses, a NUL in a name and ports beyond 65535 are no OSErrors.
            reason = getattr(error, "strerror", "") or str(error)
            raise ServiceUnavailable(
                f"error trying to reach service: dial tcp {backend.authority}: {reason}"
            ) from error
        if backend.proves_node and backend.tls is not None:
            _check_node(connected, backend)
        return connected


async def _addresses(backend: Backend) -> Sequence[str]:
    try:
        return (str(ipaddress.ip_address(backend.host)),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # of a name that cannot be a host's
        raise BadRequest(f"lookup {backend.host}: no such host") from error
    return tuple(str(place[0]) for *_, place in found)


async def _first(backend: Backend, addresses: Sequence[str]) -> Connected:
    """Connect to the first address that answers; raises what the last one said."""
    *others, last = addresses
    for address in others:
        try:
            return await _connect(backend, address)
        except OSError:
            continue
    return await _connect(backend, last)


async def _connect(backend: Backend, address: str) -> Connected:
    return await asyncio.open_connection(
        address,
        backend.port,
        ssl=backend.tls,
        server_hostname=backend.host if backend.tls else None,
        limit=STREAM_BUFFER.value,
    )


def _check_node(connected: Connected, backend: Backend) -> None:
    """Close, and raise ServiceUnavailable, unless the certificate is that of the node.

    Every certificate of the cluster's authority that has the address in it would do for TLS: also the API server's.
    """
    writer = connected[1]
    shown = _common_name(writer.get_extra_info("peercert") or {})
    if shown != NODE_USER + backend.node:
        writer.transport.abort()
        raise ServiceUnavailable(
            f"error trying to reach service: the certificate at {backend.authority} is valid for {shown}, "
            f"not {NODE_USER}{backend.node}"
        )


def _common_name(certificate: Any) -> str:
    names = [value for part in certificate.get("subject", ()) for value in part]
    return next((value for field, value in names if field == "commonName"), "")
