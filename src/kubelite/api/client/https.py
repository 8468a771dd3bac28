"""Requests to an API server over HTTPS: a connection pool, typed errors, and streams of lines."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct

from kubelite.api.client.request_metrics import UNANSWERED, counter_of
from kubelite.api.errors import BY_REASON, APIError, Cause, ServiceUnavailable
from kubelite.api.kinds.meta import Status
from kubelite.limits import WATCH_LINE
from kubelite.randomness import Randomness

JSON = "application/json"
CONNECT_TIMEOUT_SECONDS = 10.0
REQUEST_TIMEOUT_SECONDS = 60.0
SILENCE_SECONDS_MAX = 150.0  # on a watch, which gets a bookmark every minute
TRIES_MAX = 10  # of a request answered with 429 and Retry-After
STREAM_BUFFER_BYTES = 1024 * 1024

Parameters = Mapping[str, str]


class Request(Struct, frozen=True):
    """One request; `body` is encoded as JSON."""

    method: str
    path: str
    parameters: Parameters = {}
    body: Any = None
    content_type: str = JSON
    accept: str = JSON


class Transport:
    """Sends requests to one server. `ssl_context` may be replaced at run time, for later requests."""

    def __init__(
        self,
        server: str,
        *,
        ssl_context: ssl.SSLContext | None,
        token: Callable[[], str] | None,
        randomness: Randomness,
        user_agent: str,
    ) -> None:
        self.ssl_context = ssl_context
        self._server = server.rstrip("/")
        self._token = token
        self._randomness = randomness
        self._user_agent = user_agent
        self._session: aiohttp.ClientSession | None = None
        self._count = counter_of(self._server.rpartition("/")[2])

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

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
                async with self._open(request, limits) as response:
                    return await response.read()
            except APIError as error:
                if error.code != 429 or not error.retry_after_seconds or tries == TRIES_MAX:
                    raise
                delay_seconds = error.retry_after_seconds
            tries += 1
            await asyncio.sleep(delay_seconds + self._randomness.uniform(0, 1))

    async def lines(self, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield the lines of a response as they arrive; raises as `send` does, also if the stream breaks off."""
        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_TIMEOUT_SECONDS, sock_read=SILENCE_SECONDS_MAX
        )
        async with self._open(request, limits) as response:
            # A line may exceed the limit of `readline`, so split the parts here.
            rest = bytearray()
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
                    raise ServiceUnavailable(f"cannot read {request.path}: a line is too long")

    @asynccontextmanager
    async def _open(
        self, request: Request, limits: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Accept": request.accept}
        data = None
        if request.body is not None:
            data = msgspec.json.encode(request.body)
            headers["Content-Type"] = request.content_type
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token()}"
        code = UNANSWERED
        try:
            async with self._opened().request(
                request.method,
                self._server + request.path,
                params=request.parameters,
                data=data,
                headers=headers,
                ssl=True if self.ssl_context is None else self.ssl_context,
                timeout=limits,
                allow_redirects=False,
            ) as response:
                code = str(response.status)
                if response.status >= 400:
                    raise error_of(
                        response.status,
                        await response.read(),
                        response.headers.get("Retry-After", ""),
                    )
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ServiceUnavailable(
                f"cannot reach {self._server}: {str(error) or type(error).__name__}"
            ) from error
        finally:
            self._count(request.method, code)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                headers={"User-Agent": self._user_agent},
                read_bufsize=STREAM_BUFFER_BYTES,
            )
        return self._session


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
