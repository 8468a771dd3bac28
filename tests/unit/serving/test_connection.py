"""A connection within its bounds: heads, pipelining, unread bodies, trailers, deadlines; over a real socket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from kubelite.limits import (
    API_CONNECTIONS,
    HELD_ALWAYS,
    HELD_TOTAL,
    PIPELINED,
    REQUEST_FIELDS,
    REQUEST_HEAD,
    UNREAD_SECONDS,
)
from kubelite.serving.connection import ConnectionServer, Sent
from kubelite.serving.listener import Listener
from kubelite.serving.table import ConnectionTable

KIB = 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Served:
    """A server whose handler the test controls."""

    def __init__(self) -> None:
        self.requests: list[web.BaseRequest] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.reads_body = False
        self.errors: list[BaseException] = []
        self.table = ConnectionTable(API_CONNECTIONS, 4000)
        self.server = ConnectionServer(self.answer, self.table)

    said = OK

    async def answer(self, request: web.BaseRequest) -> Sent:
        self.requests.append(request)
        await self.may_answer.wait()
        if self.reads_body:
            try:
                await request.content.read()
            except web.RequestPayloadError as error:
                self.errors.append(error)
        if request.transport is not None:
            request.transport.write(self.said)
        return Sent(200, keep_alive=bool(request.keep_alive))


Opened = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Served, Opened]]:
    it = Served()
    listener = Listener(it.server, lambda: None)
    port = listener.open("127.0.0.1", 0, "test")
    writers: list[asyncio.StreamWriter] = []

    async def opened() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        return reader, writer

    try:
        yield it, opened
    finally:
        for writer in writers:
            writer.close()
        it.may_answer.set()
        await listener.stop(0.1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def head_of(size: int, *, fields: int = 10) -> bytes:
    """Return a request head of just `size` bytes."""
    start = b"GET / HTTP/1.1\r\nHost: x\r\n"
    room = size - len(start) - 2
    lines = [b"X-%03d: " % n for n in range(fields)]
    each, more = divmod(room - sum(len(line) + 2 for line in lines), fields)
    lines = [line + b"a" * (each + (more if n == 0 else 0)) for n, line in enumerate(lines)]
    made = start + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    assert len(made) == size
    return made


@pytest.mark.parametrize("pieces", [1, 7, 1000])
@pytest.mark.parametrize("more", [0, 1, 1000, 2_000_000])
async def test_a_head_is_bounded_as_a_whole(more: int, pieces: int) -> None:
    head = head_of(REQUEST_HEAD.value + more)
    async with served() as (it, opened):
        reader, writer = await opened()
        size = -(-len(head) // pieces)
        for at in range(0, len(head), size):
            writer.write(head[at : at + size])
            await asyncio.sleep(0)
        line = await reader.readline()
        assert line.split()[1] == (b"431" if more else b"200")
        if more:
            assert await reader.read() != b""  # the answer is whole, and the connection ends
        assert len(it.requests) == (0 if more else 1)


async def test_the_next_head_is_bounded_as_well() -> None:
    async with served() as (it, opened):
        reader, writer = await opened()
        for _ in range(5):
            writer.write(head_of(REQUEST_HEAD.value))
            assert await reader.readexactly(len(OK)) == OK
        writer.write(head_of(REQUEST_HEAD.value + 1))
        assert (await reader.readline()).split()[1] == b"431"
        assert len(it.requests) == 5


@pytest.mark.parametrize("fields", [REQUEST_FIELDS.value - 1, REQUEST_FIELDS.value])
async def test_fields_are_counted(fields: int) -> None:
    async with served() as (_, opened):
        reader, writer = await opened()
        writer.write(head_of(8 * KIB, fields=fields))
        refused = fields >= REQUEST_FIELDS.value  # with Host
        assert (await reader.readline()).split()[1] == (b"431" if refused else b"200")


async def test_few_pipelined_requests_wait_in_memory_and_all_are_answered() -> None:
    async with served() as (it, opened):
        it.may_answer.clear()
        reader, writer = await opened()
        head = head_of(4 * KIB)
        writer.write(head * 200)
        await until(lambda: bool(it.requests))
        for _ in range(50):
            await asyncio.sleep(0)
        (connection,) = it.server.connections
        assert len(connection._messages) <= PIPELINED.value
        it.may_answer.set()
        for _ in range(200):
            assert await reader.readexactly(len(OK)) == OK


@pytest.mark.parametrize("chunked", [False, True])
async def test_pipelined_requests_behind_a_streamed_body_do_not_get_stuck(chunked: bool) -> None:
    async with served() as (it, opened):
        it.reads_body = True
        reader, writer = await opened()
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 3"
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        await until(lambda: len(it.requests) == 1)
        writer.write((b"3\r\nabc\r\n0\r\n\r\n" if chunked else b"abc") + head_of(200) * 40)
        for _ in range(41):
            assert await reader.readexactly(len(OK)) == OK


async def test_many_waiting_heads_are_bounded_in_all() -> None:
    async with served() as (it, opened):
        it.may_answer.clear()
        for _ in range(900):
            _, writer = await opened()
            writer.write(head_of(REQUEST_HEAD.value)[:-1])  # never complete
        await until(lambda: it.table.held_bytes > HELD_TOTAL.value // 2 - 300 * KIB)
        for _ in range(200):
            await asyncio.sleep(0)
        assert it.table.held_bytes <= HELD_TOTAL.value // 2  # what loopback may hold
        reader, writer = await opened()  # an ordinary client is not kept out
        it.may_answer.set()
        writer.write(head_of(2 * KIB))
        assert await reader.readexactly(len(OK)) == OK


async def test_unread_bodies_are_counted_and_given_back() -> None:
    async with served() as (it, opened):
        it.may_answer.clear()
        reader, writer = await opened()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"a" * 10_000_000
        )
        await until(lambda: it.table.held_bytes > 0)
        for _ in range(100):
            await asyncio.sleep(0)
        assert it.table.held_bytes < 1024 * KIB
        it.may_answer.set()
        assert await reader.readexactly(len(OK)) == OK
        await until(lambda: it.table.held_bytes == 0)


async def test_a_small_body_nobody_read_is_dropped_with_its_request() -> None:
    async with served() as (it, opened):
        reader, writer = await opened()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b"\n" * 50_000
        )
        assert await reader.readexactly(len(OK)) == OK
        await until(lambda: it.table.held_bytes == 0)
        assert it.requests[0].content.at_eof()


async def test_a_long_head_stays_counted_while_its_request_runs() -> None:
    async with served() as (it, opened):
        it.may_answer.clear()
        reader, writer = await opened()
        writer.write(head_of(100 * KIB))
        await until(lambda: it.table.held_bytes >= 200 * KIB - HELD_ALWAYS.value)
        it.may_answer.set()
        await reader.readexactly(len(OK))
        writer.write(head_of(200))
        await reader.readexactly(len(OK))
        assert it.table.held_bytes == 0


async def test_trailers_are_bounded() -> None:
    async with served() as (it, opened):
        it.reads_body = True
        reader, writer = await opened()
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
        )
        await until(lambda: len(it.requests) == 1)
        for n in range(100):
            writer.write(b"X-%d: " % n + b"a" * 60_000 + b"\r\n")
            await asyncio.sleep(0)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert it.table.count == 0


@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n", b"3\r\nabcd\r\n"])
async def test_a_malformed_chunk_ends_the_wait_for_the_body(bad: bytes) -> None:
    async with served() as (it, opened):
        it.reads_body = True
        _, writer = await opened()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await until(lambda: len(it.requests) == 1)
        writer.write(bad)
        await until(lambda: len(it.errors) == 1)


async def test_a_body_in_one_piece_with_its_head_does_not_count_as_head() -> None:
    async with served() as (it, opened):
        it.reads_body = True
        reader, writer = await opened()
        for _ in range(5):
            writer.write(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
                + b"a\r\n\r\n" * 600_000
            )
            assert await reader.readexactly(len(OK)) == OK
        assert len(it.requests) == 5


async def test_no_further_request_is_served_before_its_answers_are_read() -> None:
    async with served() as (it, opened):
        it.said = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000
        reader, writer = await opened()
        reader._limit = 0  # type: ignore[attr-defined]  # a client that stops reading at once
        writer.write(head_of(200) * 2000)
        before = -1
        while before != len(it.requests):
            before = len(it.requests)
            await asyncio.sleep(0.1)
        assert before < 500  # what the kernel's buffers take, and a little
        (connection,) = it.server.connections
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 300_000
        reader._limit = 1 << 20  # type: ignore[attr-defined]  # it goes on
        for _ in range(2000):
            assert len(await reader.readexactly(len(it.said))) == len(it.said)


async def test_a_client_that_never_reads_its_answer_does_not_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(UNREAD_SECONDS, "value", 0.05)
    async with served() as (it, opened):
        it.said = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"a" * 50_000_000
        reader, writer = await opened()
        reader._limit = 0  # type: ignore[attr-defined]  # a client that stops reading at once
        writer.write(head_of(200))
        await until(lambda: len(it.requests) == 1)
        await until(lambda: it.table.count == 0)
