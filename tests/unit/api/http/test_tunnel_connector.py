"""Webhooks on nodes that only a tunnel reaches."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.http.tunnel_connector import ADDRESSES_MAX, TunnelConnector
from kubelite.api.http.tunnels import Tunnels
from kubelite.api.http.webhooks import Webhooks
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.registry.hooks import ReviewFailed
from kubelite.randomness import SeededRandomness
from unit.api.http.test_webhooks import Hook, service_of

POD = "10.42.1.2"  # leads nowhere from here


class Through(Tunnels):
    """A tunnel of node one, which leads every address to a port of this host."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.opened: list[tuple[str, str, int]] = []

    def has(self, node: str) -> bool:
        return node == "one"

    async def connect(self, node: str, host: str, port: int) -> socket.socket:
        self.opened.append((node, host, port))
        if not self.port:
            raise ServiceUnavailable(
                "dial through the tunnel of node one: connect: connection refused"
            )
        reached = socket.create_connection(("127.0.0.1", self.port))
        reached.setblocking(False)
        return reached


@asynccontextmanager
async def calling(port: int, tunnels: Tunnels, node: str = "one") -> AsyncIterator[Webhooks]:
    service, slice_ = service_of(port)
    assert isinstance(slice_, EndpointSlice)
    endpoints = [
        msgspec.structs.replace(one, addresses=[POD], nodeName=node) for one in slice_.endpoints
    ]
    lookup = FixedLookup((service, msgspec.structs.replace(slice_, endpoints=endpoints)))
    webhooks = Webhooks(lookup, SeededRandomness(1), tunnels)
    try:
        yield webhooks
    finally:
        await webhooks.close()


def config(hook: Hook, path: str = "/echo") -> dict[str, object]:
    reference = {"name": "hook", "namespace": "shop", "path": path}
    return {"service": reference, "caBundle": hook.bundle}


async def test_a_webhook_is_called_through_the_tunnel_and_its_connection_kept(
    tmp_path: Path,
) -> None:
    hook = Hook(tmp_path)
    async with hook.served():
        tunnels = Through(hook.port)
        async with calling(hook.port, tunnels) as webhooks:
            for body in (b"{}", b"x" * 1_000_000):
                assert await webhooks.post(config(hook), body, 30) == body
            assert tunnels.opened == [("one", POD, hook.port)]
            assert await webhooks.post(hook.at("/echo"), b"by URL", 30) == b"by URL"
            assert len(tunnels.opened) == 1


async def test_the_certificate_is_verified_inside_the_tunnel(tmp_path: Path) -> None:
    hook, other = Hook(tmp_path / "a"), Hook(tmp_path / "b")
    async with hook.served(), calling(hook.port, Through(hook.port)) as webhooks:
        with pytest.raises(ReviewFailed, match="tls: failed to verify certificate: x509"):
            await webhooks.post(config(other), b"{}", 30)


async def test_why_a_tunnel_does_not_reach_it_is_said(tmp_path: Path) -> None:
    hook = Hook(tmp_path)
    async with calling(8443, Through(0)) as webhooks:
        with pytest.raises(ReviewFailed) as failed:
            await webhooks.post(config(hook), b"{}", 30)
    assert str(failed.value) == (
        'Post "https://hook.shop.svc:443/echo?timeout=30s": dial tcp 10.42.1.2:8443: '
        "dial through the tunnel of node one: connect: connection refused"
    )


async def test_the_nodes_of_addresses_are_not_remembered_without_bound() -> None:
    connector = TunnelConnector(Tunnels(), keepalive_timeout=1)
    for number in range(3 * ADDRESSES_MAX):
        connector.locate(POD, number, "one")
    assert len(connector._nodes) <= ADDRESSES_MAX
    await connector.close()
