"""Endpoints of HTTP/2: requests that share a connection, trailers, and what an endpoint may do wrong."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kubelite.grpc import frames
from kubelite.grpc.frames import FrameReader, pack_frame, pack_number, pack_settings
from kubelite.grpc.hpack import Header, HeaderDecoder, encode_headers
from kubelite.ingress.endpoints import HTTP_2, Speech
from kubelite.ingress.http2 import STREAM_WINDOW_BYTES
from unit.ingress.bed import KEY, Bed, bed
from unit.ingress.http2_peer import Peer, fields_for

GET = b"GET /x?q HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"
OK = encode_headers([(":status", "200"), ("content-type", "text/plain")])
DONE = encode_headers([("grpc-status", "0")])
HEADERS_END = frames.END_HEADERS | frames.END_STREAM


class Server:
    """One connection of an endpoint, whose answers a test gives."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.fields: dict[int, dict[str, str]] = {}
        self.bodies: dict[int, bytes] = {}
        self.resets: list[int] = []

    def send(self, kind: int, flags: int, number: int, payload: bytes = b"") -> None:
        self.writer.write(pack_frame(kind, flags, number, payload))


Ended = Callable[[Server, int], None]


class Endpoint:
    """An endpoint that calls `ended` for each request that is whole, and `begun` for each head."""

    def __init__(self, ended: Ended, begun: Ended = lambda *_: None) -> None:
        self.ended = ended
        self.begun = begun
        self.connections: list[Server] = []
        self.settings: dict[int, int] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(len(frames.PREFACE)) == frames.PREFACE
        server, read, decoder = Server(writer), FrameReader(), HeaderDecoder()
        self.connections.append(server)
        writer.write(pack_settings(self.settings))
        while data := await reader.read(65536):
            for kind, flags, number, payload in read.feed(data):
                if kind == frames.HEADERS:
                    fields: list[Header] = decoder.decode(payload)
                    server.fields[number] = {**server.fields.get(number, {}), **dict(fields)}
                    self.begun(server, number)
                elif kind == frames.DATA:
                    server.bodies[number] = server.bodies.get(number, b"") + payload
                elif kind == frames.RST_STREAM:
                    server.resets.append(number)
                if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
                    self.ended(server, number)


def hello(server: Server, number: int) -> None:
    server.send(frames.HEADERS, frames.END_HEADERS, number, OK)
    server.send(frames.DATA, frames.END_STREAM, number, b"hello")


async def speaking(one: Bed, endpoint: Callable[..., Awaitable[None]]) -> str:
    address = await one.backend(endpoint)
    one.proxy.use_endpoints({KEY: (address,)}, {KEY: Speech(HTTP_2)})
    return address


async def test_requests_of_http_1_become_streams_of_one_connection() -> None:
    async with bed() as one:
        endpoint = Endpoint(hello)
        await speaking(one, endpoint)
        answers = await asyncio.gather(*(one.ask(GET) for _ in range(5)))
        for answer in answers:
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"Transfer-Encoding: chunked" in answer
            assert answer.endswith(b"5\r\nhello\r\n0\r\n\r\n")
        (server,) = endpoint.connections
        fields = server.fields[1]
        assert fields[":method"] == "GET"
        assert (fields[":path"], fields[":authority"], fields[":scheme"]) == ("/x?q", "web", "http")
        assert fields["te"] == "trailers"
        assert fields["x-forwarded-for"] == "127.0.0.1"
        assert not {"host", "connection"} & fields.keys()


async def test_a_call_of_grpc_passes_with_its_trailers_while_both_sides_are_open() -> None:
    async with bed() as one:

        def begun(server: Server, number: int) -> None:
            if number not in server.bodies:
                server.send(frames.HEADERS, frames.END_HEADERS, number, OK)

        def ended(server: Server, number: int) -> None:
            server.send(frames.DATA, 0, number, b"got " + server.bodies[number])
            server.send(frames.HEADERS, HEADERS_END, number, DONE)

        await speaking(one, Endpoint(ended, begun))
        peer = Peer(*await one.open())
        peer.greet()
        peer.request(1, fields_for("/s/M", "POST", ("content-type", "application/grpc")), end=False)
        async with asyncio.timeout(10):
            while 1 not in peer.answers:  # the head comes before the request is whole
                await peer.read()
        peer.data(1, b"one", end=True)
        answer = await peer.answer(1)
        assert (answer.body, answer.trailers) == (b"got one", {"grpc-status": "0"})
        peer.close()


async def test_an_answer_of_trailers_alone() -> None:
    async with bed() as one:

        def ended(server: Server, number: int) -> None:
            block = encode_headers([(":status", "200"), ("grpc-status", "12")])
            server.send(frames.HEADERS, HEADERS_END, number, block)

        await speaking(one, Endpoint(ended))
        peer = Peer(*await one.open())
        peer.greet()
        peer.request(1)
        assert (await peer.answer(1)).fields == {":status": "200", "grpc-status": "12"}
        assert b"\r\nContent-Length: 0\r\n" in await one.ask(GET)
        peer.close()


async def test_a_lost_client_ends_its_stream_alone() -> None:
    async with bed() as one:
        endpoint = Endpoint(lambda *_: None)
        await speaking(one, endpoint)
        peer = Peer(*await one.open())
        peer.greet()
        peer.request(1)
        async with asyncio.timeout(10):
            while not endpoint.connections or not endpoint.connections[0].fields:
                await asyncio.sleep(0.01)
        peer.reset(1)
        async with asyncio.timeout(10):
            while not endpoint.connections[0].resets:
                await asyncio.sleep(0.01)
        endpoint.ended = hello
        peer.request(3)
        assert (await peer.answer(3)).body == b"hello"
        assert len(endpoint.connections) == 1
        peer.close()


async def test_streams_that_an_endpoint_does_not_process_are_asked_for_again() -> None:
    async with bed() as one:

        def leaving(server: Server, number: int) -> None:
            if len(endpoint.connections) == 1:
                server.send(frames.GOAWAY, 0, 0, pack_number(0) + pack_number(0))
            else:
                hello(server, number)

        endpoint = Endpoint(leaving)
        await speaking(one, endpoint)
        assert (await one.ask(GET)).startswith(b"HTTP/1.1 200 ")
        assert len(endpoint.connections) == 2


async def test_an_endpoint_has_as_many_streams_as_it_asks_for() -> None:
    async with bed() as one:
        waiting: list[tuple[Server, int]] = []
        endpoint = Endpoint(lambda server, number: waiting.append((server, number)))
        endpoint.settings = {frames.SETTING_STREAMS_MAX: 2}
        await speaking(one, endpoint)
        first = asyncio.create_task(one.ask(GET))
        async with asyncio.timeout(10):
            while len(waiting) < 1:
                await asyncio.sleep(0.01)
            asked = [first, *(asyncio.create_task(one.ask(GET)) for _ in range(3))]
            while len(waiting) < 4:
                await asyncio.sleep(0.01)
        assert len(endpoint.connections) >= 2
        assert all(len(server.fields) <= 2 for server in endpoint.connections)
        for server, number in waiting:
            hello(server, number)
        assert all(b"hello" in answer for answer in await asyncio.gather(*asked))


@pytest.mark.parametrize(
    "wrong",
    [
        [(frames.HEADERS, HEADERS_END, encode_headers([("a", "b")]))],
        [(frames.HEADERS, HEADERS_END, encode_headers([(":status", "101")]))],
        [(frames.HEADERS, HEADERS_END, encode_headers([(":status", "200"), ("A", "b")]))],
        [(frames.HEADERS, HEADERS_END, encode_headers([(":status", "200"), ("a", "b\r\nc: d")]))],
        [
            (
                frames.HEADERS,
                HEADERS_END,
                encode_headers([(":status", "200"), ("content-length", "5")]),
            )
        ],
        [(frames.DATA, 0, b"before the head")],
        [(frames.RST_STREAM, 0, pack_number(2))],
        [(frames.PUSH_PROMISE, 0, bytes(4))],
    ],
)
async def test_what_is_no_answer_is_a_bad_gateway(wrong: list[tuple[int, int, bytes]]) -> None:
    async with bed() as one:

        def ended(server: Server, number: int) -> None:
            for kind, flags, payload in wrong:
                server.send(kind, flags, number, payload)

        await speaking(one, Endpoint(ended))
        post = b"POST /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        assert (await one.ask(post)).startswith(b"HTTP/1.1 502 ")


async def test_an_endpoint_of_http_1_is_a_bad_gateway() -> None:
    async with bed() as one:

        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(len(frames.PREFACE))
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            await reader.read()

        await speaking(one, other)
        assert (await one.ask(GET)).startswith(b"HTTP/1.1 502 ")


async def test_an_answer_shorter_than_its_length_is_cut_off() -> None:
    async with bed() as one:

        def ended(server: Server, number: int) -> None:
            block = encode_headers([(":status", "200"), ("content-length", "9")])
            server.send(frames.HEADERS, frames.END_HEADERS, number, block)
            server.send(frames.DATA, frames.END_STREAM, number, b"short")

        await speaking(one, Endpoint(ended))
        answer = await one.ask(GET)
        assert b"content-length: 9\r\n" in answer
        assert answer.endswith(b"\r\n\r\nshort")


async def test_a_slow_client_holds_back_its_stream_alone() -> None:
    async with bed() as one:
        size = 4 << 20

        def ended(server: Server, number: int) -> None:
            if server.fields[number][":path"] == "/small":
                hello(server, number)
                return
            server.send(frames.HEADERS, frames.END_HEADERS, number, OK)
            for _ in range(STREAM_WINDOW_BYTES // 16_384):  # as much as the window lets
                server.send(frames.DATA, 0, number, bytes(16_384))

        await speaking(one, Endpoint(ended))
        peer = Peer(*await one.open())
        peer.greet()
        peer.credits = False
        for number in (1, 3):
            peer.request(number, fields_for("/large"))
        peer.send(pack_frame(frames.WINDOW_UPDATE, 0, 0, pack_number(size)))
        peer.request(5, fields_for("/small"))
        assert (await peer.answer(5)).body == b"hello"
        peer.close()


async def test_connections_go_with_their_endpoint() -> None:
    async with bed() as one:
        endpoint = Endpoint(hello)
        await speaking(one, endpoint)
        await one.ask(GET)
        (pool,) = one.proxy._pools.values()
        assert len(pool._connections) == 1  # type: ignore[attr-defined]  # of HTTP/2
        one.proxy.use_endpoints({KEY: ()})
        async with asyncio.timeout(10):
            while pool._connections:  # type: ignore[attr-defined]  # of HTTP/2
                await asyncio.sleep(0.01)
        assert not one.proxy._pools
