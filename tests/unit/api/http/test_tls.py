"""TLS: who is let through the handshake, and half-open connections."""

import asyncio
import gc
import ssl
import subprocess
from pathlib import Path

import pytest
import uvloop
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.auth.caller import Caller, Credentials
from kubelite.api.errors import Unauthorized
from kubelite.api.http.client_certificates import accept_any_client_certificate
from kubelite.api.http.watch import Outlet
from kubelite.limits import HANDSHAKES


def certificate(folder: Path, name: str) -> Path:
    """Make a self-signed certificate and its key in one file."""
    pair = folder / f"{name}.pem"
    key, crt = folder / f"{name}.key", folder / f"{name}.crt"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", str(key)),
            *("-out", str(crt), "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    pair.write_bytes(key.read_bytes() + crt.read_bytes())
    return pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    certificate(made, "server")
    certificate(made, "foreign")
    return made


@pytest.fixture
def context(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem")
    made.load_verify_locations(folder / "server.crt")
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


def client_context(folder: Path, pair: str = "") -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(folder / "server.crt")
    if pair:
        made.load_cert_chain(folder / f"{pair}.pem")
    return made


class CertificateOnly:
    """Knows one certificate."""

    def __init__(self, known: bytes) -> None:
        self.known = known

    async def authenticate(self, credentials: Credentials) -> Caller:
        if credentials.certificate != self.known:
            raise Unauthorized("Unauthorized")
        return Caller("server")


async def status(port: int, tls: ssl.SSLContext) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
    line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_a_foreign_certificate_is_unauthorized_not_cut_off(
    folder: Path, context: ssl.SSLContext
) -> None:
    known = ssl.PEM_cert_to_DER_cert((folder / "server.crt").read_text())
    parts = parts_of(Server().verbs, authenticator=CertificateOnly(known))
    async with serving(parts, ssl_context=context) as (server, port):
        assert await status(port, client_context(folder, "server")) == 200
        assert await status(port, client_context(folder, "foreign")) == 401
        assert await status(port, client_context(folder)) == 401
        renewed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        renewed.load_cert_chain(folder / "foreign.pem")
        server.ssl_context = renewed
        with pytest.raises(ssl.SSLCertVerificationError):
            await status(port, client_context(folder))


def test_a_context_that_asks_for_nothing_stays_so() -> None:
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert not accept_any_client_certificate(plain)


async def test_half_open_connections_keep_nobody_out(
    folder: Path, context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HANDSHAKES, "value", 5)
    parts = parts_of(Server().verbs)
    async with serving(parts, ssl_context=context) as (_, port):
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        assert await status(port, client_context(folder)) == 200
        ended = 0
        for reader, _ in idle[:10]:
            assert await reader.read() == b""
            ended += 1
        assert ended == 10
        for _, writer in idle:
            writer.close()


def test_watchers_that_do_not_read_and_are_lost_leave_nothing(
    folder: Path, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        cluster = Server()
        for number in range(50):
            body = {"metadata": {"name": f"c{number}"}, "data": {"a": "x" * 300_000}}
            await cluster.create("v1/configmaps", body)
        async with serving(parts_of(cluster.verbs), ssl_context=context) as (server, port):
            opened = [
                await asyncio.open_connection(
                    "127.0.0.1", port, ssl=client_context(folder), limit=4096
                )
                for _ in range(3)
            ]
            for _, writer in opened:
                path = b"/api/v1/namespaces/default/configmaps?watch=true"
                writer.write(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            dispatcher = server._dispatcher
            while len(dispatcher._unsent._charges) < len(opened):
                await asyncio.sleep(0.001)
            for _, writer in opened:
                writer.transport.abort()
            while server.watch_count or dispatcher._unsent.budget.held:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)

    gc.collect()
    gc.disable()
    try:
        uvloop.run(run())
        left = [one for one in gc.get_objects() if isinstance(one, Outlet)]
    finally:
        gc.enable()
    assert not left
    assert not caplog.messages
