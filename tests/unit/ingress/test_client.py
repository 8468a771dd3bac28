"""Connections of clients through the proxy to backends, over sockets."""

import asyncio
import socket
from contextlib import suppress

import pytest

from kubelite.ingress.routes import Backend, Route
from kubelite.limits import INGRESS_REQUEST_HEAD
from unit.ingress.bed import KEY, bed, head_of, saying, sized

GET = b"GET /x HTTP/1.1\r\nHost: web\r\n"
CLOSE = b"Connection: close\r\n\r\n"


async def test_a_request_reaches_its_backend_with_what_tells_of_the_client() -> None:
    async with bed() as one:
        heads: list[bytes] = []
        one.use(await one.backend(saying(sized(b"hello"), heads)))
        answer = await one.ask(GET + b"X-Forwarded-For: 9.9.9.9\r\n" + CLOSE)
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
    assert heads == [
        (
            b"GET /x HTTP/1.1\r\nHost: web\r\nX-Forwarded-Port: 80\r\nX-Forwarded-For: 127.0.0.1\r\n"
            b"X-Real-IP: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: web\r\n\r\n"
        )
    ]


async def test_pipelined_requests_are_answered_in_order_over_one_kept_connection() -> None:
    async with bed() as one:
        connections = 0

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            try:
                while True:
                    writer.write(sized((await head_of(reader)).split()[1]))
            except asyncio.IncompleteReadError:
                writer.close()

        one.use(await one.backend(backend))
        pieces = [b"GET /%d HTTP/1.1\r\nHost: web\r\n" % number for number in range(5)]
        answer = await one.ask(b"\r\n".join(pieces) + CLOSE)
    assert [line for line in answer.split(b"\r\n") if line.startswith(b"/")] == [
        b"/0HTTP/1.1 200 OK", b"/1HTTP/1.1 200 OK", b"/2HTTP/1.1 200 OK", b"/3HTTP/1.1 200 OK", b"/4"
    ]  # fmt: skip
    assert connections == 1


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * INGRESS_REQUEST_HEAD.value, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /none HTTP/1.1\r\nHost: other\r\n" + CLOSE, b"404"),
        (b"GET / HTTP/1.1\r\nHost: web\r\n" + CLOSE, b"503"),
    ],
)
async def test_pages_of_the_proxy_itself(request_text: bytes, status: bytes) -> None:
    async with bed() as one:
        one.route(Route(owner="default/web", host="web", backends=(Backend(KEY),)))
        answer = await one.ask(request_text)
    assert answer.split()[1] == status
    assert b"Connection: close" in answer


async def test_what_comes_behind_a_refused_request_is_no_request() -> None:
    """A body that could be read in two ways must not become the next request."""
    async with bed() as one:
        heads: list[bytes] = []
        one.use(await one.backend(saying(sized(b""), heads)))
        answer = await one.ask(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        )
    assert (answer.count(b"HTTP/1.1 "), heads) == (1, [])
    assert answer.startswith(b"HTTP/1.1 400")


async def test_a_malformed_chunk_ends_the_request_and_its_backend() -> None:
    async with bed() as one:
        seen = asyncio.get_running_loop().create_future()

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                seen.set_result(await reader.read())
            except ConnectionResetError:
                seen.set_result(b"reset")
            writer.close()

        one.use(await one.backend(backend))
        answer = await one.ask(
            GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloGET /evil"
        )
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"evil" not in await seen


async def test_bodies_stream_both_ways_in_chunks_with_trailers() -> None:
    async with bed() as one:

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while size := int(await reader.readline(), 16):
                content = await reader.readexactly(size + 2)
                writer.write(b"%x\r\n%b" % (size, content))
            trailers = await head_of(reader)
            writer.write(b"0\r\n" + trailers)

        one.use(await one.backend(echo))
        reader, writer = await one.open()
        writer.write(GET.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in await head_of(reader)
        for word in (b"one", b"two"):
            writer.write(b"3\r\n%b\r\n" % word)  # answered before the next one is sent
            assert await reader.readexactly(8) == b"3\r\n%b\r\n" % word
        writer.write(b"0\r\nX-Sum: 7\r\n\r\n")
        assert await head_of(reader) == b"0\r\nX-Sum: 7\r\n\r\n"
        writer.close()


async def test_a_client_that_waits_for_100_continue_gets_it_once_a_backend_is_there() -> None:
    async with bed() as one:

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert b"Expect" not in await head_of(reader)
            writer.write(sized(await reader.readexactly(4)))

        one.use(await one.backend(backend))
        reader, writer = await one.open()
        writer.write(
            GET.replace(b"GET", b"POST") + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        assert await head_of(reader) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert b"200 OK" in await head_of(reader)
        assert await reader.readexactly(4) == b"body"
        writer.close()


async def test_an_old_client_gets_no_chunks() -> None:
    async with bed() as one:
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        one.use(await one.backend(saying(answer)))
        found = await one.ask(b"GET / HTTP/1.0\r\nHost: web\r\n\r\n")
    assert found == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"


async def test_a_body_without_a_length_becomes_chunks() -> None:
    async with bed() as one:

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
            writer.close()

        one.use(await one.backend(backend))
        answer = await one.ask(GET + CLOSE)
    assert answer.partition(b"\r\n\r\n")[2] == b"3\r\nabc\r\n0\r\n\r\n"


async def test_head_has_no_body_but_its_length() -> None:
    async with bed() as one:
        one.use(await one.backend(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")))
        answer = await one.ask(GET.replace(b"GET", b"HEAD") + CLOSE)
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"


async def test_an_upgrade_becomes_a_tunnel() -> None:
    async with bed() as one:

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await head_of(reader)
            assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in head
            assert b"Sec-WebSocket-Key: x\r\n" in head
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst"
            )
            while data := await reader.read(100):
                writer.write(data.upper())
            writer.close()

        one.use(await one.backend(backend))
        reader, writer = await one.open()
        writer.write(
            GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\nearly"
        )
        assert (await head_of(reader)).startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(10) == b"firstEARLY"
        writer.write(b"more")
        assert await reader.readexactly(4) == b"MORE"
        writer.close()


async def test_a_backend_that_switches_unasked_is_refused() -> None:
    async with bed() as one:
        one.use(await one.backend(saying(b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n")))
        answer = await one.ask(GET + CLOSE)
    assert answer.split()[1] == b"502"


async def test_an_endpoint_that_refuses_is_passed_over() -> None:
    async with bed() as one:
        with socket.create_server(("127.0.0.1", 0)) as free:
            dead = f"127.0.0.1:{free.getsockname()[1]}"
        alive = await one.backend(saying(sized(b"ok")))
        one.use(dead, alive)
        for _ in range(4):
            body = b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n" + CLOSE
            assert (await one.ask(body)).split()[1] == b"200"
        one.use(dead)
        assert (await one.ask(GET + CLOSE)).split()[1] == b"502"


@pytest.mark.parametrize(("method", "status"), [(b"GET", b"200"), (b"POST", b"502")])
async def test_only_idempotent_requests_are_repeated_when_a_backend_dies(
    method: bytes, status: bytes
) -> None:
    async with bed() as one:

        async def dying(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.close()

        one.use(await one.backend(dying), await one.backend(saying(sized(b"ok"))))
        found = [(await one.ask(GET.replace(b"GET", method) + CLOSE)).split()[1] for _ in range(2)]
    assert set(found) == {status, b"200"}


async def test_a_kept_connection_that_its_backend_ended_is_replaced() -> None:
    """One endpoint alone: the request goes to it again, over a new connection."""
    async with bed() as one:
        connections = 0

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await head_of(reader)
            writer.write(sized(b"ok"))
            if connections == 1:
                await head_of(reader)  # the second request, which gets no answer
                writer.close()

        one.use(await one.backend(backend))
        for _ in range(2):
            assert (await one.ask(GET + CLOSE)).split()[1] == b"200"
    assert connections == 2


async def test_a_response_that_breaks_off_is_seen_to_break_off() -> None:
    async with bed() as one:

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await writer.drain()
            writer.close()

        one.use(await one.backend(backend))
        reader, writer = await one.open()
        writer.write(GET + CLOSE)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize(
    "lines",
    [b"Content-Length: 11\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nb\r\n" + b"x" * 11],
)
async def test_a_body_over_the_routes_limit_is_refused(lines: bytes) -> None:
    async with bed() as one:
        one.route(body_bytes_max=10)
        one.use(await one.backend(saying(b"")))
        answer = await one.ask(GET.replace(b"GET", b"POST") + lines)
    assert answer.split()[1] == b"413"


async def test_http_is_redirected_where_the_route_says_so() -> None:
    async with bed() as one:
        one.route(redirects_to_https=True)
        answer = await one.ask(b"GET /a?b HTTP/1.1\r\nHost: web:8080\r\n" + CLOSE)
        assert b"308 Permanent Redirect" in answer
        assert b"Location: https://web/a?b\r\n" in answer
        one.proxy.https_port = 8443
        assert b"https://web:8443/a?b" in await one.ask(GET.replace(b"/x", b"/a?b") + CLOSE)


async def test_a_slow_client_pauses_its_backend() -> None:
    """What the proxy and the kernel hold is bounded, whatever the backend has to say."""
    async with bed() as one:
        written = 0
        stopped = asyncio.Event()

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            try:
                while True:
                    writer.write(b"x" * 65536)
                    written += 65536
                    async with asyncio.timeout(1):
                        await writer.drain()
            except TimeoutError:
                stopped.set()
                writer.transport.abort()

        one.use(await one.backend(backend))
        client = socket.create_connection(("127.0.0.1", one.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.sendall(GET + b"\r\n")
        await stopped.wait()
        client.close()
        assert written < 32 << 20


async def test_a_slow_backend_pauses_its_client() -> None:
    async with bed() as one:
        begun = asyncio.Event()

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            begun.set()
            await asyncio.sleep(3600)

        one.use(await one.backend(backend))
        _, writer = await one.open()
        writer.write(GET.replace(b"GET", b"POST") + b"Content-Length: 1000000000\r\n\r\n")
        await begun.wait()
        written = 0
        with suppress(TimeoutError):
            while written < 64 << 20:
                writer.write(b"x" * 65536)
                written += 65536
                async with asyncio.timeout(1):
                    await writer.drain()
        assert written < 32 << 20
        writer.transport.abort()
        for server in one.servers:
            server.close()


async def test_a_client_that_asks_and_does_not_read_gets_no_more_answers() -> None:
    """Answers that nobody reads would pile up; the requests stay in the kernel instead."""
    async with bed() as one:
        asked, answer = 0, sized(b"x" * 60_000)

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            while True:
                await head_of(reader)
                asked += 1
                writer.write(answer)
                await writer.drain()

        one.use(await one.backend(backend))
        client = socket.create_connection(("127.0.0.1", one.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.setblocking(False)
        loop, requests = asyncio.get_running_loop(), 600
        await loop.sock_sendall(client, (GET + b"\r\n") * requests)
        before = -1
        while before < asked:
            before = asked
            await asyncio.sleep(0.2)
        assert asked < requests // 2
        got = 0
        while got < requests * len(answer):  # and it goes on once it reads
            got += len(await loop.sock_recv(client, 1 << 20))
        assert asked == requests
        client.close()


async def test_deadlines_end_what_is_late() -> None:
    async with bed() as one:

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        one.use(await one.backend(silent))
        one.route(read_seconds=5.0)
        slow_head, slow_writer = await one.open()
        slow_writer.write(b"GET / HT")
        waiting, writer = await one.open()
        writer.write(GET + CLOSE)
        while len(one.proxy.clients) < 2 or not one.proxy.pool.open:
            await asyncio.sleep(0)
        for client in tuple(one.proxy.clients):
            client.late()
        assert await slow_head.read() == b""
        assert (await waiting.read()).split()[1] == b"504"
        slow_writer.close()
        writer.close()


async def test_a_client_that_leaves_ends_its_request() -> None:
    async with bed() as one:
        ended = asyncio.Event()
        begun = asyncio.Event()

        async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await head_of(reader)
            begun.set()
            with suppress(ConnectionResetError):
                await reader.read()
            ended.set()
            writer.close()

        one.use(await one.backend(backend))
        _, writer = await one.open()
        writer.write(GET + b"\r\n")
        await begun.wait()
        writer.transport.abort()
        async with asyncio.timeout(10):
            await ended.wait()
        assert [(one.status_class, one.requests) for one in one.proxy.take_counts().counts] == [
            (4, 1)
        ]


async def test_weights_share_the_requests() -> None:
    async with bed() as one:
        backends = (Backend("a", 3), Backend("b", 1), Backend("c", 0))
        route = Route(owner="default/web", backends=backends)
        one.route(route)
        for key in "abc":
            one.proxy.use_endpoints({key: (f"{key}:1",)})
        sets = [one.proxy.endpoints_of(route) for _ in range(400)]
    found = [each.addresses[0] for each in sets if each is not None]
    assert {key: found.count(f"{key}:1") for key in "abc"} == {"a": 300, "b": 100, "c": 0}


async def test_connections_to_endpoints_that_went_are_closed() -> None:
    async with bed() as one:
        address = await one.backend(saying(sized(b"ok")))
        one.use(address)
        await one.ask(GET + CLOSE)
        assert one.proxy.pool.open == 1
        one.use()
        while one.proxy.pool.open:
            await asyncio.sleep(0)
        assert (await one.ask(GET + CLOSE)).split()[1] == b"503"
