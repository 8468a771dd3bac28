"""Connections from the API server to nodes, pods and service endpoints."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from msgspec import Struct

from kubelite.api.errors import BadRequest, ServiceUnavailable
from kubelite.api.http.destinations import Destinations
from kubelite.limits import DIAL_SECONDS, STREAM_BUFFER

NODE_USER = "system:node:"

Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Backend(Struct, frozen=True):
    """The address a request is proxied to."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    node: str = ""  # the node the address belongs to; "": not known
    proves_node: bool = False  # the peer must present the certificate of `node`
    server_name: str = ""  # the name that its certificate must have; "": that of `host`
    is_external: bool = False  # `host` was named by an ExternalName Service

    @property
    def authority(self) -> str:
        """``host:port`` as in a URL."""
        return authority_of(self.host, self.port)


def authority_of(host: str, port: int) -> str:
    """Return ``host:port`` as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Dialer(Protocol):
    """Opens connections to backends; a tunnel may take the place of TCP."""

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection, over TLS if the backend has `tls`. Raises BadRequest and ServiceUnavailable."""
        ...


class TCPDialer:
    """Connects over TCP to the addresses that `destinations` allow."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection. Raises BadRequest for a forbidden address, ServiceUnavailable if it fails."""
        async with dialing(backend):
            # Names are resolved once, so the address checked is the address dialed (no DNS rebinding).
            addresses = await addresses_of(backend)
            proving = backend.node if backend.proves_node else ""
            if backend.is_external:
                self._destinations.check_external(addresses, backend.port)
            else:
                self._destinations.check(addresses, backend.port, proving)
            connected = await _first(backend, addresses)
        if backend.proves_node and backend.tls is not None:
            check_node(connected, backend)
        return connected


def _reason(backend: Backend, error: Exception) -> str:
    """Return why a connection failed, in Go's words where a user is likely to see it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {error.verify_message}"
    reason = getattr(error, "strerror", "") or str(error)
    if isinstance(error, ConnectionRefusedError):
        reason = "connect: connection refused"
    return f"dial tcp {backend.authority}: {reason}"


@asynccontextmanager
async def dialing(backend: Backend) -> AsyncIterator[None]:
    """Bound the time of the block to DIAL_SECONDS and raise ServiceUnavailable for what fails in it."""
    try:
        async with asyncio.timeout(DIAL_SECONDS.value):
            yield
    except TimeoutError as error:
        raise ServiceUnavailable(
            f"error trying to reach service: dial tcp {backend.authority}: i/o timeout"
        ) from error
    except (OSError, ssl.SSLError, ValueError, OverflowError) as error:
        # Names that idna rejects, a NUL in a name and ports beyond 65535 do not raise OSError.
        raise ServiceUnavailable(
            f"error trying to reach service: {_reason(backend, error)}"
        ) from error


async def addresses_of(backend: Backend) -> Sequence[str]:
    """Return the IP addresses of a backend's host, at least one. Raises BadRequest, OSError, ValueError."""
    try:
        return (str(ipaddress.ip_address(backend.host)),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(backend.host, backend.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # the name is not a valid host name
        raise BadRequest(f"lookup {backend.host}: no such host") from error
    return tuple(str(place[0]) for *_, place in found)


async def _first(backend: Backend, addresses: Sequence[str]) -> Connected:
    """Connect to the first address that answers. Raises the error of the last one."""
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
        server_hostname=(backend.server_name or backend.host) if backend.tls else None,
        limit=STREAM_BUFFER.value,
    )


def check_node(connected: Connected, backend: Backend) -> None:
    """Abort the connection and raise ServiceUnavailable unless the peer certificate is that of the node.

    TLS alone accepts any certificate of the cluster CA with that address, such as the API server's.
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
