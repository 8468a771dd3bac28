"""The pipeline of a request: parse, authenticate, impersonate, queue for a seat, authorize, serve, answer."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.auth import impersonate
from kubelite.api.auth.audit import Auditor, AuditRecord
from kubelite.api.auth.caller import Allowed, Attributes, Authenticator, Authorizer, Caller
from kubelite.api.errors import (
    APIError,
    BadRequest,
    Forbidden,
    InternalError,
    Timeout,
    Unauthorized,
)
from kubelite.api.http import metrics
from kubelite.api.http.connection import Connection
from kubelite.api.http.connections import Connections, options_of, query_of
from kubelite.api.http.delegation import Delegation, Registration
from kubelite.api.http.forms import Forms
from kubelite.api.http.negotiation import Media, error_media, media_of
from kubelite.api.http.objects import Call, Objects
from kubelite.api.http.query import watch_options
from kubelite.api.http.relay import is_upgrade
from kubelite.api.http.request import NO_QUERY, Query, RequestPath, parse, parse_query, split_target
from kubelite.api.http.respond import (
    CACHE_CONTROL,
    GZIP_THRESHOLD_BYTES,
    Reply,
    accepts_gzip,
    compressed,
    error_reply,
    warning_header,
    warning_headers,
)
from kubelite.api.http.unsent import Unsent
from kubelite.api.http.watch import Watches
from kubelite.api.http.websocket import bearer_token, is_websocket
from kubelite.api.http.wire import Dates, Disconnected, Sent, send, whole
from kubelite.api.machinery.times import parse_duration
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.routes import check_scope, check_verb, not_allowed, not_found
from kubelite.api.registry.verbs import Verbs
from kubelite.clock import Clock
from kubelite.limits import REQUEST_SECONDS
from kubelite.metrics import LOOP_LAG
from kubelite.randomness import Randomness

log = logging.getLogger(__name__)

AUDIT_ID_LENGTH_MAX = 64
IDENTIFIERS_AT_ONCE = 256
NOBODY = Caller("")  # the user of an unauthenticated request in the audit log
GONE = 499  # status in the metrics of a client that disconnected before the answer
DEPRECATED = "k8s.io/deprecated"  # in audit events, as upstream
APPLY_TYPE = "application/apply-patch+yaml"
READING = frozenset({"get", "list", "watch"})
LONG_RUNNING = frozenset({"attach", "exec", "log", "portforward", "proxy"})  # subresources


class Asked(Struct, frozen=True):
    """A parsed and authenticated request."""

    request: web.BaseRequest
    target: RequestPath
    query: Query
    caller: Caller
    audit_id: str
    headers: list[tuple[str, str]]  # of every answer to it: Audit-Id, Date, warnings, flow

    @property
    def attributes(self) -> Attributes:
        """The part of the request that authorization sees."""
        return self.target.attributes


class PathHandlers(Protocol):
    """Serves the non-resource paths."""

    def find(self, path: str) -> Callable[[Asked], Awaitable[Reply]] | None:
        """Return the handler of a path, or None."""
        ...


class Stream(Protocol):
    """Serves a subresource whose answer is a stream, not an object: logs, exec, proxies."""

    async def serve(self, asked: Asked, allowed: Allowed) -> Sent | Reply:
        """Write the answer and return Sent, or return a Reply to write. Raises APIError only before the first byte."""
        ...


class Upgrade(Protocol):
    """Serves a non-resource path whose connection becomes something else than HTTP."""

    async def serve(self, asked: Asked, allowed: Allowed) -> Sent | Reply:
        """Serve the connection until it ends. Raises APIError only before the first byte."""
        ...

    def end(self) -> None:
        """Begin a graceful shutdown."""
        ...


class Flow(Protocol):
    """Limits concurrency with fair queuing: no caller can starve the others."""

    def seat(
        self, caller: Caller, attributes: Attributes, headers: list[tuple[str, str]]
    ) -> AbstractAsyncContextManager[None]:
        """Wait for a seat and hold it. Appends the headers that name the flow. Raises TooManyRequests."""
        ...


class Parts(Struct, frozen=True, kw_only=True):
    """The dependencies of a Dispatcher; without `flow` or `auditor` it neither limits nor audits."""

    verbs: Verbs
    authenticator: Authenticator
    authorizer: Authorizer
    clock: Clock
    randomness: Randomness
    pages: PathHandlers
    streams: Mapping[
        tuple[str, str], Stream
    ] = {}  # by resource and subresource, all of the core group
    upgrades: Mapping[str, Upgrade] = {}  # by path
    flow: Flow | None = None
    auditor: Auditor | None = None
    delegation: Delegation = Delegation()


class Dispatcher:
    """Serves every request of the API server and observes it in metrics and audit log."""

    def __init__(self, parts: Parts) -> None:
        self._unsent = Unsent()
        self.watches = Watches(parts.verbs, parts.randomness, self._unsent)
        self._verbs = parts.verbs
        self._forms = Forms(parts.clock, parts.verbs.offload)
        self._objects = Objects(parts.verbs, self._forms, self._unsent)
        self._authenticator = parts.authenticator
        self._authorizer = parts.authorizer
        self._audit_ids = identifiers(parts.randomness)
        self._dates = Dates(parts.clock)
        self._pages = parts.pages
        self._streams = parts.streams
        self._upgrades = parts.upgrades
        self._flow = parts.flow
        self._auditor = parts.auditor
        self._delegation = parts.delegation
        self._connections = Connections()

    def end(self) -> None:
        """Begin a graceful shutdown: end what would not end by itself."""
        self.watches.end()
        for upgrade in self._upgrades.values():
            upgrade.end()

    async def answer(self, request: web.BaseRequest) -> Sent:
        """Answer one request. A disconnect and an unexpected exception end as status 499 and 500, not as an error."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        LOOP_LAG.sample()
        audit_id = request.headers.get("Audit-ID", "")[:AUDIT_ID_LENGTH_MAX] or next(
            self._audit_ids
        )
        headers = [
            ("Audit-Id", audit_id),
            ("Date", self._dates.now(started)),
        ]
        observed = Observation()
        try:
            result = await self._served(request, audit_id, headers, observed)
        except APIError as error:
            accept, agent = (request.headers.get(one, "") for one in ("Accept", "User-Agent"))
            result = error_reply(error, error_media(accept, agent))
        except (Disconnected, ConnectionError):
            result = Sent(GONE, keep_alive=False)
        except Exception:
            log.exception("request failed", extra={"path": request.raw_path, "audit_id": audit_id})
            observed.panic()
            result = error_reply(InternalError("Internal error occurred: see the server's log"))
        status = result.status
        if observed.record is not None:
            _conclude(observed.record, result)
        try:
            sent = (
                result if isinstance(result, Sent) else await self._send(request, result, headers)
            )
        except (Disconnected, ConnectionError):
            sent = Sent(GONE, keep_alive=False)
        finally:
            if isinstance(result, Reply) and result.charge is not None:
                result.charge.release()
        seconds = None if observed.is_long_running else loop.time() - started
        metrics.observe(
            observed.attributes,
            status,
            seconds,
            served=observed.is_served,
            dry_run=observed.dry_run,
            is_apply=observed.is_apply,
            queued_seconds=observed.queued_seconds,
        )
        return sent

    async def _served(
        self,
        request: web.BaseRequest,
        audit_id: str,
        headers: list[tuple[str, str]],
        observed: "Observation",
    ) -> Reply | Sent:
        raw_path, raw_query = split_target(request.raw_path)
        query = parse_query(raw_query) if raw_query else NO_QUERY
        target = parse(request.method, raw_path, query)
        observed.attributes = target.attributes
        if query:
            observed.dry_run = metrics.dry_run_of(query.get("dryRun", ()))
        if target.attributes.verb == "patch":
            observed.is_apply = request.headers.get("Content-Type", "") == APPLY_TYPE
        connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
        try:
            caller = await self._authenticator.authenticate(
                connection.credentials(authorization_of(request), request.headers)
            )
        except Unauthorized:
            observed.record = self._begin(request, NOBODY, target.attributes, audit_id)
            raise
        observed.record = self._begin(request, caller, target.attributes, audit_id)
        if (wanted := impersonate.requested(request.headers.items())) is not None:
            caller = impersonate.impersonated(self._authorizer, caller, wanted)
            if observed.record is not None:
                observed.record.acts_as(caller)
        asked = Asked(request, target, query, caller, audit_id, headers)
        if self._delegation.remote and (other := self._delegation.find(target)) is not None:
            return await self._delegated(asked, other, observed)
        if not target.is_resource:
            return await self._page(asked, observed)
        resource = self._verbs.resources.find(
            target.attributes.group, target.attributes.version, target.attributes.resource
        )
        if resource is not None:
            check_scope(resource, target.attributes, below_namespace=target.is_below_namespace)
        observed.is_served = resource is not None and _is_known(resource, target)
        observed.is_long_running = target.attributes.verb == "watch" or self._is_stream(target)
        if self._flow is None:
            return await self._resource(asked, resource, observed)
        time = asyncio.get_running_loop().time
        came = time()
        async with self._flow.seat(caller, target.attributes, headers):
            observed.queued_seconds = time() - came
            if not observed.is_long_running:
                return await self._resource(asked, resource, observed)
        # A long-running request queues for a seat but gives it up before it runs, else watches would use up the level.
        return await self._resource(asked, resource, observed)

    async def _delegated(
        self, asked: Asked, other: Registration, observed: "Observation"
    ) -> Reply | Sent:
        """Have another server answer, once the caller is authorized here."""
        attributes = asked.attributes
        if "/" in attributes.subresource:  # what follows is the other server's, as in Kubernetes
            first = attributes.subresource.partition("/")[0]
            attributes = replace(attributes, subresource=first)
            asked = replace(asked, target=replace(asked.target, attributes=attributes))
        observed.is_long_running = (
            attributes.verb == "watch"
            or attributes.subresource in LONG_RUNNING
            or is_upgrade(asked.request)
        )
        if self._flow is None:
            return await self._answered_elsewhere(asked, other, observed)
        time = asyncio.get_running_loop().time
        came = time()
        async with self._flow.seat(asked.caller, attributes, asked.headers):
            observed.queued_seconds = time() - came
            if not observed.is_long_running:
                return await self._answered_elsewhere(asked, other, observed)
        return await self._answered_elsewhere(asked, other, observed)

    async def _answered_elsewhere(
        self, asked: Asked, other: Registration, observed: "Observation"
    ) -> Reply | Sent:
        self._allowed(asked, observed)
        aggregation = self._delegation.aggregation
        assert aggregation is not None, "it is made with the first registration of another server"
        return await aggregation.proxy.serve(asked, other, is_long_running=observed.is_long_running)

    def _begin(
        self, request: web.BaseRequest, caller: Caller, attributes: Attributes, audit_id: str
    ) -> AuditRecord | None:
        if self._auditor is None:
            return None
        connection: Connection = request.protocol  # type: ignore[assignment]  # made by ConnectionServer
        return self._auditor.begin(
            caller,
            attributes,
            uri=request.raw_path,
            source=connection.remote_address,
            user_agent=request.headers.get("User-Agent", ""),
            identifier=audit_id,
        )

    async def _page(self, asked: Asked, observed: "Observation") -> Reply | Sent:
        upgrade = self._upgrades.get(asked.attributes.path)
        observed.is_long_running = upgrade is not None
        async with self._seat(asked):
            if upgrade is None:
                return await self._allowed_page(asked, observed)
        allowed = self._allowed(asked, observed)
        running = metrics.running_of(asked.attributes)
        running.value += 1
        try:
            return await upgrade.serve(asked, allowed)
        finally:
            running.value -= 1

    def _seat(self, asked: Asked) -> AbstractAsyncContextManager[None]:
        if self._flow is None:
            return nullcontext()
        return self._flow.seat(asked.caller, asked.attributes, asked.headers)

    async def _allowed_page(self, asked: Asked, observed: "Observation") -> Reply:
        allowed = self._allowed(asked, observed)
        page = self._pages.find(allowed.attributes.path)
        if page is None:
            raise not_found()
        return await page(asked)

    async def _resource(
        self, asked: Asked, resource: Resource | None, observed: "Observation"
    ) -> Reply | Sent:
        allowed = self._allowed(asked, observed)
        if resource is None:
            raise not_found()
        attributes = asked.attributes
        if asked.target.rest is None:  # the server behind a proxy decides on methods
            check_verb(resource, attributes)
        if resource.deprecation:
            metrics.note_deprecated(attributes)
            asked.headers.append(("Warning", warning_header(resource.deprecation)))
            if observed.record is not None:
                observed.record.annotations[DEPRECATED] = "true"
        if not observed.is_long_running:
            gauge = metrics.INFLIGHT[attributes.verb in READING]
            gauge.value += 1
            try:
                return await self._object(asked, resource, allowed, observed.record)
            finally:
                gauge.value -= 1
        running = metrics.running_of(attributes)
        running.value += 1
        try:
            if attributes.verb == "watch":
                return await self._watch(asked, resource, allowed)
            asked = await self._admitted(asked, resource, allowed)
            stream = self._streams[attributes.resource, attributes.subresource]
            return await stream.serve(asked, allowed)
        finally:
            running.value -= 1

    async def _admitted(self, asked: Asked, resource: Resource, allowed: Allowed) -> Asked:
        """Have admission judge a connection; return the request with the options that it left."""
        kind = resource.subresources[asked.attributes.subresource].kind
        form = self._connections.form(kind)
        if form is None:
            return asked
        options = options_of(asked.query, asked.target.rest, kind)
        before = dict(options)
        await self._verbs.connect(allowed, resource, options, form)
        if options == before:
            return asked
        return replace(asked, query=query_of(options, asked.query))

    def _allowed(self, asked: Asked, observed: "Observation") -> Allowed:
        record = observed.record
        try:
            allowed = self._authorizer.authorize(asked.caller, asked.attributes)
        except Forbidden:
            if record is not None:
                record.decided("", allowed=False)
            raise
        if record is not None:
            record.decided(allowed.reason, allowed=True)
            allowed = replace(allowed, annotations=record.annotations)
            if observed.is_long_running:
                record.started(200)
        return allowed

    def _is_stream(self, target: RequestPath) -> bool:
        attributes = target.attributes
        return (
            bool(attributes.subresource)
            and not attributes.group
            and (attributes.resource, attributes.subresource) in self._streams
        )

    async def _object(
        self, asked: Asked, resource: Resource, allowed: Allowed, record: AuditRecord | None
    ) -> Reply:
        attributes = asked.attributes
        call = Call(
            asked.request,
            resource,
            allowed,
            asked.query,
            _media(asked, resource),
            self._verbs.offload,
            record,
        )
        if attributes.verb in ("get", "list"):
            return await self._objects.read(call)
        try:
            async with asyncio.timeout(timeout_seconds(asked.query)):
                return await self._objects.write(call)
        except TimeoutError as error:
            REQUEST_SECONDS.reached()
            raise Timeout(
                "request did not complete within requested timeout - context deadline exceeded"
            ) from error

    async def _watch(self, asked: Asked, resource: Resource, allowed: Allowed) -> Sent:
        if asked.request.method != "GET":
            raise not_allowed(resource)
        media = _media(asked, resource)
        options = watch_options(
            asked.query, name=asked.attributes.name if asked.target.legacy_watch else ""
        )
        form = self._forms.watch(resource, media, asked.query)
        headers = [
            ("Content-Type", "application/json"),
            ("Cache-Control", CACHE_CONTROL),
            *asked.headers,
        ]
        return await self.watches.serve(asked.request, allowed, options, form, headers)

    async def _send(
        self, request: web.BaseRequest, reply: Reply, headers: list[tuple[str, str]]
    ) -> Sent:
        headers = [
            ("Content-Type", reply.content_type),
            ("Cache-Control", reply.cache_control),
            *headers,
        ]
        if reply.warnings:
            headers += [("Warning", value) for value in warning_headers(reply.warnings)]
        if reply.headers:
            headers.extend(reply.headers.items())
        body = reply.content
        if len(body) > GZIP_THRESHOLD_BYTES and accepts_gzip(
            request.headers.get("Accept-Encoding", "")
        ):
            body = await compressed(body, self._verbs.offload)
            headers.append(("Content-Encoding", "gzip"))
            headers.append(("Vary", "Accept-Encoding"))
        return await send(request, reply.status, headers, body)


def authorization_of(request: web.BaseRequest) -> str:
    """Return the Authorization header, or the bearer token of a WebSocket subprotocol in that form.

    Browsers cannot set headers on a WebSocket. Raises Unauthorized for a malformed token.
    """
    authorization = request.headers.get("Authorization", "")
    if not authorization and is_websocket(request) and (token := bearer_token(request)):
        return f"Bearer {token}"
    return authorization


def identifiers(randomness: Randomness) -> Iterator[str]:
    """Yield version 4 UUIDs; the random bytes are read for IDENTIFIERS_AT_ONCE of them."""
    while True:
        digits = randomness.token_bytes(IDENTIFIERS_AT_ONCE * 16).hex()
        for at in range(0, len(digits), 32):
            one = digits[at : at + 32]
            variant = "89ab"[int(one[16], 16) & 3]
            yield f"{one[:8]}-{one[8:12]}-4{one[13:16]}-{variant}{one[17:20]}-{one[20:]}"


class Observation:
    """What is known of a request for metrics and audit log; filled in along the pipeline."""

    __slots__ = (
        "attributes",
        "dry_run",
        "is_apply",
        "is_long_running",
        "is_served",
        "queued_seconds",
        "record",
    )

    def __init__(self) -> None:
        self.attributes = Attributes(verb="", path="")
        self.dry_run = ""
        self.queued_seconds = 0.0  # the wait for a seat
        self.is_apply = False
        self.is_long_running = False
        self.is_served = False
        self.record: AuditRecord | None = None

    def panic(self) -> None:
        """Close the audit record with stage Panic, so that no ResponseComplete follows."""
        if self.record is not None:
            self.record.panic()
            self.record = None


def _is_known(resource: Resource, target: RequestPath) -> bool:
    subresource = target.attributes.subresource
    return not subresource or subresource in resource.subresources


def _conclude(record: AuditRecord, result: Reply | Sent) -> None:
    """Complete an audit record with the status and, if JSON, the body of the answer."""
    body = None
    if isinstance(result, Reply) and result.content_type.startswith("application/json"):
        body = whole(result.content) if record.wants_response else result.body
    record.complete(result.status, body)


def _media(asked: Asked, resource: Resource) -> Media:
    headers = asked.request.headers
    return media_of(
        headers.get("Accept", ""),
        headers.get("User-Agent", ""),
        asked.query,
        custom=resource.type is None,
    )


def timeout_seconds(query: Query) -> float:
    """Return the seconds that a request may take: `timeout` of its query, or less. Raises BadRequest."""
    values = query.get("timeout")
    if not values or not values[0]:
        return REQUEST_SECONDS.value
    seconds = duration_seconds(values[0])
    return min(seconds, REQUEST_SECONDS.value) if seconds else REQUEST_SECONDS.value


def duration_seconds(value: str) -> float:
    """Return a Go duration such as ``1m30s`` in seconds. Raises BadRequest if it is malformed or negative."""
    try:
        seconds = parse_duration(value).total_seconds()
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if seconds < 0:
        raise BadRequest(f'time: invalid duration "{value}"')
    return seconds
