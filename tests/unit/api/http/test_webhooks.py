"""Calls of webhooks, against a server of TLS on loopback."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.pki import SERVING, Pki
from kubelite.api.auth.tls import server_context
from kubelite.api.http.webhooks import Webhooks
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.model import Kind
from kubelite.api.registry.hooks import ReviewFailed
from kubelite.clock import SetClock
from kubelite.limits import WEBHOOK_ANSWER, WEBHOOK_AUTHORITIES
from kubelite.randomness import SeededRandomness


class Hook:
    """A webhook that answers what its path asks for, and counts its connections."""

    def __init__(self, folder: Path) -> None:
        pki = Pki.ensure(
            folder,
            clock=SetClock(datetime.now(UTC)),
            randomness=SeededRandomness(1),
            names=["localhost", "hook.shop.svc"],
            addresses=["127.0.0.1"],
            node_name="one",
        )
        self._context: ssl.SSLContext = server_context(pki.path(SERVING), pki.ca_pem)
        self.bundle = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
        self.connections: set[Any] = set()
        self.port = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.connections.add(request.transport)
        match request.path:
            case "/echo":
                return web.Response(body=await request.read())
            case "/query":
                return web.Response(text=request.query_string)
            case "/large":
                return web.Response(body=b"x" * (WEBHOOK_ANSWER.value + 1))
            case "/slow":
                await asyncio.sleep(60)
                return web.Response()
            case "/elsewhere":
                return web.Response(status=307, headers={"Location": "/echo"})
            case _:
                return web.Response(status=500)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[None]:
        runner = web.ServerRunner(web.Server(self.answer), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    def at(self, path: str) -> dict[str, str]:
        """Return the client configuration of a path."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}


@asynccontextmanager
async def calling(*objects: Kind) -> AsyncIterator[Webhooks]:
    webhooks = Webhooks(FixedLookup(objects), SeededRandomness(1))
    try:
        yield webhooks
    finally:
        await webhooks.close()


async def test_calls_share_a_connection(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    async with hook.served(), calling() as webhooks:
        for body in (b"a", b"b" * 1_000_000):
            assert await webhooks.post(hook.at("/echo"), body, 30) == body
        assert await webhooks.post(hook.at("/query"), b"", 2.5) == b"timeout=2.5s"
        assert len(hook.connections) == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/broken", 'an error on the server ("unknown") has prevented the request'),
        ("/elsewhere", "the server responded with the status code 307"),
        ("/slow", "context deadline exceeded"),
        ("/large", "the answer has more than"),
    ],
)
async def test_what_a_webhook_may_do_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    monkeypatch.setattr(WEBHOOK_ANSWER, "value", 1000)
    hook = Hook(tmp_path)
    async with hook.served(), calling() as webhooks:
        with pytest.raises(ReviewFailed) as failed:
            await webhooks.post(hook.at(path), b"{}", 0.2)
        assert reason in str(failed.value)
        assert await webhooks.post(hook.at("/echo"), b"{}", 30) == b"{}"


async def test_a_webhook_that_hangs_leaves_the_others_their_connections(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    async with hook.served(), calling() as webhooks:
        hanging = [
            asyncio.ensure_future(webhooks.post(hook.at("/slow"), b"{}", 30)) for _ in range(120)
        ]
        while len(hook.connections) < 100:
            await asyncio.sleep(0)
        assert await webhooks.post(hook.at("/echo"), b"{}", 30) == b"{}"
        for each in hanging:
            each.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


async def test_nobody_else_is_taken_for_the_webhook(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    async with hook.served(), calling() as webhooks:
        for config, reason in (
            ({"url": hook.at("/echo")["url"]}, "certificate verify failed"),
            ({**hook.at("/echo"), "caBundle": "bm9uZQ=="}, "unable to load root certificates"),
            ({**hook.at("/echo"), "caBundle": "%"}, "unable to load root certificates"),
            ({"url": "http://127.0.0.1:1/"}, "no https URL"),
        ):
            with pytest.raises(ReviewFailed, match=reason):
                await webhooks.post(config, b"{}", 30)
        other = {**hook.at("/echo"), "url": f"https://localhost.localdomain:{hook.port}/echo"}
        with pytest.raises(ReviewFailed, match="dial tcp"):
            await webhooks.post(other, b"{}", 30)


async def test_a_port_where_nobody_listens() -> None:
    async with calling() as webhooks:
        with pytest.raises(ReviewFailed) as failed:
            await webhooks.post({"url": "https://127.0.0.1:1/convert"}, b"{}", 30)
    assert str(failed.value) == (
        'Post "https://127.0.0.1:1/convert?timeout=30s": '
        "dial tcp 127.0.0.1:1: connect: connection refused"
    )


def service_of(port: int, **condition: Any) -> tuple[Kind, Kind]:
    """Return a service and its endpoints."""
    metadata = {"name": "hook", "namespace": "shop"}
    service = {"metadata": metadata, "spec": {"ports": [{"name": "tls", "port": 443}]}}
    slice_ = {
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "other", "port": 1}, {"name": "tls", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": condition}],
    }
    return msgspec.convert(service, Service), msgspec.convert(slice_, EndpointSlice)


async def test_a_service_is_resolved_to_its_endpoints(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    reference = {"name": "hook", "namespace": "shop", "path": "/echo"}
    config = {"service": reference, "caBundle": hook.bundle}
    async with hook.served():
        async with calling(*service_of(hook.port)) as webhooks:
            assert await webhooks.post(config, b"{}", 30) == b"{}"
            with pytest.raises(ReviewFailed, match='no service port 8443 found for service "hook"'):
                await webhooks.post({"service": {**reference, "port": 8443}}, b"{}", 30)
        async with calling(*service_of(hook.port, ready=False)) as webhooks:
            with pytest.raises(ReviewFailed) as failed:
                await webhooks.post(config, b"{}", 30)
            assert str(failed.value) == (
                'Post "https://hook.shop.svc:443/echo?timeout=30s": '
                'no endpoints available for service "hook"'
            )
        async with calling() as webhooks:
            with pytest.raises(ReviewFailed, match='service "hook" not found'):
                await webhooks.post(config, b"{}", 30)


async def test_parsed_authorities_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WEBHOOK_AUTHORITIES, "value", 2)
    hook = Hook(tmp_path)
    async with hook.served(), calling() as webhooks:
        for spaces in range(3):
            pem = base64.b64decode(hook.bundle) + b"\n" * spaces
            config = {**hook.at("/echo"), "caBundle": base64.b64encode(pem).decode()}
            assert await webhooks.post(config, b"{}", 30) == b"{}"
        assert len(webhooks._contexts) == 1
