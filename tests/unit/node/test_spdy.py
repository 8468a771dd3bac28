"""SPDY frames in and out."""

import asyncio
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.limits import (
    SPDY_BACKLOG,
    SPDY_HEADERS,
    SPDY_STREAM_UNREAD,
    SPDY_STREAMS,
    SPDY_UNREAD,
)
from kubelite.node.spdy import DICTIONARY, SPDYConnection, SPDYStream, SPDYViolation


class Client:
    """The client's side: writes frames as kubectl does."""

    def __init__(self) -> None:
        self._compress = zlib.compressobj(zdict=DICTIONARY)

    def open(self, number: int, headers: dict[str, str], flags: int = 0) -> bytes:
        plain = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for text in (name.encode(), value.encode()):
                plain += struct.pack(">I", len(text)) + text
        block = self._compress.compress(plain) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        payload = struct.pack(">IIH", number, 0, 0) + block
        return struct.pack(">HHI", 0x8003, 1, flags << 24 | len(payload)) + payload

    @staticmethod
    def reset(number: int) -> bytes:
        return struct.pack(">HHIII", 0x8003, 3, 8, number, 5)

    def headers(self, size: int) -> bytes:
        plain = struct.pack(">II", 1, size) + bytes(size)
        block = self._compress.compress(plain) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">HHII", 0x8003, 8, 4 + len(block), 1) + block

    @staticmethod
    def data(number: int, data: bytes, flags: int = 0) -> bytes:
        return struct.pack(">II", number, flags << 24 | len(data)) + data


def connect() -> tuple[SPDYConnection, list[bytes]]:
    sent: list[bytes] = []

    async def write(data: bytes) -> None:
        sent.append(data)

    return SPDYConnection(write), sent


async def accepted(connection: SPDYConnection) -> SPDYStream:
    stream = await connection.accept()
    assert stream is not None
    return stream


def test_the_dictionary_is_that_of_the_protocol() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


async def test_streams_open_with_headers_and_carry_data_both_ways() -> None:
    connection, sent = connect()
    client = Client()
    await connection.feed(client.open(1, {"streamtype": "stdin"}) + client.data(1, b"hello"))
    await connection.feed(client.open(3, {"streamtype": "error", "port": "80"}, flags=1))
    first, second = await accepted(connection), await accepted(connection)
    assert first.headers == {"streamtype": "stdin"}
    assert second.headers["port"] == "80"
    assert await first.read() == b"hello"
    assert await second.read() == b""
    await connection.feed(client.data(1, b"", flags=1))
    assert await first.read() == b""
    await first.write(b"answer")
    await first.close()
    assert [struct.unpack_from(">HH", frame)[:2] for frame in sent[:2]] == [(0x8003, 2)] * 2
    assert sent[2:] == [client.data(1, b"answer"), client.data(1, b"", flags=1)]


@given(st.lists(st.integers(1, 60), max_size=30))
def test_frames_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    client = Client()
    whole = (
        client.open(1, {"streamtype": "data"}) + client.data(1, b"x" * 50) + client.data(1, b"y", 1)
    )

    async def run() -> bytes:
        connection, _ = connect()
        place = 0
        for cut in [*cuts, len(whole)]:
            await connection.feed(whole[place : place + cut])
            place += cut
        stream = await accepted(connection)
        read = b""
        while piece := await stream.read():
            read += piece
        return read

    assert asyncio.run(run()) == b"x" * 50 + b"y"


async def test_a_ping_is_answered() -> None:
    connection, sent = connect()
    ping = struct.pack(">HHII", 0x8003, 6, 4, 77)
    await connection.feed(ping)
    assert sent == [ping]


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">HHI", 0x8002, 1, 0),
        struct.pack(">HHI", 0x8003, 1, 4) + b"abcd",
        struct.pack(">HHI", 0x8003, 1, 20) + bytes(20),
        struct.pack(">II", 1, 0xFFFFFF),
    ],
)
async def test_what_breaks_the_protocol_is_refused(frame: bytes) -> None:
    connection, _ = connect()
    with pytest.raises(SPDYViolation):
        await connection.feed(frame)


async def test_the_end_of_the_connection_ends_every_stream() -> None:
    connection, _ = connect()
    await connection.feed(Client().open(1, {"streamtype": "data"}))
    stream = await accepted(connection)
    connection.feed_end()
    assert await stream.read() == b""
    assert stream.gone.is_set()
    assert await connection.accept() is None


async def test_a_stream_nobody_reads_stops_the_transport() -> None:
    held: list[bool] = []

    async def write(data: bytes) -> None:
        del data

    connection = SPDYConnection(write, held.append)
    client = Client()
    await connection.feed(client.open(1, {"streamtype": "data"}))
    stream = await accepted(connection)
    for _ in range(5):
        await connection.feed(client.data(1, bytes(100_000)))
    assert held == [True]
    for _ in range(5):
        await stream.read()
    assert held == [True, False]


PING = struct.pack(">HHII", 0x8003, 6, 4, 77)


async def test_small_frames_are_kept_together() -> None:
    """Or each byte would cost an object, and the bound on bytes none on memory."""
    connection, _ = connect()
    client = Client()
    await connection.feed(client.open(1, {"streamtype": "data"}))
    stream = await accepted(connection)
    await connection.feed(client.data(1, b"x") * 40_000)
    pieces = [len(await stream.read()) for _ in range(3)]
    assert pieces == [16384, 16384, 40_000 - 2 * 16384]


async def test_what_all_streams_hold_unread_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SPDY_UNREAD, "value", 100_000)
    held: list[bool] = []

    async def write(data: bytes) -> None:
        del data

    connection = SPDYConnection(write, held.append)
    client = Client()
    streams = []
    for number in range(1, 13, 2):
        await connection.feed(client.open(number, {}) + client.data(number, bytes(20_000)))
        streams.append(await accepted(connection))
    assert held == [True]
    await streams[0].read()
    assert held == [True, False]
    await connection.feed(client.data(1, bytes(20_000)))
    await connection.feed(client.reset(3))  # what nobody will read any more does not count
    assert held == [True, False, True, False]
    assert await streams[1].read() == b""
    for stream in streams:
        connection.forget(stream)
    assert (connection._unread_bytes, connection._full_streams) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=60))
def test_the_sums_are_those_of_the_streams(steps: list[tuple[int, int]]) -> None:
    async def run() -> None:
        connection, _ = connect()
        client = Client()
        streams: dict[int, SPDYStream] = {}
        for place, act in steps:
            number = 2 * place + 1
            stream = streams.get(number)
            if stream is None:
                await connection.feed(client.open(number, {}))
                streams[number] = await accepted(connection)
            elif act == 0:
                await connection.feed(client.reset(number))
                del streams[number]
            elif act == 1:
                connection.forget(stream)
                del streams[number]
            elif act == 2 and stream._chunks:
                await stream.read()
            else:
                await connection.feed(client.data(number, bytes(SPDY_STREAM_UNREAD.value // 2)))
            unread = [s._unread_bytes for s in streams.values()]
            assert connection._unread_bytes == sum(unread)
            full = [size for size in unread if size > SPDY_STREAM_UNREAD.value]
            assert connection._full_streams == len(full)

    asyncio.run(run())


async def test_streams_that_nobody_takes_up_end_the_connection() -> None:
    """Those that were reset stay in the backlog, so a client could open them for ever."""
    connection, _ = connect()
    client = Client()
    for number in range(SPDY_BACKLOG.value):
        await connection.feed(client.open(2 * number + 1, {}) + client.reset(2 * number + 1))
    with pytest.raises(SPDYViolation, match="too many streams"):
        await connection.feed(client.open(9001, {}))
    connection.feed_end()
    for _ in range(SPDY_BACKLOG.value):
        await accepted(connection)
    assert await connection.accept() is None


async def test_open_streams_are_bounded() -> None:
    connection, _ = connect()
    client = Client()
    for number in range(SPDY_STREAMS.value):
        await connection.feed(client.open(2 * number + 1, {}))
        await accepted(connection)
    with pytest.raises(SPDYViolation, match="too many streams"):
        await connection.feed(client.open(9001, {}))


@pytest.mark.parametrize(
    "write",
    [
        lambda client: client.open(1, {"x": "y" * SPDY_HEADERS.value}),
        lambda client: client.headers(SPDY_HEADERS.value),
    ],
    ids=["SYN_STREAM", "HEADERS"],
)
async def test_headers_are_bounded_as_they_are_decompressed(
    write: Callable[[Client], bytes],
) -> None:
    connection, _ = connect()
    frame = write(Client())
    assert len(frame) < 1000
    with pytest.raises(SPDYViolation, match="too large"):
        await connection.feed(frame)


@pytest.mark.parametrize("frame", [PING, Client.data(9, b""), struct.pack(">HHI", 0x8003, 4, 0)])
async def test_the_loop_gets_its_turn_between_frames(frame: bytes) -> None:
    connection, _ = connect()
    turns = 0
    is_over = False

    async def others() -> None:
        nonlocal turns
        while not is_over:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.ensure_future(others())
    await connection.feed(frame * 10_000)
    is_over = True
    await waiting
    assert turns >= 10_000 // 64


async def test_input_goes_on_while_output_is_not_read_and_replies_are_bounded() -> None:
    may_write = asyncio.Event()
    sent: list[bytes] = []

    async def write(data: bytes) -> None:
        await may_write.wait()
        sent.append(data)

    connection = SPDYConnection(write)
    client = Client()
    feeding = asyncio.ensure_future(connection.feed(client.open(1, {"streamtype": "stdin"})))
    stream = await accepted(connection)
    await connection.feed(PING + client.data(1, b"typed"))
    assert await stream.read() == b"typed"
    flood = asyncio.ensure_future(connection.feed(PING * 100_000))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not flood.done()
    assert len(connection._replies) < 1000
    may_write.set()
    await asyncio.gather(feeding, flood)
    assert sent.count(PING) == 100_001


async def test_nothing_is_taken_after_the_end() -> None:
    connection, _ = connect()
    goaway = struct.pack(">HHI", 0x8003, 7, 0)
    await connection.feed(goaway + Client().open(1, {}))
    await connection.feed(Client().open(3, {}))
    assert await connection.accept() is None
