"""An API server behind another one: TLS on loopback, and the objects that delegate group versions to it."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct

from fakes.serving import AllowEverything, parts_of, serving
from kubelite.api.auth.caller import Authenticator
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.pki import FRONT_PROXY_CLIENT, SERVING, Pki
from kubelite.api.auth.tls import server_context
from kubelite.api.http.aggregation.aggregation import Aggregation
from kubelite.api.http.delegation import Delegation, ShownCertificate
from kubelite.api.http.destinations import Destinations
from kubelite.api.http.dialer import TCPDialer
from kubelite.api.http.dispatch import Flow
from kubelite.api.kinds.apiregistration import APIService
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.verbs import Verbs
from kubelite.clock import SetClock
from kubelite.offload import AtOnce
from kubelite.randomness import SeededRandomness

NAMES = ["localhost", "agg.shop.svc"]
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class LoopbackToo(Destinations):
    """Allows loopback addresses, where the tests' servers are."""

    def check(self, addresses: Any, port: int, node: str = "") -> None:
        pass


class Asked(Struct):
    """A request as the other server saw it."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    shown: str  # the common name of the client's certificate, "" without one

    def all(self, name: str) -> list[str]:
        """Return a header's values."""
        return [value for each, value in self.headers if each.lower() == name.lower()]


class OtherServer:
    """Answers with `answer`, and records requests and connections; `serve` speaks without HTTP instead."""

    def __init__(self, folder: Path, names: Sequence[str] = NAMES) -> None:
        self.pki = Pki.ensure(
            folder,
            clock=SetClock(datetime.now(UTC)),
            randomness=SeededRandomness(1),
            names=names,
            addresses=["127.0.0.1"],
            node_name="one",
        )
        self.bundle = base64.b64encode(self.pki.ca_pem).decode()
        self._context = server_context(self.pki.path(SERVING), self.pki.front_proxy_ca_pem)
        self.port = 0
        self.asked: list[Asked] = []  # by clients
        self.read: list[Asked] = []  # by the aggregator for itself
        self.connections: set[Any] = set()
        self.pages: dict[str, Any] = {}  # by path: a JSON value
        self.answer: Answer = self.page
        self.serve: Serve | None = None

    async def page(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer with the page of a path, else 404."""
        if request.path not in self.pages:
            return web.Response(status=404, text="404 page not found")
        page = self.pages[request.path]
        if isinstance(page, web.Response):
            return page.__class__(body=page.body, status=page.status, headers={**page.headers})
        return web.json_response(body=msgspec.json.encode(page))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        certificate = transport.get_extra_info("peercert") or {}
        names = dict(name for part in certificate.get("subject", ()) for name in part)
        if request.headers.get("User-Agent") != "kube-aggregator":
            self.connections.add(transport)
        headers = [(name, value) for name, value in request.headers.items()]
        asked = Asked(request.method, request.path_qs, headers, names.get("commonName", ""))
        is_own = asked.all("User-Agent") == ["kube-aggregator"]
        (self.read if is_own else self.asked).append(asked)
        return await self.answer(request)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        """Listen while the context lasts."""
        if self.serve is not None:
            server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self._context)
            self.port = server.sockets[0].getsockname()[1]
            async with server:
                yield
            return
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._context).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()


def api_service(
    group: str = "things.example.com",
    version: str = "v1",
    *,
    is_available: bool = True,
    service: dict[str, Any] | None = None,
    **spec: Any,
) -> APIService:
    """Return an APIService that delegates a group version to the Service shop/agg."""
    whole = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 1000,
        "versionPriority": 15,
        "service": service or {"namespace": "shop", "name": "agg", "port": 443},
        **spec,
    }
    condition = {"type": "Available", "status": "True" if is_available else "False"}
    value = {
        "metadata": {"name": f"{version}.{group}"},
        "spec": whole,
        "status": {"conditions": [condition]},
    }
    return msgspec.convert(value, APIService)


def endpoints(
    port: int, address: str = "127.0.0.1", slice_name: str = "agg"
) -> tuple[Service, EndpointSlice]:
    """Return the Service shop/agg and its endpoint."""
    metadata = {"name": "agg", "namespace": "shop"}
    service = {"metadata": metadata, "spec": {"ports": [{"name": "tls", "port": 443}]}}
    slice_ = {
        "metadata": {
            "name": slice_name,
            "namespace": "shop",
            "labels": {"kubernetes.io/service-name": "agg"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "tls", "port": port}],
        "endpoints": [{"addresses": [address]}],
    }
    return msgspec.convert(service, Service), msgspec.convert(slice_, EndpointSlice)


class Registered(Verbs):
    """Serves the built-in kinds in name only."""

    def __init__(self) -> None:
        self.resources = builtin_table()
        self.offload = AtOnce()


class Aggregator:
    """The API server in front."""

    def __init__(self, lookup: FixedLookup, delegation: Delegation, port: int) -> None:
        self.lookup = lookup
        self.delegation = delegation
        self.port = port
        self.session: aiohttp.ClientSession = aiohttp.ClientSession(f"http://127.0.0.1:{port}")

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        async with self.session.get(path, headers=headers, allow_redirects=False) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def aggregating(
    other: OtherServer,
    *registered: APIService,
    authenticator: Authenticator | None = None,
    authorizer: AllowEverything | None = None,
    flow: Flow | None = None,
    destinations: Destinations | None = None,
    address: str = "127.0.0.1",
) -> AsyncIterator[Aggregator]:
    """Run an API server that delegates group versions to `other`, which must listen; without any: one."""
    lookup = FixedLookup([*endpoints(other.port, address)])
    for each in registered or (api_service(caBundle=other.bundle),):
        lookup.put(each)
    delegation = Delegation(lookup)
    shown = ShownCertificate(1, other.pki.path(FRONT_PROXY_CLIENT))
    delegation.follow(
        lambda: Aggregation(
            delegation,
            dialer=TCPDialer(destinations or LoopbackToo()),
            randomness=SeededRandomness(1),
            offload=AtOnce(),
            front_proxy=lambda: shown,
        )
    )
    parts = parts_of(
        Registered(),
        authenticator=authenticator,
        authorizer=authorizer,
        flow=flow,
        delegation=delegation,
    )
    try:
        async with serving(parts) as (_, port):
            aggregator = Aggregator(lookup, delegation, port)
            async with aggregator.session:
                yield aggregator
    finally:
        await delegation.close()


def external(host: str) -> Service:
    """Return the Service shop/agg as the name of another host."""
    spec = {"type": "ExternalName", "externalName": host}
    return msgspec.convert(
        {"metadata": {"name": "agg", "namespace": "shop"}, "spec": spec}, Service
    )
