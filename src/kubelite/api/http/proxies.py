"""The proxy subresources of nodes, pods and services; links in answers are rewritten to the proxy's path."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web
from msgspec.structs import replace

from kubelite.api.auth.caller import Allowed, Authorizer
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.http.backends import Backends
from kubelite.api.http.dialer import Backend
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.html_links import rewrite_links
from kubelite.api.http.relay import Answered, Relay, body_parts, close, is_upgrade
from kubelite.api.http.request import split_target
from kubelite.api.http.respond import Reply
from kubelite.api.http.wire import Sent, send
from kubelite.api.registry.routes import not_allowed
from kubelite.limits import BACKEND_PAGE_SECONDS, PROXIED_PAGE, PROXIED_PAGES

INLINE_BYTES_MAX = 64 * 1024  # about 5 ms of the loop
VERBS = frozenset({"get", "create", "update", "patch", "delete"})


class Proxy:
    """Serves nodes/proxy, pods/proxy and services/proxy."""

    def __init__(self, backends: Backends, relay: Relay, authorizer: Authorizer) -> None:
        self._backends = backends
        self._relay = relay
        self._authorizer = authorizer
        self._pages_bytes = 0

    async def serve(self, asked: Asked, allowed: Allowed) -> Sent | Reply:
        """Forward the request to its backend. Raises APIError."""
        attributes = allowed.attributes
        request = asked.request
        if attributes.verb not in VERBS and request.method != "OPTIONS":
            raise not_allowed()
        if attributes.resource == "nodes" and attributes.verb == "get" and is_upgrade(request):
            # What a node upgrades to runs commands in pods (exec, attach, port-forward), and a WebSocket can only be
            # opened by GET: reading must not be enough, as for the pods' own subresources.
            self._authorizer.authorize(allowed.caller, replace(attributes, verb="create"))
        path, query = split_target(request.raw_path)
        rest = asked.target.rest or ""
        if not rest and request.method in ("GET", "HEAD") and not is_upgrade(request):
            # Without the trailing slash relative links of the page would resolve wrongly, so redirect to it.
            location = f"{path}/?{query}" if query else f"{path}/"
            return Reply(body=b"", status=301, headers={"Location": location})
        backend = await self._backend(attributes.resource, attributes.namespace, attributes.name)
        target = (rest or "/") + (f"?{query}" if query else "")
        if is_upgrade(request):
            return await self._relay.upgrade(request, backend, target)
        prefix = path.removesuffix(rest) if rest else path
        links = Links(request, backend, prefix)
        answered = await self._relay.ask(request, backend, target, links.headers(rest))
        if answered.head.get("content-type").partition(";")[0].strip() == "text/html":
            return await self._html(asked, answered, links)
        return await self._relay.pass_through(request, answered, rewrite=links.header)

    async def _backend(self, resource: str, namespace: str, name: str) -> Backend:
        if resource == "nodes":
            return await self._backends.proxied_node(name)
        if resource == "pods":
            return await self._backends.proxied_pod(namespace, name)
        return await self._backends.proxied_service(namespace, name)

    async def _html(self, asked: Asked, answered: Answered, links: "Links") -> Sent:
        encoded = answered.head.get("content-encoding")
        if encoded or asked.request.method == "HEAD":
            return await self._relay.pass_through(asked.request, answered, rewrite=links.header)
        page = await self._rewritten(answered, links)
        dropped = ("content-length", "transfer-encoding", "connection", "keep-alive")
        headers = [
            (name, links.header(name.lower(), value))
            for name, value in answered.head.headers
            if name.lower() not in dropped
        ]
        return await send(asked.request, answered.head.status, headers, page)

    async def _rewritten(self, answered: Answered, links: "Links") -> bytes:
        """Read a page and rewrite its links. Raises ServiceUnavailable if it is too long, late or truncated."""
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BACKEND_PAGE_SECONDS.value):
                async for part in body_parts(answered):
                    size += len(part)
                    self._pages_bytes += len(part)
                    for limit, held in (
                        (PROXIED_PAGE, size),
                        (PROXIED_PAGES, self._pages_bytes),
                    ):
                        if held > limit.value:
                            limit.reached()
                            raise ServiceUnavailable(
                                "the proxied page is too large to be rewritten"
                            )
                    parts.append(part)
            page = b"".join(parts)
            if size > INLINE_BYTES_MAX:
                return await asyncio.to_thread(rewrite_links, page, links.rewrite)
            return rewrite_links(page, links.rewrite)
        except TimeoutError as error:
            raise ServiceUnavailable("error trying to reach service: the page is late") from error
        finally:
            self._pages_bytes -= size
            close(answered)


class Links:
    """Rewrites links of a backend's pages so that they lead through the proxy again."""

    def __init__(self, request: web.BaseRequest, backend: Backend, prefix: str) -> None:
        self._scheme = "https" if request.secure else "http"
        self._host = request.headers.get("Host", "")
        self._own = {self._host, backend.authority, backend.host}
        self._prefix = prefix.rstrip("/")

    def headers(self, rest: str) -> list[tuple[str, str]]:
        """Return the X-Forwarded headers, which tell the backend its external address."""
        return [
            ("X-Forwarded-Uri", self._prefix + rest),
            ("X-Forwarded-Host", self._host),
            ("X-Forwarded-Proto", self._scheme),
        ]

    def header(self, name: str, value: str) -> str:
        """Return the value of an answer's header for the client, Location rewritten; `name` is lower case."""
        return self.rewrite(value) if name == "location" else value

    def rewrite(self, link: str) -> str:
        """Return a link that leads through the proxy: a path, since only the client knows the address it uses.

        A link that names the address of this request keeps it. Links to other hosts and relative links are unchanged.
        """
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        if not parts.path.startswith("/") or (parts.netloc and parts.netloc not in self._own):
            return link
        path = parts.path
        if not path.startswith(self._prefix + "/"):
            path = self._prefix + path
        address = (parts.scheme, parts.netloc) if parts.netloc == self._host else ("", "")
        return urlunsplit((*address, path, parts.query, parts.fragment))
