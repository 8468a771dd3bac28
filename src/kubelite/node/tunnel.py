"""The node's end of its tunnel: one outgoing TLS connection through which the API server reaches the node.

The server names targets, and may be compromised or confused, so only three kinds are connected: ``kubelet`` (the
node's own HTTPS endpoint on loopback), addresses of pods on this node, and the node's own addresses. Loopback,
link-local and multicast addresses, names, and all other hosts are refused, so the tunnel leads into no network behind
the node.
"""

import asyncio
import ipaddress
import logging
import re
import ssl
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import cast
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from kubelite.api.errors import APIError, ServiceUnavailable
from kubelite.backoff import backoff_seconds
from kubelite.limits import DIAL_SECONDS
from kubelite.randomness import Randomness
from kubelite.tunnel.mux import Mux, TargetRefused

log = logging.getLogger(__name__)

PATH = "/v1-kubelite/tunnel"
PROTOCOL = "kubelite-tunnel/1"
KUBELET = "kubelet"
LOOPBACK = "127.0.0.1"
RETRY_SECONDS = (
    2.0  # the mean of the first pause is 1.25 s, so a thousand nodes come back at 800 a second
)
RETRY_MAX_SECONDS = 30.0
STEADY_SECONDS = 60.0  # a tunnel that lasted longer resets the back-off
ANSWER_BYTES_MAX = 64 * 1024
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})[ \r]")
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
TARGET = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")

Address = IPv4Address | IPv6Address


class Targets(Struct, frozen=True):
    """What the API server may reach through the tunnel of a node."""

    kubelet_port: int  # of the node's HTTPS endpoint
    pods: Callable[[], Iterable[str]]  # the addresses of the pods on this node, now
    own: Callable[[], Iterable[str]]  # the addresses in the status of its Node, now
    kubelet_host: str = LOOPBACK  # where it listens

    def resolve(self, target: str) -> tuple[str, int]:
        """Return the address of a target. Raises TargetRefused unless it is allowed."""
        if target == KUBELET:
            return self.kubelet_host, self.kubelet_port
        parts = TARGET.fullmatch(target)
        if parts is None or not 0 < (port := int(parts[3])) < 65536:
            raise TargetRefused("the node's tunnel takes addresses with a port only")
        address = _plain(parts[1] or parts[2])
        if address is None or _is_special(address):
            raise TargetRefused("address not allowed")
        for one in (*self.pods(), *self.own()):
            if _plain(one) == address:
                return str(address), port
        raise TargetRefused("the address belongs neither to the node nor to a pod on it")


def _plain(text: str) -> Address | None:
    """Parse an IP address; an IPv4-mapped IPv6 address becomes IPv4. None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _is_special(address: Address) -> bool:
    """Return whether an address leads to this host alone, to a link (cloud metadata), or to many hosts."""
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address in _NOT_HOSTS)
        or address == _BROADCAST
    )


_NOT_HOSTS = ipaddress.ip_network("0.0.0.0/8")
_BROADCAST = ipaddress.ip_address("255.255.255.255")


class Tunnel:
    """Keeps the tunnel of a node open, to one API server at a time.

        tunnel = Tunnel(["https://server:6443"], targets, ssl_context=context, randomness=randomness)
        tasks.supervise(tunnel.run, name="tunnel")

    `ssl_context` verifies the server and has the client certificate of system:node:NAME. It may be replaced at run
    time, for later connections: an open tunnel stays open when the certificate is renewed.
    """

    def __init__(
        self,
        servers: Sequence[str],
        targets: Targets,
        *,
        ssl_context: ssl.SSLContext,
        randomness: Randomness,
        opened: Callable[[], None] = lambda: None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """`servers` are the URLs of API servers, each tried when the one before it fails.

        `opened` is called whenever a tunnel is open, `lost` whenever an open one has ended.
        """
        assert servers
        self._opened = opened
        self._lost = lost
        self.ssl_context = ssl_context
        self._servers = tuple(servers)
        self._targets = targets
        self._randomness = randomness
        self._mux: Mux | None = None
        self._trouble = ""  # as logged last

    @property
    def is_connected(self) -> bool:
        """Whether the tunnel is open."""
        return self._mux is not None

    def reconnect(self) -> None:
        """End an open tunnel, which `run` opens again: the host has lost the address that it was opened from."""
        if self._mux is not None:
            self._mux.lose("the host's addresses have changed")

    async def run(self) -> None:
        """Open the tunnel and open it again whenever it is lost, with back-off and jitter; for ever."""
        loop = asyncio.get_running_loop()
        failures = turn = 0
        while True:
            started = loop.time()
            server = self._servers[turn % len(self._servers)]
            try:
                reason = await self._serve(server)
            except (OSError, ValueError, APIError) as error:
                reason = _words(error)
                turn += 1
            self._note(server, reason)
            if loop.time() - started > STEADY_SECONDS:
                failures = 0
            longest = backoff_seconds(failures, RETRY_SECONDS, RETRY_MAX_SECONDS)
            failures += 1
            await asyncio.sleep(self._randomness.uniform(longest / 4, longest))

    async def _serve(self, server: str) -> str:
        """Open a tunnel and serve it; return why it ended. Raises OSError, ValueError, APIError if it fails to open."""
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def lost(reason: str) -> None:
            if not ended.done():
                ended.set_result(reason)

        async with asyncio.timeout(DIAL_SECONDS.value):
            transport, early = await _upgraded(server, self.ssl_context)
        self._mux = mux = Mux(lost, self._targets.resolve)
        try:
            transport.set_protocol(mux)
            mux.connection_made(transport)
            if early:
                mux.receive(early)
            transport.resume_reading()
            log.info("tunnel open", extra={"server": server})
            self._trouble = ""
            self._opened()
            return await ended
        finally:
            self._mux = None
            mux.lose("the node ends its tunnel")
            self._lost()

    def _note(self, server: str, reason: str) -> None:
        """Log why there is no tunnel, once for the same reason."""
        if reason != self._trouble:
            self._trouble = reason
            log.warning("no tunnel, trying again", extra={"server": server, "reason": reason})


async def _upgraded(server: str, context: ssl.SSLContext) -> tuple[asyncio.Transport, bytes]:
    """Connect and upgrade; return the transport, paused, and what came behind the answer.

    Raises OSError if the server cannot be reached, ValueError for a URL that is none, and APIError for another answer.
    """
    url = urlsplit(server)
    host = url.hostname or ""
    request = (
        f"GET {url.path.rstrip('/')}{PATH} HTTP/1.1\r\nHost: {url.netloc}\r\n"
        f"Connection: Upgrade\r\nUpgrade: {PROTOCOL}\r\nUser-Agent: kubelite\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_connection(
        lambda: _Upgrade(request.encode()), host, url.port or 443, ssl=context
    )
    try:
        return transport, await asking.answered
    except BaseException:
        transport.abort()
        raise


class _Upgrade(asyncio.Protocol):
    """Sends the request and reads the answer; `answered` has what came behind a 101, else an APIError."""

    def __init__(self, request: bytes) -> None:
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._request = request
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # those of uvloop are no subclass
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if self.answered.done():
            return
        if not end:
            if len(head) > ANSWER_BYTES_MAX:
                self._fail(ServiceUnavailable("the server's answer is too long"))
            return
        status = STATUS_LINE.match(head + b"\r")
        if status is not None and status[1] == b"101":
            self._transport.pause_reading()
            self.answered.set_result(rest)
            return
        length = LENGTH.search(head + b"\r\n")
        if len(rest) >= min(int(length[1]) if length else 0, ANSWER_BYTES_MAX):
            code = status[1].decode() if status is not None else "no HTTP"
            self._fail(ServiceUnavailable(f"the server answered {code}: {_message(rest)}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


class _Status(Struct):
    """The part of a Status that is shown."""

    message: str = ""


def _message(body: bytes) -> str:
    try:
        text = msgspec.json.decode(body, type=_Status).message
    except msgspec.DecodeError:
        text = body.decode(errors="replace")
    return " ".join(text.split())[:500]


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "i/o timeout"
    return str(error) or type(error).__name__
