"""A server proves itself before it is told anything."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.join_server import JoinServer, authority, hash_of, pem_of, serving

from kubelite.api.auth.certificates import Authority, cross_signed
from kubelite.joining.refusal import JoinFailed
from kubelite.joining.verify import first_bundle, known_bundle
from kubelite.limits import JOIN_ANSWER
from kubelite.randomness import SeededRandomness

ONLY = b"GET /cacerts HTTP/1.0\r\nHost: 127.0.0.1:%d\r\nUser-Agent: kubelite\r\n\r\n"


def _now() -> datetime:
    return datetime.now(UTC)


async def _refused(server: JoinServer, ca_hash: str | None, **more: bytes) -> JoinFailed:
    async with serving(server):
        with pytest.raises(JoinFailed) as caught:
            await first_bundle(server.url, _now(), ca_hash=ca_hash, **more)
    # Whatever it is, it has learnt nothing but the question for its certificates.
    assert set(server.received) <= {ONLY % server.port}
    return caught.value


async def test_a_server_of_the_cluster_is_asked_twice_and_the_second_time_it_has_to_prove_itself(
    tmp_path: Path,
) -> None:
    ca, former = authority(), authority("former")
    async with serving(JoinServer(tmp_path, ca, pem_of(ca, former))) as server:
        bundle = await first_bundle(server.url, _now(), ca_hash=hash_of(ca))
        assert bundle == pem_of(ca, former)
        assert server.received == [ONLY % server.port] * 2


async def test_a_false_server_with_another_ca(tmp_path: Path) -> None:
    real, false = authority(), authority("false")
    error = await _refused(JoinServer(tmp_path, false, pem_of(false)), hash_of(real))
    assert "none of its CA certificates has the hash that the token names" in str(error)
    assert hash_of(real)[:12] in str(error)
    assert not error.may_pass


async def test_a_false_server_that_shows_the_ca_of_the_real_one(tmp_path: Path) -> None:
    real, false = authority(), authority()  # of the same name
    error = await _refused(JoinServer(tmp_path, false, pem_of(real)), hash_of(real))
    assert "its certificate is not signed by the cluster's CA" in str(error)
    assert "nothing secret was sent" in str(error)
    assert not error.may_pass


async def test_a_token_from_before_the_ca_was_replaced(tmp_path: Path) -> None:
    old, new = authority("old"), authority("new")
    bridge = cross_signed(new, old, _now(), SeededRandomness(3))
    bridged = Authority(new.key, new.certificate, (bridge,))
    async with serving(JoinServer(tmp_path, bridged, pem_of(new, old))) as server:
        for pinned in (old, new):
            bundle = await first_bundle(server.url, _now(), ca_hash=hash_of(pinned))
            assert bundle == pem_of(new, old)
        assert await known_bundle(server.url, _now(), pem_of(old)) == pem_of(new, old)


async def test_a_ca_file_takes_the_place_of_the_hash_and_must_not_contradict_it(
    tmp_path: Path,
) -> None:
    ca, other = authority(), authority("other")
    async with serving(JoinServer(tmp_path, ca, pem_of(ca))) as server:
        assert await first_bundle(server.url, _now(), ca_hash=None, ca_pem=pem_of(ca)) == pem_of(ca)
    error = await _refused(JoinServer(tmp_path, ca, pem_of(ca)), hash_of(ca), ca_pem=pem_of(other))
    assert str(error).startswith("cannot use --ca-file: none of its certificates has the hash")
    error = await _refused(JoinServer(tmp_path, ca, pem_of(ca)), None, ca_pem=b"nothing")
    assert str(error).startswith("cannot use the CA certificates for")


@pytest.mark.parametrize(
    ("shift", "lifetime", "served", "end"),
    [
        (timedelta(days=30), 1, timedelta(days=30), "set the clock"),
        (timedelta(days=-30), 1, timedelta(days=-30), "set the clock"),
        (timedelta(days=-30), 1, timedelta(), "renew the server's certificates"),
    ],
)
async def test_clocks_that_differ(
    tmp_path: Path, shift: timedelta, lifetime: int, served: timedelta, end: str
) -> None:
    ca = authority(now=_now() - timedelta(days=60))
    server = JoinServer(
        tmp_path, ca, pem_of(ca), now=_now() + shift, lifetime=timedelta(days=lifetime)
    )
    server.clock = _now() + served
    error = await _refused(server, hash_of(ca))
    begins = _now() + shift - timedelta(minutes=5)
    assert f"its certificate is valid from {begins:%Y-%m-%d}" in str(error)
    assert f"the clock of this machine says {_now():%Y-%m-%d}" in str(error)
    assert (f"the server's {server.clock:%Y-%m-%d}" in str(error)) is bool(served)
    assert str(error).endswith(end)


async def test_a_server_by_a_name_that_its_certificate_does_not_have(tmp_path: Path) -> None:
    ca = authority()
    server = JoinServer(tmp_path, ca, pem_of(ca), names=["a.example"], addresses=["192.0.2.1"])
    error = await _refused(server, hash_of(ca))
    assert "its certificate is for 192.0.2.1, a.example; join it by one of these" in str(error)
    assert "--tls-san" in str(error)


@pytest.mark.parametrize(
    ("answer", "reason", "may_pass"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            "it answers 404 to /cacerts, so it is no server",
            False,
        ),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "yet: it answers 503", True),
        (b"HTTP/1.1 429 Busy\r\n\r\n", "yet: it answers 429", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "its answer broke off", True),
        (b"", "it closed the connection", True),
        (b"220 mail\r\n", "it does not speak HTTP", False),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (JOIN_ANSWER.value + 1), "does not end", False),
        (
            b"HTTP/1.1 200 OK\r\n\r\n-----BEGIN CERTIFICATE-----\xff-----END CERTIFICATE-----",
            "none of its CA certificates",
            False,
        ),
    ],
)
async def test_answers_that_are_no_certificates(
    tmp_path: Path, answer: bytes, reason: str, may_pass: bool
) -> None:
    ca = authority()
    server = JoinServer(tmp_path, ca, pem_of(ca))
    server.answer = answer
    error = await _refused(server, hash_of(ca))
    assert reason in str(error)
    assert "\n" not in str(error)
    assert error.may_pass is may_pass


async def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(
        JoinFailed, match=f"^cannot reach https://127.0.0.1:{port}: Connection ref"
    ) as caught:
        await first_bundle(f"https://127.0.0.1:{port}", _now(), ca_hash="0" * 64)
    assert caught.value.may_pass


@pytest.mark.parametrize(
    ("number", "text", "may_pass"),
    [
        (socket.EAI_NONAME, "Name or service not known", False),
        (socket.EAI_AGAIN, "Temporary", True),
    ],
)
async def test_a_name_that_cannot_be_resolved(
    monkeypatch: pytest.MonkeyPatch, number: int, text: str, may_pass: bool
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(number, text)

    monkeypatch.setattr(asyncio, "open_connection", fail)
    with pytest.raises(
        JoinFailed, match=f"^cannot find https://nowhere:6443: {text}; see --join"
    ) as caught:
        await first_bundle("https://nowhere:6443", _now(), ca_hash="0" * 64)
    assert caught.value.may_pass is may_pass


async def test_a_server_without_tls() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with listener:
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(JoinFailed, match="it does not speak TLS as an API server") as caught:
            await first_bundle(url, _now(), ca_hash="0" * 64)
    assert not caught.value.may_pass
