"""SPDY frames in and out."""

import asyncio
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.limits import SPDY_BUFFER, SPDY_STREAM_BUFFER
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


async def test_many_streams_hold_no_more_than_their_connection_may() -> None:
    paused: list[bool] = []

    async def write(data: bytes) -> None:
        return

    connection = SPDYConnection(write, paused.append)
    client = Client()
    streams = []
    for number in range(1, 21, 2):
        await connection.feed(client.open(number, {"streamtype": "data"}))
        streams.append(await accepted(connection))
        if not paused:
            await connection.feed(client.data(number, b"a" * (SPDY_STREAM_BUFFER.value - 1)))
    assert paused == [True]
    held = sum(stream.buffered_bytes for stream in streams)
    assert held <= SPDY_BUFFER.value + SPDY_STREAM_BUFFER.value
    await streams[0].read()
    assert paused == [True, False]
