"""Clients of HTTP/2: requests, bodies both ways, flow control, and what ends a connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from kubelite.api.auth.self_signed import self_signed
from kubelite.grpc import frames
from kubelite.grpc.frames import ErrorCode, pack_frame, pack_number, pack_settings
from kubelite.grpc.hpack import encode_headers
from kubelite.ingress.certificates import server_context
from kubelite.ingress.http2 import STREAM_WINDOW_BYTES
from kubelite.ingress.routes import Backend, Redirect, Route
from kubelite.limits import (
    INGRESS_CONTROL_FRAMES,
    INGRESS_HTTP2_HELD,
    INGRESS_REQUEST_HEAD,
    INGRESS_RESETS,
    INGRESS_STREAMS,
)
from unit.ingress.bed import KEY, Bed, bed, head_of, saying, sized
from unit.ingress.http2_peer import Peer, fields_for

POST = fields_for("/p", "POST")


@asynccontextmanager
async def client(one: Bed, settings: dict[int, int] | None = None) -> AsyncIterator[Peer]:
    peer = Peer(*await one.open())
    peer.greet(settings)
    try:
        yield peer
    finally:
        peer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its body, in chunks with a trailer."""
    while True:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while size := int((await reader.readline()).strip(), 16):
            content = await reader.readexactly(size + 2)
            writer.write(b"%x\r\n%b" % (size, content))
            await writer.drain()
        await head_of_trailers(reader)
        writer.write(b"0\r\nX-Sum: 1\r\n\r\n")


async def head_of_trailers(reader: asyncio.StreamReader) -> None:
    while (await reader.readline()).strip():
        pass


async def test_requests_of_one_connection_with_and_without_tls() -> None:
    context = server_context(self_signed("web", datetime.now(UTC)))
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    trusting.set_alpn_protocols(["h2", "http/1.1"])
    for tls in (None, context):
        async with bed(tls) as one:
            heads: list[bytes] = []
            one.use(await one.backend(saying(sized(b"ok", lines=(b"X-A: 1",)), heads)))
            own = trusting if tls else None
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port, ssl=own)
            if tls:
                assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
            peer = Peer(reader, writer)
            peer.greet()
            for number in (1, 3, 5):
                peer.request(
                    number, fields_for("/a/../b?q", "GET", ("cookie", "a=1"), ("cookie", "b=2"))
                )
            for number in (1, 3, 5):
                answer = await peer.answer(number)
                assert answer.fields[":status"] == "200"
                assert (answer.fields["x-a"], answer.body) == ("1", b"ok")
            peer.close()
            assert heads[0].startswith(b"GET /b?q HTTP/1.1\r\nHost: web\r\n")
            assert b"cookie: a=1; b=2\r\n" in heads[0]
            assert (b"X-Forwarded-Proto: https" in heads[0]) is bool(tls)
            assert peer.settings[frames.SETTING_STREAMS_MAX] == INGRESS_STREAMS.value


async def test_a_client_that_offers_http_1_gets_it() -> None:
    async with bed(server_context(self_signed("web", datetime.now(UTC)))) as one:
        one.use(await one.backend(saying(sized(b"ok"))))
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", one.port, ssl=trusting)
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_bodies_and_trailers_pass_both_ways_while_both_are_open() -> None:
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(echo))
        peer.request(1, POST, end=False)
        for part in (b"one", b"two"):
            peer.data(1, part)
            async with asyncio.timeout(10):
                while not peer.answers.get(1) or not peer.answers[1].body.endswith(part):
                    await peer.read()
        trailers = encode_headers([("x-more", "1"), ("content-length", "9")])
        peer.send(pack_frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, trailers))
        answer = await peer.answer(1)
        assert (answer.body, answer.trailers) == (b"onetwo", {"x-sum": "1"})


async def test_a_large_body_passes_in_windows() -> None:
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(echo))
        peer.request(1, POST, end=False)
        size, sent, window = 3 << 20, 0, STREAM_WINDOW_BYTES
        # Windows of both are kept here: what the proxy reopens is read from its frames.
        credit = {0: INGRESS_HTTP2_HELD.value, 1: window}
        take = peer._take

        def counted(kind: int, flags: int, number: int, payload: bytes) -> None:
            if kind == frames.WINDOW_UPDATE:
                credit[number] += frames.unpack_number(payload)
            take(kind, flags, number, payload)

        peer._take = counted  # type: ignore[method-assign]  # to look on
        credit[0] = frames.WINDOW_BYTES  # until the proxy's own greeting
        async with asyncio.timeout(30):
            while sent < size:
                room = min(16_384, credit[0], credit[1], size - sent)
                if room <= 0:
                    assert await peer.read()
                    continue
                peer.data(1, bytes(room), end=sent + room == size)
                sent += room
                credit[0] -= room
                credit[1] -= room
            answer = await peer.answer(1)
        assert len(answer.body) == size


async def test_a_client_that_does_not_read_holds_back_its_backend_alone() -> None:
    async with bed() as one, client(one) as peer:
        size = 8 << 20

        async def large(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await head_of(reader)
            writer.write(sized(bytes(size) if b"/large" in head else b"small"))
            await writer.drain()
            await reader.read()

        one.use(await one.backend(large))
        peer.credits = False
        peer.request(1, fields_for("/large"))
        async with asyncio.timeout(10):
            while not peer.answers.get(1) or len(peer.answers[1].body) < frames.WINDOW_BYTES:
                await peer.read()
        (connection,) = one.proxy.clients
        (stream,) = connection.streams.values()  # type: ignore[attr-defined]  # of HTTP/2
        async with asyncio.timeout(10):
            while not stream.is_out_held:
                await asyncio.sleep(0.01)
        assert len(stream.out) < 1 << 20
        more = pack_number(1 << 20)
        peer.send(pack_frame(frames.WINDOW_UPDATE, 0, 0, more))
        peer.request(3, fields_for("/small"))
        assert (await peer.answer(3)).body == b"small"
        peer.credits = True
        peer.send(pack_frame(frames.WINDOW_UPDATE, 0, 1, more))
        assert len((await peer.answer(1)).body) == size


async def test_answers_of_the_proxy_itself() -> None:
    async with bed() as one, client(one) as peer:
        peer.request(1)
        assert (await peer.answer(1)).fields[":status"] == "503"
        one.route(Route(owner="default/web", redirect=Redirect(scheme="https", host="a.x")))
        peer.request(3)
        answer = await peer.answer(3)
        assert (answer.fields[":status"], answer.fields["location"]) == ("302", "https://a.x/x")
        one.route(Route(owner="default/web", path="/else", backends=(Backend(KEY),)))
        peer.request(5, fields_for("/x", "HEAD"))
        answer = await peer.answer(5)
        assert (answer.fields[":status"], answer.body) == ("404", b"")
        one.route(body_bytes_max=4)
        one.use(await one.backend(echo))
        peer.request(7, POST, end=False)
        peer.data(7, b"12345")
        answer = await peer.answer(7)
        assert answer.fields[":status"] == "413"
        peer.request(9, fields_for("/x", "GET", *((f"h{n}", "") for n in range(120))))
        assert (await peer.answer(9)).fields[":status"] == "431"


@pytest.mark.parametrize(
    "fields",
    [
        [(":method", "GET")],
        fields_for()[:3],
        [*fields_for(), (":path", "/y")],
        [("a", "b"), *fields_for()],
        [*fields_for(), ("Upper", "1")],
        [*fields_for(), ("connection", "close")],
        [*fields_for(), ("transfer-encoding", "chunked")],
        [*fields_for(), ("te", "gzip")],
        [*fields_for(), ("host", "other")],
        [*fields_for(), ("content-length", "5")],
        [*fields_for(), ("a", "b\r\nc: d")],
        [*fields_for(), ("a b", "c")],
        fields_for("no-slash"),
        fields_for("/a b"),
        fields_for("/%zz"),
        fields_for("/x", "G T"),
        [(":method", "GET"), (":scheme", "http"), (":authority", "a b"), (":path", "/")],
        [*fields_for(), (":status", "200")],
    ],
)
async def test_malformed_requests_reach_no_backend(fields: list[tuple[str, str]]) -> None:
    async with bed() as one, client(one) as peer:
        heads: list[bytes] = []
        one.use(await one.backend(saying(sized(b""), heads)))
        peer.request(1, fields)
        assert (await peer.answer(1)).reset_code == ErrorCode.PROTOCOL_ERROR
        peer.request(3)
        assert (await peer.answer(3)).fields[":status"] == "200"
        assert len(heads) == 1
        assert one.proxy.malformed == 1


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del writer
    await reader.read()


@pytest.mark.parametrize("content", [b"1234", b"12"])
async def test_a_body_keeps_to_its_length(content: bytes) -> None:
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(silent))
        peer.request(1, fields_for("/x", "POST", ("content-length", "3")), end=False)
        peer.data(1, content, end=True)
        assert (await peer.answer(1)).fields[":status"] == "400"


async def test_rapid_resets_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INGRESS_RESETS, "value", 20)
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(silent))
        for number in range(1, 201, 2):
            peer.request(number)
            peer.reset(number)
        assert await peer.end() == ErrorCode.ENHANCE_YOUR_CALM
        assert not one.proxy.clients


async def test_resets_that_the_client_provokes_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INGRESS_RESETS, "value", 20)
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(silent))
        for number in range(1, 201, 2):
            peer.request(number)
            peer.send(pack_frame(frames.WINDOW_UPDATE, 0, number, pack_number(0)))
        assert await peer.end() == ErrorCode.ENHANCE_YOUR_CALM


async def test_more_streams_than_there_may_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(INGRESS_STREAMS, "value", 3)
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(silent))
        for number in (1, 3, 5, 7):
            peer.request(number)
        assert (await peer.answer(7)).reset_code == ErrorCode.REFUSED_STREAM
        peer.reset(1)
        peer.request(9)
        peer.send(pack_frame(frames.PING, 0, 0, bytes(8)))
        async with asyncio.timeout(10):
            while frames.PING not in peer.kinds:
                await peer.read()
        assert 9 not in peer.answers


@pytest.mark.parametrize(
    "frame",
    [
        pack_frame(frames.PING, 0, 0, bytes(8)),
        pack_settings({}),
        pack_frame(frames.PRIORITY, 0, 1, bytes(5)),
        pack_frame(frames.DATA, 0, 1),
        pack_frame(frames.WINDOW_UPDATE, 0, 0, pack_number(1)),
        pack_frame(77, 0, 0, b"unknown"),
    ],
)
async def test_floods_of_frames_without_content_end_the_connection(
    frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(INGRESS_CONTROL_FRAMES, "value", 50)
    async with bed() as one, client(one) as peer:
        one.use(await one.backend(silent))
        peer.request(1, POST, end=False)
        peer.send(frame * 5000)
        assert await peer.end() == ErrorCode.ENHANCE_YOUR_CALM


async def test_header_blocks_are_bounded_in_bytes_frames_and_what_they_decode_to() -> None:
    begin = pack_frame(frames.HEADERS, frames.END_STREAM, 1, encode_headers(fields_for()))
    empty = begin + pack_frame(frames.CONTINUATION, 0, 1) * 100
    large = begin + pack_frame(frames.CONTINUATION, 0, 1, bytes(16_384)) * 4
    # One entry of the table, named again and again: 4 KiB each for a byte.
    entry = b"\x40\x01a\x7f\x81\x1e" + b"x" * 4000
    repeated = pack_frame(
        frames.HEADERS,
        frames.END_STREAM | frames.END_HEADERS,
        1,
        encode_headers(fields_for()) + entry + b"\xbe" * 1000,
    )
    for flood in (empty, large, repeated):
        async with bed() as one, client(one) as peer:
            before = INGRESS_REQUEST_HEAD.times_reached
            peer.send(flood)
            assert await peer.end() == ErrorCode.ENHANCE_YOUR_CALM
            assert INGRESS_REQUEST_HEAD.times_reached == before + 1


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (pack_frame(frames.DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
        (pack_frame(frames.HEADERS, frames.END_HEADERS, 2, b"\x82"), ErrorCode.PROTOCOL_ERROR),
        (pack_frame(frames.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (pack_frame(frames.PUSH_PROMISE, 0, 1, bytes(4)), ErrorCode.PROTOCOL_ERROR),
        (pack_frame(frames.CONTINUATION, 0, 1), ErrorCode.PROTOCOL_ERROR),
        (pack_frame(frames.PING, 0, 0, b"short"), ErrorCode.FRAME_SIZE_ERROR),
        (pack_frame(frames.WINDOW_UPDATE, 0, 0, pack_number(0)), ErrorCode.FLOW_CONTROL_ERROR),
        (
            pack_frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"),
            ErrorCode.COMPRESSION_ERROR,
        ),
    ],
)
async def test_what_breaks_the_protocol_ends_the_connection(sent: bytes, code: ErrorCode) -> None:
    async with bed() as one, client(one) as peer:
        peer.send(sent)
        assert await peer.end() == code
        assert not one.proxy.clients


async def test_more_content_than_the_windows_ends_the_stream_and_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with bed() as one, client(one) as peer:
        never = asyncio.Event()
        monkeypatch.setattr(one.proxy.pool, "connect", lambda _: never.wait())
        one.use("127.0.0.1:1")
        peer.request(1, POST, end=False)
        for _ in range(STREAM_WINDOW_BYTES // 16_384 + 1):
            peer.data(1, bytes(16_384))
        assert (await peer.answer(1)).reset_code == ErrorCode.FLOW_CONTROL_ERROR
        for number in range(3, 15, 2):
            peer.request(number, POST, end=False)
            for _ in range(STREAM_WINDOW_BYTES // 16_384):
                peer.data(number, bytes(16_384))
        assert await peer.end() == ErrorCode.FLOW_CONTROL_ERROR


async def test_stopping_lets_streams_finish() -> None:
    async with bed() as one, client(one) as peer:
        go = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            await go.wait()
            writer.write(sized(b"late"))

        one.use(await one.backend(slow))
        peer.request(1)
        peer.send(pack_frame(frames.PING, 0, 0, bytes(8)))
        async with asyncio.timeout(10):
            while frames.PING not in peer.kinds:
                await peer.read()
        stopping = asyncio.create_task(one.proxy.stop(5))
        async with asyncio.timeout(10):
            while peer.goaway is None:
                await peer.read()
        assert peer.goaway == ErrorCode.NO_ERROR
        go.set()
        assert (await peer.answer(1)).body == b"late"
        await stopping
        assert not one.proxy.clients


async def test_a_lost_backend_is_a_bad_gateway_or_a_broken_stream() -> None:
    async with bed() as one, client(one) as peer:

        async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await head_of(reader)
            if b"/half" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                await writer.drain()
            writer.close()

        one.use(await one.backend(broken))
        peer.request(1, POST)
        assert (await peer.answer(1)).fields[":status"] == "502"
        peer.request(3, fields_for("/half"))
        answer = await peer.answer(3)
        assert (answer.fields[":status"], answer.reset_code) == ("200", ErrorCode.INTERNAL_ERROR)
