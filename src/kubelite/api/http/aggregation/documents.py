"""Fetches documents of other API servers: discovery, OpenAPI, and whether they answer at all.

What a server sends is bounded in bytes and in time, and never decompressed; it may be hostile.
"""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.client.https import error_of
from kubelite.api.errors import APIError, ServiceUnavailable
from kubelite.api.http.aggregation.connections import Connections
from kubelite.api.http.aggregation.identity import AGGREGATOR, identity_headers
from kubelite.api.http.aggregation.proxy import EXPIRED, AggregatedProxy, Failed
from kubelite.api.http.delegation import Registration
from kubelite.api.http.dialer import Backend
from kubelite.api.http.relay import Answered, Head, body_parts, read_head
from kubelite.api.http.service_endpoints import Endpoint, NoEndpoint, ServiceEndpoints
from kubelite.limits import (
    AGGREGATED_DISCOVERY_SECONDS,
    AGGREGATED_READ,
    AGGREGATED_READ_SECONDS,
    Limit,
)
from kubelite.tasks import TaskSet

OK, NOT_MODIFIED = 200, 304
UNABLE = "the server is currently unable to handle the request"
PROBED_ENDPOINTS = 5  # as many attempts as upstream makes


class Unfetched(Exception):
    """A document could not be fetched; the message says why."""


class Fetched(Struct, frozen=True):
    """The answer of another API server."""

    status: int
    content_type: str
    etag: str
    body: bytes


class Documents:
    """Fetches documents."""

    def __init__(self, proxy: AggregatedProxy, connections: Connections) -> None:
        self._proxy = proxy
        self._connections = connections

    async def fetch(
        self,
        registration: Registration,
        path: str,
        *,
        caller: Caller,
        accept: str,
        limit: Limit,
        seconds: Limit,
        etag: str = "",
        with_errors: bool = False,
    ) -> Fetched:
        """Return the answer to a GET, with at most `limit` bytes and within `seconds`. Raises Unfetched.

        The body of an error is read only `with_errors`.
        """
        conditional = [("If-None-Match", etag)] if etag else []
        try:
            async with asyncio.timeout(seconds.value):
                backend = await self._proxy.backend(registration)
                headers = [*identity_headers(caller), ("Accept", accept), *conditional]
                return await self._get(backend, path, headers, limit, with_errors=with_errors)
        except TimeoutError as error:
            seconds.reached()
            raise Unfetched(EXPIRED) from error
        except (Failed, APIError, OSError, EOFError, ValueError) as error:
            raise Unfetched(str(error)) from error

    async def read(self, registration: Registration, path: str, caller: Caller) -> bytes:
        """Return the JSON of an answer to a caller inside this process. Raises APIError."""
        if not registration.is_available:
            raise ServiceUnavailable(UNABLE)
        try:
            answer = await self.fetch(
                registration,
                path,
                caller=caller,
                accept="application/json",
                limit=AGGREGATED_READ,
                seconds=AGGREGATED_READ_SECONDS,
                with_errors=True,
            )
        except Unfetched as error:
            raise ServiceUnavailable(f"{UNABLE}: {error}") from error
        if answer.status != OK:
            raise error_of(answer.status, answer.body)
        return answer.body

    async def _get(
        self,
        backend: Backend,
        path: str,
        headers: Sequence[tuple[str, str]],
        limit: Limit,
        *,
        with_errors: bool,
    ) -> Fetched:
        reader, writer = await self._connections.dial(backend)
        try:
            writer.write(_request(backend, path, headers))
            head = await read_head(reader)
            answered = Answered(head, reader, writer, None, lambda: None)
            has_body = head.status == OK or with_errors
            body = await _whole(answered, limit) if has_body else b""
        finally:
            writer.transport.abort()
        return Fetched(head.status, head.get("content-type"), _etag(head), body)


class Prober:
    """Finds out whether the server of an APIService answers."""

    def __init__(
        self, proxy: AggregatedProxy, endpoints: ServiceEndpoints, connections: Connections
    ) -> None:
        self._proxy = proxy
        self._endpoints = endpoints
        self._connections = connections
        self._tasks = TaskSet()

    async def probe(self, registration: Registration) -> str:
        """Return "" if an endpoint answers for the group version, else why not, in Kubernetes' words."""
        key = registration.service
        assert key is not None, "it is delegated"
        try:
            endpoints = self._endpoints.all(key.namespace, key.name, key.port)
        except NoEndpoint as error:
            return str(error)
        chosen = endpoints[:PROBED_ENDPOINTS]
        trying = [
            self._tasks.start(self._try(registration, each), name="probe of an API server")
            for each in chosen
        ]
        try:
            problem = ""
            for attempt in asyncio.as_completed(trying):
                problem = await attempt
                if not problem:
                    return ""
            return problem
        finally:
            for each in trying:
                each.cancel()
            await asyncio.gather(*trying, return_exceptions=True)

    async def _try(self, registration: Registration, endpoint: Endpoint) -> str:
        url = f"https://{endpoint.authority}/{registration.path}"
        try:
            async with asyncio.timeout(AGGREGATED_DISCOVERY_SECONDS.value):
                backend = await self._proxy.backend(registration, endpoint)
                status = await self._status(backend, f"/{registration.path}")
        except TimeoutError:
            return _missing(url, f"{EXPIRED} (Client.Timeout exceeded while awaiting headers)")
        except (Failed, APIError, OSError, EOFError, ValueError) as error:
            reason = str(error) or "EOF"
            return _missing(url, reason.removeprefix("error trying to reach service: "))
        if not 200 <= status < 300:
            return f"failing or missing response from {url}: bad status from {url}: {status}"
        return ""

    async def _status(self, backend: Backend, path: str) -> int:
        reader, writer = await self._connections.dial(backend)
        try:
            writer.write(_request(backend, path, identity_headers(AGGREGATOR)))
            return (await read_head(reader)).status
        finally:
            writer.transport.abort()


def _missing(url: str, reason: str) -> str:
    return f'failing or missing response from {url}: Get "{url}": {reason}'


def _request(backend: Backend, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {backend.authority}", "User-Agent: kube-aggregator"]
    lines += [f"{name}: {value}" for name, value in headers]
    lines += ["Accept-Encoding: identity", "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


async def _whole(answered: Answered, limit: Limit) -> bytes:
    """Return a body. Raises ValueError if it is compressed or has more than `limit` bytes."""
    if answered.head.get("content-encoding").lower() not in ("", "identity"):
        raise ValueError("the document is compressed, which was not asked for")
    parts, size = [], 0
    async for part in body_parts(answered):
        size += len(part)
        if size > limit.value:
            limit.reached()
            raise ValueError(f"the document has more than {limit.value} bytes")
        parts.append(part)
    return b"".join(parts)


def _etag(head: Head) -> str:
    """Return the entity tag, "" for one that could not be sent back."""
    etag = head.get("etag")
    return etag if len(etag) <= 256 and etag.isascii() and etag.isprintable() else ""
