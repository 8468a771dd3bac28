"""A TLS server that answers what a joining machine asks first, and records every byte that it is sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kubelite.api.auth.certificates import (
    SERVER_AUTH,
    Authority,
    Wanted,
    certificate_pem,
    issue,
    key_pem,
    new_authority,
    new_key,
)
from kubelite.api.auth.join_token import certificate_hash
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def authority(name: str = "ca", now: datetime | None = None) -> Authority:
    """Return a new CA, valid from now on."""
    return new_authority(name, now or datetime.now(UTC), SeededRandomness(1))


def pem_of(*authorities: Authority) -> bytes:
    """Return the certificates of CAs."""
    return certificate_pem(*(one.certificate for one in authorities))


def hash_of(ca: Authority) -> str:
    """Return the hash of a CA as in a token."""
    return certificate_hash(ssl.PEM_cert_to_DER_cert(pem_of(ca).decode()))


class JoinServer:
    """Serves `bundle` with a certificate signed by `ca` for `names` and `addresses`."""

    def __init__(
        self,
        folder: Path,
        ca: Authority,
        bundle: bytes,
        *,
        names: Sequence[str] = (),
        addresses: Sequence[str] = ("127.0.0.1",),
        now: datetime | None = None,
        lifetime: timedelta = timedelta(days=1),
    ) -> None:
        date = now or datetime.now(UTC)
        key, wanted = new_key(), Wanted("s", (), tuple(names), tuple(addresses), (SERVER_AUTH,))
        leaf = issue(ca, key.public_key(), wanted, date, SeededRandomness(2), lifetime)
        pair = folder / f"server-{id(self)}.pem"
        pair.write_bytes(key_pem(key) + certificate_pem(leaf, *ca.chain))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair)
        self.answer = b"HTTP/1.1 200 OK\r\nDate: %s\r\n\r\n" + bundle
        self.clock = datetime.now(UTC)
        self.received: list[bytes] = []  # one for each connection whose handshake succeeded
        self.port = 0

    @property
    def url(self) -> str:
        """Its URL by address."""
        return f"https://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Record the request and answer it."""
        self.received.append(await reader.readuntil(b"\r\n\r\n"))
        date = f"{self.clock:%a, %d %b %Y %H:%M:%S} GMT".encode()
        writer.write(self.answer.replace(b"%s", date))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(server: JoinServer) -> AsyncIterator[JoinServer]:
    """Let it listen on loopback."""
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=server.context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
