"""Forwards questions about names outside the cluster to the host's resolvers, and caches their answers.

A question that is already under way is not asked twice. Each attempt has a socket, and so a port, of its own, which
together with a random id makes forged answers hard to land.
"""

import asyncio
import contextlib
import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from msgspec import Struct

from kubelite.metrics import REGISTRY
from kubelite.net.dns_config import PORT, DNSConfig, Server
from kubelite.net.dns_loops import LoopGuard
from kubelite.net.dns_wire import (
    CHECKING_DISABLED,
    RECURSION_DESIRED,
    Malformed,
    Name,
    Query,
    Response,
    age,
    parse_response,
)
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RESOLV_CONF = Path("/etc/resolv.conf")
ATTEMPT_SECONDS = 2.0
ROUNDS = 2
CACHE_ENTRIES = 10_000
CACHED_BYTES_MAX = (
    4096  # longer answers are asked for again: whoever asks chooses who answers, and how much
)
CACHE_SECONDS_MAX = 30
IN_FLIGHT_MAX = 500
SERVERS_MAX = 3  # as the C library's resolver
RENEWED_AFTER = 0.8  # of its lifetime, an answer that was asked for this often is asked for again
RENEWED_HITS = 3
RENEWED_BYTES_MAX = 512
PREFERRED_MAX = 1000
FAILURES = (OSError, TimeoutError, Malformed, EOFError)
RECHECK_SECONDS = 5.0  # between checks of resolv.conf; none without a question

CacheKey = tuple[Name, int, int, bool, bool]


CACHE_HITS = REGISTRY.counter(
    "kubelite_dns_cache_hits_total", "Questions about other names that the cache answered."
).labelled()
FORWARDED = REGISTRY.counter(
    "kubelite_dns_forward_requests_total", "Questions sent to resolvers outside the cluster."
).labelled()
FORWARD_FAILURES = REGISTRY.counter(
    "kubelite_dns_forward_failures_total", "Questions that a resolver outside did not answer."
).labelled()


class NoUpstream(Exception):
    """No resolver answered or is configured, or too many questions are in flight."""


class Kept(Struct):
    """A cached answer, the question it is to, and the loop's time at which it arrived, in seconds."""

    data: bytes
    response: Response
    given: float
    asked: bytes  # empty: too long to be asked again
    hits: int = 0
    is_renewed: bool = False  # it is being asked for again

    @property
    def lifetime(self) -> float:
        """For how long it may be given, in seconds."""
        return min(self.response.ttl, CACHE_SECONDS_MAX)


def parse_resolv_conf(text: str, own_addresses: Sequence[str]) -> tuple[Server, ...]:
    """Return the nameservers of a resolv.conf without the cluster's own, which would forward to itself."""
    found: list[Server] = []
    own = {ipaddress.ip_address(one) for one in own_addresses}
    for line in text.splitlines():
        words = line.split()
        if words[:1] != ["nameserver"] or len(words) < 2:
            continue
        try:
            server = ipaddress.ip_address(words[1].partition("%")[0])
        except ValueError:
            continue
        mapped = server.ipv4_mapped if isinstance(server, ipaddress.IPv6Address) else None
        if (mapped or server) not in own:
            found.append((words[1], PORT))
    return tuple(dict.fromkeys(found))[:SERVERS_MAX]


class HostServers:
    """The nameservers of the host's resolv.conf, read again when the file has changed."""

    def __init__(self, *, own_addresses: Sequence[str] = (), path: Path = RESOLV_CONF) -> None:
        self._own_addresses = tuple(own_addresses)
        self._path = path
        self._servers: tuple[Server, ...] = ()
        self._checked = -RECHECK_SECONDS
        self._stamp: tuple[int, int] | None = None

    def __call__(self) -> tuple[Server, ...]:
        """Return the nameservers in the order to ask them."""
        now = asyncio.get_running_loop().time()
        if now - self._checked >= RECHECK_SECONDS:
            self._checked = now
            self._refresh()
        return self._servers

    def _refresh(self) -> None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                text = self._path.read_text(errors="replace")
                self._servers = parse_resolv_conf(text, self._own_addresses)
                self._stamp = stamp
        except OSError as error:
            log.warning("cannot read the host's resolvers", extra={"reason": str(error)})
            self._servers = ()


class Upstream:
    """Forwards questions unchanged but for their id."""

    def __init__(
        self,
        servers: Callable[[], Sequence[Server]],
        randomness: Randomness,
        loops: LoopGuard | None = None,
    ) -> None:
        """`servers` returns whom to ask where the settings name nobody."""
        self._host_servers = servers
        self._config = DNSConfig()
        self._randomness = randomness
        self._loops = loops
        self._tasks = TaskSet()
        self._cache: OrderedDict[CacheKey, Kept] = OrderedDict()
        self._in_flight: dict[tuple[CacheKey, bool], asyncio.Future[bytes]] = {}
        self._preferred: dict[tuple[Server, ...], Server] = {}  # by all that may be asked

    def configure(self, config: DNSConfig) -> None:
        """Take other settings; what was cached under the former ones is dropped."""
        self._config = config
        self._cache.clear()
        self._preferred.clear()
        if self._loops is not None:
            self._loops.forget()

    async def stop(self) -> None:
        """End what runs in the background."""
        await self._tasks.stop()

    def came_back(self, name: Name) -> bool:
        """Return whether a question was sent by this server itself, to find out who sends questions back."""
        return self._loops is not None and self._loops.came_back(name)

    def cached(self, query: Query) -> bytes | None:
        """Return a cached answer within its time to live, under the question's id; None if there is none."""
        key = _cache_key(query)
        kept = self._cache.get(key)
        if kept is None:
            return None
        passed = asyncio.get_running_loop().time() - kept.given
        if passed >= kept.lifetime:
            del self._cache[key]
            return None
        kept.hits += 1
        CACHE_HITS.value += 1
        if passed >= kept.lifetime * RENEWED_AFTER and kept.hits >= RENEWED_HITS:
            self._renew(kept, query)
        return _under(query, age(kept.data, kept.response.ttl_offsets, int(passed)))

    async def ask(self, data: bytes, query: Query, *, by_tcp: bool = False) -> bytes:
        """Ask upstream; raises NoUpstream. An answer by UDP may have the TC bit set."""
        if (cached := self.cached(query)) is not None:
            return cached
        return await self._ask_once(data, query, by_tcp)

    async def _ask_once(self, data: bytes, query: Query, by_tcp: bool) -> bytes:
        """Ask, unless the same question is under way already: then wait for its answer. Raises NoUpstream."""
        key = (_cache_key(query), by_tcp)
        pending = self._in_flight.get(key)
        if pending is None:
            if len(self._in_flight) >= IN_FLIGHT_MAX:
                raise NoUpstream("too many questions are under way")
            pending = asyncio.get_running_loop().create_future()
            pending.add_done_callback(_consume)
            self._in_flight[key] = pending
            try:
                pending.set_result(await self._ask_servers(data, query, by_tcp))
            except NoUpstream as failure:
                pending.set_exception(failure)
            finally:
                del self._in_flight[key]
                if not pending.done():
                    pending.set_exception(NoUpstream("given up"))
        return _under(query, await asyncio.shield(pending))

    def _renew(self, kept: Kept, query: Query) -> None:
        """Ask again for what is asked for often, before it expires, so that nobody waits for it."""
        if kept.asked and not kept.is_renewed:
            kept.is_renewed = True
            self._tasks.start(self._ask_quietly(kept.asked, query), name="dns renewal")

    async def _ask_quietly(self, data: bytes, query: Query) -> None:
        with contextlib.suppress(NoUpstream):
            await self._ask_once(data, query, by_tcp=False)

    def _servers(self, name: Name) -> list[Server]:
        """Return whom to ask for a name, whoever answered last first."""
        named = tuple(self._config.servers_for(name) or self._host_servers())
        servers = [server for server in named if self._loops is None or not self._is_loop(server)]
        preferred = self._preferred.get(named)
        if preferred in servers:
            servers.remove(preferred)
            servers.insert(0, preferred)
        if named and not servers:
            raise NoUpstream("all resolvers send questions back")
        return servers

    def _is_loop(self, server: Server) -> bool:
        assert self._loops is not None
        probe = self._loops.probe(server, asyncio.get_running_loop().time())
        if probe is not None:
            self._tasks.start(self._ask_probe(server, *probe), name="dns loop probe")
        return self._loops.loops(server)

    async def _ask_probe(self, server: Server, data: bytes, query: Query) -> None:
        with contextlib.suppress(*FAILURES):
            async with asyncio.timeout(ATTEMPT_SECONDS):
                await _ask_by_udp(server, self._randomness.token_bytes(2) + data[2:], query)

    async def _ask_servers(self, data: bytes, query: Query, by_tcp: bool) -> bytes:
        servers = self._servers(query.name)
        for server in servers * ROUNDS:
            message_id = self._randomness.token_bytes(2)
            FORWARDED.value += 1
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    ask = _ask_by_tcp if by_tcp else _ask_by_udp
                    answered, response = await ask(server, message_id + data[2:], query)
            except FAILURES:
                FORWARD_FAILURES.value += 1
                continue
            self._prefer(query.name, server)
            self._keep(query, answered, response, data)
            return answered
        raise NoUpstream("no resolver answers" if servers else "the host has no resolver")

    def _prefer(self, name: Name, server: Server) -> None:
        if len(self._preferred) > PREFERRED_MAX:
            self._preferred.clear()
        self._preferred[tuple(self._config.servers_for(name) or self._host_servers())] = server

    def _keep(self, query: Query, data: bytes, response: Response, asked: bytes) -> None:
        if response.ttl and len(data) <= CACHED_BYTES_MAX:
            key = _cache_key(query)
            # By TCP, whoever asks may pad the question to 64 KiB, and there are thousands of places.
            repeated = asked if len(asked) <= RENEWED_BYTES_MAX else b""
            self._cache[key] = Kept(data, response, asyncio.get_running_loop().time(), repeated)
            self._cache.move_to_end(key)
            if len(self._cache) > CACHE_ENTRIES:
                self._cache.popitem(last=False)


class _Attempt(asyncio.DatagramProtocol):
    """One question by UDP; datagrams that do not answer it are ignored."""

    def __init__(self, data: bytes, query: Query) -> None:
        self._data = data
        self._query = query
        self.answered: asyncio.Future[tuple[bytes, Response]] = (
            asyncio.get_running_loop().create_future()
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # not all loops' transports inherit from the class they act as
        cast(asyncio.DatagramTransport, transport).sendto(self._data)

    def datagram_received(self, data: bytes, _address: object) -> None:
        try:
            response = _read(data, self._data, self._query)
        except Malformed:
            return
        if not self.answered.done():
            self.answered.set_result((data, response))

    def error_received(self, error: Exception) -> None:
        if not self.answered.done():
            self.answered.set_exception(error)


async def _ask_by_udp(server: Server, data: bytes, query: Query) -> tuple[bytes, Response]:
    loop = asyncio.get_running_loop()
    transport, attempt = await loop.create_datagram_endpoint(
        lambda: _Attempt(data, query), remote_addr=server
    )
    try:
        return await attempt.answered
    finally:
        attempt.answered.cancel()
        transport.close()


async def _ask_by_tcp(server: Server, data: bytes, query: Query) -> tuple[bytes, Response]:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(data).to_bytes(2, "big") + data)
        size = int.from_bytes(await reader.readexactly(2), "big")
        answered = await reader.readexactly(size)
        return answered, _read(answered, data, query)
    finally:
        writer.close()


def _read(answered: bytes, asked: bytes, query: Query) -> Response:
    """Return the answer if its question is the one asked; raises Malformed."""
    response = parse_response(answered)
    if answered[:2] != asked[:2] or response.question != (query.name, query.record_type):
        raise Malformed("an answer to something else")
    return response


def _cache_key(query: Query) -> CacheKey:
    flags = query.flags & (RECURSION_DESIRED | CHECKING_DISABLED)
    return query.name, query.record_type, flags, query.has_edns, query.wants_dnssec


def _under(query: Query, data: bytes) -> bytes:
    """Return an answer with the id and the question of `query`, its letter case included (RFC 4343)."""
    head = query.message_id.to_bytes(2, "big") + data[2:12] + query.section
    return head + data[len(head) :]


def _consume(pending: asyncio.Future[bytes]) -> None:
    if not pending.cancelled():
        pending.exception()
