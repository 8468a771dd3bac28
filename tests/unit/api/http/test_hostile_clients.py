"""What clients, nodes and browsers have tried elsewhere; docs/security.md names each with its CVE."""

import asyncio
import logging
import ssl
from pathlib import Path

import pytest
from fakes.server import Server
from fakes.serving import parts_of, serving

from unit.api.http.test_proxies import PODS, asking, echo, proxied
from unit.api.http.test_tls import client_context, context, folder  # noqa: F401 - fixtures

UPGRADE = ("Connection: Upgrade", "Upgrade: SPDY/3.1")
EXEC = f"{PODS}/web/exec?command=a&stdout=true"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "200 OK"])
async def test_a_node_cannot_send_a_stream_elsewhere(status: str) -> None:
    """Whatever a node answers instead of switching protocols, nobody else is asked and the client gets no address."""
    elsewhere: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        elsewhere.append(await reader.read(100))
        writer.close()

    target = await asyncio.start_server(other, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{target.sockets[0].getsockname()[1]}/"
    serve, seen = echo(f"HTTP/1.1 {status}", f"Location: {address}", "Content-Length: 0")
    async with target, proxied(serve) as (reader, writer, _):
        writer.write(asking(EXEC, *UPGRADE, method="POST"))
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500 ")
    assert b"location" not in head.lower()
    assert len(seen) == 1
    assert not elsewhere


async def test_a_refused_upgrade_leaves_no_pipe_to_the_node() -> None:
    """What a client sends behind an upgrade that the node refused must not reach the node with the server's rights."""
    arrived: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        writer.write_eof()
        arrived.append(await reader.read())

    async with proxied(serve) as (reader, writer, _):
        writer.write(asking(EXEC, *UPGRADE, method="POST") + asking("/pods"))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 403 ")
    assert arrived == [b""]


async def test_http_2_is_not_spoken(folder: Path, context: ssl.SSLContext) -> None:  # noqa: F811 - fixtures
    """Neither offered in the handshake nor by prior knowledge: its floods of frames have nothing to flood."""
    async with serving(parts_of(Server().verbs), ssl_context=context) as (_, port):
        client = client_context(folder)
        client.set_alpn_protocols(["h2", "http/1.1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2"
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        answer = await reader.read()
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        writer.close()


async def test_the_certificate_is_not_made_of_what_a_client_asks_for(
    folder: Path,  # noqa: F811 - a fixture
    context: ssl.SSLContext,  # noqa: F811 - a fixture
) -> None:
    async with serving(parts_of(Server().verbs), ssl_context=context) as (_, port):
        shown = set()
        for name in ("127.0.0.1", "a.example", "b.example"):
            client = client_context(folder)
            client.check_hostname = False
            _, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=client, server_hostname=name
            )
            shown.add(writer.get_extra_info("ssl_object").getpeercert(True))
            writer.close()
    assert len(shown) == 1


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_no_origin_is_let_in(method: str) -> None:
    """A page of another origin may neither read answers nor ask whether it may."""
    async with serving(parts_of(Server().verbs)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            asking(
                "/api/v1/namespaces/default/secrets",
                "Origin: http://evil.example",
                "Access-Control-Request-Method: GET",
                "Connection: close",
                method=method,
            )
        )
        answer = await reader.read()
        writer.close()
    assert b"access-control" not in answer.lower()


@pytest.mark.parametrize(
    "path", ["/debug/pprof/", "/debug/flags/v", "/metrics/../debug/pprof", "/logs/"]
)
async def test_nothing_tells_of_the_process_but_its_metrics(path: str) -> None:
    async with serving(parts_of(Server().verbs)) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking(path, "Connection: close"))
        answer = await reader.read()
        writer.close()
    assert answer.split()[1] in (b"400", b"404")


async def test_no_log_line_repeats_a_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "topsecrettoken"
    async with serving(parts_of(Server().verbs)) as (_, port):
        for head in (
            asking("/api/v1/pods", f"Authorization: Bearer {secret}", "Connection: close"),
            asking("/api/v1/pods", f"Authorization: Basic {secret}", "Connection: close"),
            asking(
                "/api/v1/pods",
                "Authorization: Bearer bad",
                f"Cookie: {secret}",
                "Connection: close",
            ),
            asking(
                "/api/v1/pods", f"Authorization: Bearer {secret}", "Connection: close", method="PUT"
            ),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            assert secret.encode() not in await reader.read()
            writer.close()
    assert all(
        secret not in f"{record.getMessage()} {record.__dict__}" for record in caplog.records
    )
