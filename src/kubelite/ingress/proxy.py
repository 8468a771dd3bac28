"""The state of the proxy that all its connections share: routes, endpoints, deadlines, counts and the log."""

import asyncio
import os
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol
from urllib.parse import unquote_plus

from msgspec import Struct

from kubelite.ingress.copies import Copy
from kubelite.ingress.endpoints import HTTP_2, PLAIN, Endpoints, Speech
from kubelite.ingress.exchange import Exchange
from kubelite.ingress.messages import DURATION_BUCKETS_SECONDS, Count, Counts
from kubelite.ingress.routes import Backend, Route, Scope, Tables
from kubelite.ingress.upstream import Connections, Pool
from kubelite.ingress.wire import Request
from kubelite.limits import GATEWAY_MIRRORED, INGRESS_LOG_WAITING, LIMITS
from kubelite.tasks import TaskSet

READ_BYTES = 64 * 1024
SWEEP_SECONDS = 1.0
PARAMETERS_MAX = 256  # of a query that routes may ask for
LOG_SECONDS = 0.2
LOGGED_TEXT_MAX = 512
NO_ENDPOINTS = Endpoints()


class Connection(Protocol):
    """A client's connection, as the sweep sees it."""

    address: str
    port: int

    @property
    def deadline(self) -> float: ...

    def late(self) -> None: ...
    def stop(self) -> None: ...
    def abort(self) -> None: ...


class Proxy:
    """See the module."""

    def __init__(self, *, https_port: int = 443, log_file: int = -1) -> None:
        """`log_file` is the descriptor of the access log; -1: none is written."""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self.https_port = https_port
        # One buffer for all connections: the loop reads into it and hands it over before it reads again.
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.pool = Pool(self.buffer)
        self._pools: dict[Speech, Connections] = {}  # to endpoints that are not plain HTTP/1.1
        self._addresses: frozenset[str] = frozenset()
        self.tasks = TaskSet()
        self.clients: set[Connection] = set()
        self.is_stopping = False
        self._empty = asyncio.Event()
        self.malformed = 0
        self.copies = 0  # of requests, that are being sent
        self._tables = Tables()
        self._endpoints: dict[str, Endpoints] = {}
        self._reached: dict[str, int] = {}  # limits of this process, as last reported
        self._turns: dict[int, int] = {}  # by id of the route
        self._counts: dict[tuple[str, int], Count] = {}
        self._log_file = log_file
        self._lines: list[bytes] = []
        self._waiting_bytes = 0

    # Configuration

    def use_routes(self, routes: Sequence[Route], scopes: Sequence[Scope] = ()) -> None:
        """Route by these from now on; `scopes` are the listeners of Gateways."""
        self._tables = Tables(routes, scopes)
        self._turns.clear()

    def use_endpoints(
        self, changed: Mapping[str, tuple[str, ...]], speeches: Mapping[str, Speech] | None = None
    ) -> None:
        """Replace the addresses of some sets of endpoints; a set without addresses is forgotten.

        `speeches` has what they speak, where that is not plain HTTP/1.1.
        """
        for key, addresses in changed.items():
            if addresses:
                found = self._endpoints.setdefault(key, Endpoints())
                found.replace(addresses)
                found.speech = (speeches or {}).get(key, PLAIN)
            elif (gone := self._endpoints.pop(key, None)) is not None:
                gone.replace(())  # also for the exchanges that hold it
        every = self._endpoints.values()
        self._addresses = frozenset(one for found in every for one in found.addresses)
        self.pool.use(self._addresses)
        present = {found.speech for found in every}
        for speech in self._pools.keys() - present:
            self._pools.pop(speech).use(frozenset())
        for pool in self._pools.values():
            pool.use(self._addresses)

    # What exchanges ask

    def pool_of(self, endpoints: Endpoints) -> Connections:
        """Return the connections to endpoints that speak as these do."""
        speech = endpoints.speech
        if speech is PLAIN or speech == PLAIN:
            return self.pool
        found = self._pools.get(speech)
        if found is None:
            found = self._pools[speech] = self._new_pool(speech)
            found.use(self._addresses)
        return found

    def _new_pool(self, speech: Speech) -> Connections:
        if speech.protocol == HTTP_2:
            # Only endpoints of HTTP/2 need the rest.
            from kubelite.ingress.http2_upstream import StreamPool

            return StreamPool(self.buffer, speech.tls)
        return Pool(self.buffer, speech.tls)

    def find(self, request: Request, port: int, *, is_extra: bool) -> Route | None:
        """Return the route of a request that came by a port."""
        table = self._tables.of(port, is_extra=is_extra)
        host, path = request.host.decode("ascii"), request.path.decode("ascii")
        if not table.has_conditions:
            return table.find(host, path)
        headers: dict[str, str] = {}
        for name, value in request.fields:
            lowered, text = name.lower().decode("ascii"), value.decode("latin-1")
            headers[lowered] = f"{headers[lowered]},{text}" if lowered in headers else text
        queries = parameters(request.target.partition(b"?")[2])
        return table.find(host, path, request.method.decode("ascii"), headers, queries)

    def endpoints_of(self, route: Route) -> Endpoints | None:
        """Return the endpoints of a backend of the route, by weight in turn; None if it has none that may be used."""
        backends = route.backends
        if len(backends) == 1:
            return self._of(backends[0]) if backends[0].weight else None
        total = sum(one.weight for one in backends)
        if not total:
            return None
        left = self._turn(route, total)
        for one in backends:
            left -= one.weight
            if left < 0:
                return self._of(one)
        raise AssertionError

    def _turn(self, of: Struct, total: int) -> int:
        """Return a number below `total`, another one each time, until all had their turn."""
        turn = self._turns.get(id(of), 0)
        self._turns[id(of)] = turn + 1
        # A stride that has no divisor in common with most totals spreads the shares over the turns.
        return turn * 7919 % total

    def copies_of(self, route: Route, head: bytes) -> list[Copy]:
        """Begin the copies of a request that its route asks for."""
        found = []
        for one in route.mirrors:
            if self._turn(one, one.denominator) >= one.numerator:
                continue
            if self.copies >= GATEWAY_MIRRORED.value:
                GATEWAY_MIRRORED.reached()
                break
            found.append(Copy(self, self._endpoints.get(one.key, NO_ENDPOINTS), head))
        return found

    def _of(self, backend: Backend) -> Endpoints | None:
        return self._endpoints.get(backend.key, NO_ENDPOINTS) if backend.key else None

    def count(self, exchange: Exchange) -> None:
        """Count an exchange that is over, and log it."""
        seconds = self.now() - exchange.started
        owner = exchange.route.owner if exchange.route is not None else ""
        key = owner, exchange.status // 100
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = Count(owner, key[1])
        count.requests += 1
        count.bytes_sent += exchange.sent_bytes
        count.seconds += seconds
        count.buckets[bisect_left(DURATION_BUCKETS_SECONDS, seconds)] += 1
        if self._log_file >= 0:
            self._log(exchange, seconds, owner)

    def take_counts(self) -> Counts:
        """Return what was counted since the last call."""
        counts, self._counts = list(self._counts.values()), {}
        malformed, self.malformed = self.malformed, 0
        reached = {name: one.times_reached for name, one in LIMITS.items() if one.times_reached}
        before, self._reached = self._reached, reached
        limits = {
            name: times - before.get(name, 0)
            for name, times in reached.items()
            if times > before.get(name, 0)
        }
        return Counts(counts, len(self.clients), malformed, limits)

    # The access log

    def _log(self, exchange: Exchange, seconds: float, owner: str) -> None:
        request = exchange.request
        line = b"%b %b %b%b %d %d %.3f %b\n" % (
            exchange.client_address.encode() or b"-",
            shown(request.method),
            shown(request.host),
            shown(request.target),
            exchange.status,
            exchange.sent_bytes,
            seconds,
            owner.encode() or b"-",
        )
        if self._waiting_bytes + len(line) > INGRESS_LOG_WAITING.value:
            INGRESS_LOG_WAITING.reached()
            return
        if not self._lines:
            self._loop.call_later(LOG_SECONDS, self._write_log)
        self._lines.append(line)
        self._waiting_bytes += len(line)

    def _write_log(self) -> None:
        text, self._lines, self._waiting_bytes = b"".join(self._lines), [], 0
        self.tasks.start(asyncio.to_thread(_write, self._log_file, text), name="ingress log")

    # Deadlines

    async def sweep(self) -> None:
        """End what has passed its deadline.

        One look a second over all connections costs less than a timer for each step of each request, and none while
        there is no connection.
        """
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self.now()
            self.pool.sweep(now)
            for pool in tuple(self._pools.values()):
                pool.sweep(now)
            for client in [one for one in self.clients if one.deadline < now]:
                client.late()

    def leave(self, port: int) -> None:
        """Close the idle connections of a port that is closed; the others find no route any more."""
        for client in [one for one in self.clients if one.port == port]:
            client.stop()

    def left(self, client: Connection) -> None:
        """Forget a connection that was lost."""
        self.clients.discard(client)
        if not self.clients:
            self._empty.set()

    async def _emptied(self) -> None:
        while self.clients:
            self._empty.clear()
            await self._empty.wait()

    async def stop(self, grace_seconds: float) -> None:
        """Close idle connections, let the others finish within `grace_seconds`, and end them then."""
        self.is_stopping = True
        for client in tuple(self.clients):
            client.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._emptied()
        for client in tuple(self.clients):
            client.abort()
        self.pool.close()
        for pool in self._pools.values():
            pool.close()
        await self.tasks.stop()


def parameters(query: bytes) -> dict[str, str]:
    """Return the parameters of a query; of those with one name the first."""
    found: dict[str, str] = {}
    for part in query.split(b"&", PARAMETERS_MAX)[:PARAMETERS_MAX]:
        name, _, value = part.decode("latin-1").partition("=")
        found.setdefault(unquote_plus(name), unquote_plus(value))
    return found


def shown(text: bytes) -> bytes:
    """Return text as it may stand in a log line: short, and nothing in it but visible ASCII."""
    if len(text) > LOGGED_TEXT_MAX:
        text = text[:LOGGED_TEXT_MAX] + b"..."
    return bytes(byte if 0x20 < byte < 0x7F else 0x3F for byte in text)


def _write(descriptor: int, text: bytes) -> None:
    try:
        os.write(descriptor, text)
    except OSError:
        INGRESS_LOG_WAITING.reached()
