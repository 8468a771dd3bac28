"""Requests to an API server over HTTPS: a connection pool, typed errors, and streams of lines."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from kubelite.api.client.availability import Availability
from kubelite.api.client.lost_connections import is_programs_fault
from kubelite.api.client.request_metrics import UNANSWERED, counter_of
from kubelite.api.errors import BY_REASON, APIError, Cause, ServiceUnavailable
from kubelite.api.kinds.meta import Status
from kubelite.limits import RETIRED_SECONDS, WATCH_LINE
from kubelite.randomness import Randomness
from kubelite.tasks import TaskSet

JSON = "application/json"
CONNECT_TIMEOUT_SECONDS = 10.0
REQUEST_TIMEOUT_SECONDS = 60.0  # also until the head of a watch
SILENCE_SECONDS_MAX = 150.0  # on a watch, which gets a bookmark every minute
TRIES_MAX = 10  # of a request answered with 429 and Retry-After
STREAM_BUFFER_BYTES = 1024 * 1024

# Failures that say more of the server than of one connection, which it may have closed while it was idle.
_AWAY = (aiohttp.ClientConnectorError, TimeoutError)

Parameters = Mapping[str, str]


class Request(Struct, frozen=True):
    """One request; `body` is encoded as JSON."""

    method: str
    path: str
    parameters: Parameters = {}
    body: Any = None
    content_type: str = JSON
    accept: str = JSON


class _Pool:
    """The connections made with one TLS context; once retired it takes no more requests and closes."""

    def __init__(
        self,
        user_agent: str,
        randomness: Randomness,
        tasks: TaskSet,
        closed: Callable[["_Pool"], None],
    ) -> None:
        """`closed` is called once all connections are closed."""
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"User-Agent": user_agent},
            read_bufsize=STREAM_BUFFER_BYTES,
        )
        self.requests = 0  # in flight
        self.is_retired = False
        self._streams: dict[Callable[[], None], None] = {}
        self._randomness = randomness
        self._tasks = tasks
        self._closed = closed
        self._timers: list[asyncio.TimerHandle] = []

    def retire(self) -> None:
        """Close idle connections at once, streams each at a random time, and all within RETIRED_SECONDS."""
        self.is_retired = True
        if not self.requests:
            self._begin_close()
            return
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(RETIRED_SECONDS.value, self._too_late))
        for end in self._streams:
            self._end_soon(end)

    def cut(self) -> None:
        """Close all connections at once, also those in use: streams end, requests in flight fail."""
        self.is_retired = True
        for end in tuple(self._streams):
            end()
        self._begin_close()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request in flight."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            if self.is_retired and not self.requests:
                self._begin_close()

    @contextmanager
    def stream(self, end: Callable[[], None]) -> Iterator[None]:
        """Have `end` called when the pool is retired, while the context lasts."""
        self._streams[end] = None
        if self.is_retired:  # since the request was sent
            self._end_soon(end)
        try:
            yield
        finally:
            del self._streams[end]

    def _end_soon(self, end: Callable[[], None]) -> None:
        seconds = self._randomness.uniform(0.0, RETIRED_SECONDS.value)
        self._timers.append(asyncio.get_running_loop().call_later(seconds, end))

    def _too_late(self) -> None:
        RETIRED_SECONDS.reached()
        self._begin_close()

    def _begin_close(self) -> None:
        self._tasks.start(self.close(), name="close replaced connections")

    async def close(self) -> None:
        """Close all connections, also those in use."""
        for timer in self._timers:
            timer.cancel()
        await self.session.close()
        self._closed(self)


class Transport:
    """Sends requests to one server. `ssl_context` may be replaced at run time.

    Later requests use new connections then, and those of the former context close within RETIRED_SECONDS. A server that
    does not answer is noticed after CONNECT_TIMEOUT_SECONDS of a connection, REQUEST_TIMEOUT_SECONDS of a request, and
    SILENCE_SECONDS_MAX of a watch.
    """

    def __init__(
        self,
        server: str,
        *,
        ssl_context: ssl.SSLContext | None,
        token: Callable[[], str] | None,
        randomness: Randomness,
        user_agent: str,
        availability: Availability | None = None,
    ) -> None:
        self._ssl_context = ssl_context
        self._server = server.rstrip("/")
        self._token = token
        self._randomness = randomness
        self._user_agent = user_agent
        self._tasks = TaskSet()
        self._pool: _Pool | None = None  # of new requests
        self._pools: set[_Pool] = set()  # all that have open connections
        self.availability = availability or Availability(self._server, randomness)
        self._unsubscribe = self.availability.subscribe(self._returned)
        self._count = counter_of(self._server.rpartition("/")[2])

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS context of new connections."""
        return self._ssl_context

    @ssl_context.setter
    def ssl_context(self, context: ssl.SSLContext | None) -> None:
        self._ssl_context = context
        self._retire()

    def reconnect(self) -> None:
        """Close all connections at once; later requests use new ones, and watches resume on them.

        For a caller that knows that the connections may lead nowhere, which the kernel finds out only on sending: a
        watch on an address that the host has lost would wait SILENCE_SECONDS_MAX.
        """
        if self._pool is not None:
            self._pool.cut()
            self._pool = None

    async def close(self) -> None:
        """Close all connections."""
        self._unsubscribe()
        self._retire()
        while self._pools:
            await self._pools.pop().close()
        await self._tasks.stop()

    async def send(self, request: Request) -> bytes:
        """Return the response body; retries a 429 after its Retry-After and jitter, at most `TRIES_MAX` tries in all.

        Raises the APIError of the response, and ServiceUnavailable if the server cannot be reached.
        """
        limits = aiohttp.ClientTimeout(
            total=REQUEST_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS
        )
        tries = 1
        while True:
            try:
                async with self._open(request, limits) as (response, _):
                    return await response.read()
            except APIError as error:
                if error.code != 429 or not error.retry_after_seconds or tries == TRIES_MAX:
                    raise
                delay_seconds = error.retry_after_seconds
            tries += 1
            await asyncio.sleep(delay_seconds + self._randomness.uniform(0, 1))

    async def lines(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a response as they arrive; raises as `send` does, also if the stream breaks off.

        Ends early, as if the server had ended it, after the TLS context was replaced.
        """
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=SILENCE_SECONDS_MAX
        )
        async with self._open(request, limits) as (response, pool):
            with pool.stream(response.close):
                async for part in self._parts(response, pool, request.path):
                    yield part

    async def _parts(
        self, response: aiohttp.ClientResponse, pool: _Pool, path: str
    ) -> AsyncIterator[bytes]:
        # A line may exceed the limit of `readline`, so split the parts here.
        rest = bytearray()
        try:
            async for part in response.content.iter_any():
                searched = len(rest)
                rest += part
                end = rest.find(b"\n", searched)
                while end >= 0:
                    yield bytes(rest[:end])
                    del rest[: end + 1]
                    end = rest.find(b"\n")
                if len(rest) > WATCH_LINE.value:
                    WATCH_LINE.reached()
                    raise ServiceUnavailable(f"cannot read {path}: a line is too long")
        except (aiohttp.ClientError, RuntimeError) as error:
            if not pool.is_retired or is_programs_fault(error):
                raise

    @asynccontextmanager
    async def _open(
        self, request: Request, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, _Pool]]:
        headers = {"Accept": request.accept}
        data = None
        if request.body is not None:
            data = msgspec.json.encode(request.body)
            headers["Content-Type"] = request.content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        code = UNANSWERED
        with self.availability.attempt() as attempt:
            pool = self._opened()
            try:
                with pool.request():
                    # The head comes at once even of a watch.
                    async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                        response = await pool.session.request(
                            request.method,
                            self._server + request.path,
                            params=request.parameters,
                            data=data,
                            headers=headers,
                            ssl=True if self._ssl_context is None else self._ssl_context,
                            timeout=limits,
                            allow_redirects=False,
                        )
                    async with response:
                        attempt.answered()
                        code = str(response.status)
                        if response.status >= 400:
                            raise error_of(
                                response.status,
                                await response.read(),
                                response.headers.get("Retry-After", ""),
                            )
                        yield response, pool
            except (aiohttp.ClientError, TimeoutError, OSError, RuntimeError) as error:
                if is_programs_fault(error):
                    raise
                reason = _reason(error)
                if isinstance(error, TimeoutError) or not attempt.is_over:
                    self._retire(pool)  # its other connections may lead to the same dead end
                if not attempt.is_over:
                    note = attempt.failed if isinstance(error, _AWAY) else attempt.broke
                    note(reason)
                raise self.availability.unreachable(reason) from error
            finally:
                self._count(request.method, code)

    def _returned(self) -> None:
        """End what is left from before the server's absence: a server whose host lost power has forgotten it."""
        for pool in tuple(self._pools):
            if pool is not self._pool:
                pool.cut()

    def _opened(self) -> _Pool:
        if self._pool is None:
            self._pool = _Pool(self._user_agent, self._randomness, self._tasks, self._pools.discard)
            self._pools.add(self._pool)
        return self._pool

    def _retire(self, pool: _Pool | None = None) -> None:
        """Use new connections from now on; `pool` is the one to retire, if it is still in use."""
        if self._pool is not None and pool in (None, self._pool):
            self._pool.retire()
            self._pool = None


def _reason(error: Exception) -> str:
    """Return why a request had no answer; the text of a connector would show the TLS context as Python does."""
    if type(error) is aiohttp.ClientConnectorError and (error.os_error.errno or 0) > 0:
        return os.strerror(error.os_error.errno or 0)
    return str(error) or type(error).__name__


def error_of(status_code: int, body: bytes, retry_after: str = "") -> APIError:
    """Return the error of a response, whose body is a Status or plain text."""
    seconds = int(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0
    try:
        status = msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError:
        status = Status(message=body.decode(errors="replace").strip())
    return typed_error(status, status_code, seconds)


def typed_error(status: Status, status_code: int, retry_after_seconds: int = 0) -> APIError:
    """Return the error of a Status, by its reason, else by its code."""
    known = BY_REASON.get(status.reason) or next(
        (error for error in BY_REASON.values() if error.code == status_code), APIError
    )
    details = status.details
    error = known(
        status.message or f"the server answered with status {status_code}",
        group=details.group if details else "",
        kind=details.kind if details else "",
        name=details.name if details else "",
        uid=details.uid if details else "",
        causes=[
            Cause(cause.field, cause.reason, cause.message)
            for cause in (details.causes if details else ())
        ],
        retry_after_seconds=retry_after_seconds or (details.retryAfterSeconds if details else 0),
    )
    if known is APIError:
        error.code, error.reason = status_code, status.reason
    return error
