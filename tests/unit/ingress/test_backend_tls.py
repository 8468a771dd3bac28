"""TLS to endpoints: whom the proxy trusts, and what happens to those whom it does not."""

import asyncio
import ssl
from datetime import UTC, datetime

import pytest

from kubelite.api.auth.self_signed import self_signed
from kubelite.ingress.certificates import server_context
from kubelite.ingress.endpoints import HTTP_1, HTTP_2, BackendTLS, Speech
from unit.ingress.bed import KEY, Bed, bed, saying, sized
from unit.ingress.test_http2_upstream import Endpoint, hello

GET = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
PEM = self_signed("web.test", datetime.now(UTC))
CHAIN = PEM.partition(b"-----BEGIN PRIVATE")[0]
OTHER = self_signed("web.test", datetime.now(UTC)).partition(b"-----BEGIN PRIVATE")[0]


async def secured(one: Bed, handler: object, protocol: str = "http/1.1") -> str:
    context = server_context(PEM)
    context.set_alpn_protocols([protocol])
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)  # type: ignore[arg-type]  # a handler
    one.servers.append(server)
    return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize(
    ("tls", "status"),
    [
        (BackendTLS("web.test", CHAIN), b"200"),
        (BackendTLS("else.test", CHAIN), b"502"),
        (BackendTLS("web.test", OTHER), b"502"),
        (BackendTLS("web.test"), b"502"),  # the system's authorities do not know it
        (BackendTLS("web.test", b"nonsense"), b"502"),
        (BackendTLS("else.test", CHAIN, ("web.test",)), b"200"),
        (BackendTLS("web.test", CHAIN, ("else.test", "spiffe://x/y")), b"502"),
        (BackendTLS("else.test", is_verified=False), b"200"),
    ],
)
async def test_requests_reach_only_endpoints_that_are_trusted(
    tls: BackendTLS, status: bytes
) -> None:
    async with bed() as one:
        heads: list[bytes] = []
        address = await secured(one, saying(sized(b"ok"), heads))
        one.proxy.use_endpoints({KEY: (address,)}, {KEY: Speech(HTTP_1, tls)})
        assert (await one.ask(GET)).split()[1] == status
        assert len(heads) == (1 if status == b"200" else 0)


async def test_a_changed_policy_holds_for_the_next_request() -> None:
    async with bed() as one:
        address = await secured(one, saying(sized(b"ok")))
        for tls, status in (
            (BackendTLS("web.test", CHAIN), b"200"),
            (BackendTLS("web.test", OTHER), b"502"),
        ):
            one.proxy.use_endpoints({KEY: (address,)}, {KEY: Speech(HTTP_1, tls)})
            assert (await one.ask(GET)).split()[1] == status


async def test_http_2_over_tls() -> None:
    async with bed() as one:
        endpoint = Endpoint(hello)
        address = await secured(one, endpoint, "h2")
        tls = BackendTLS("web.test", CHAIN)
        one.proxy.use_endpoints({KEY: (address,)}, {KEY: Speech(HTTP_2, tls)})
        assert b"hello" in await one.ask(GET)
        (server,) = endpoint.connections
        assert server.fields[1][":scheme"] == "https"
        assert isinstance(server.writer.get_extra_info("ssl_object"), ssl.SSLObject)
        one.proxy.use_endpoints({KEY: (address,)}, {KEY: Speech(HTTP_2, BackendTLS("web.test"))})
        assert (await one.ask(GET)).split()[1] == b"502"
