"""Connections from the API server to nodes and to what runs on them."""

import asyncio
import ssl
from typing import Protocol

from msgspec import Struct

from kubelite.api.errors import ServiceUnavailable
from kubelite.limits import DIAL_SECONDS, STREAM_BUFFER

Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Backend(Struct, frozen=True):
    """Where a request is passed on to."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    node: str = ""  # the node the address belongs to; empty: not known

    @property
    def authority(self) -> str:
        """Host and port as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Dialer(Protocol):
    """Opens connections to backends; a tunnel may take the place of TCP."""

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection, in TLS if the backend asks for it; raises ServiceUnavailable."""
        ...


class TCPDialer:
    """Connects over the network."""

    async def dial(self, backend: Backend) -> Connected:
        """Return a connection; raises ServiceUnavailable."""
        try:
            async with asyncio.timeout(DIAL_SECONDS.value):
                return await asyncio.open_connection(
                    backend.host,
                    backend.port,
                    ssl=backend.tls,
                    server_hostname=backend.host if backend.tls else None,
                    limit=STREAM_BUFFER.value,
                )
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
