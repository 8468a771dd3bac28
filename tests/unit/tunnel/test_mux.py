"""Tunnels, both ends in one process: streams that hold others up, ends that vanish, ends that break the protocol."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop
from fakes.tunnelled import tunnel

from kubelite.limits import (
    DIAL_SECONDS,
    TUNNEL_CONTROL,
    TUNNEL_PONG_SECONDS,
    TUNNEL_SILENCE_SECONDS,
    TUNNEL_STREAMS,
    TUNNEL_WINDOW,
    TUNNEL_WINDOWS,
)
from kubelite.tunnel.credit import FIRST_CREDIT
from kubelite.tunnel.frames import CREDIT, HEAD_BYTES, FrameReader, FrameType, encode
from kubelite.tunnel.mux import READ_BYTES, Mux, OpenFailed


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; a test that never sees it fails by its timeout."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(20):
        return await reader.read()


async def test_what_is_sent_comes_back_and_both_ends_forget_the_stream() -> None:
    async with tunnel() as ends:
        reader, writer = await ends.open()
        sent = bytes(range(256)) * 20_000
        writer.write(sent)
        writer.write_eof()
        assert await read_all(reader) == sent
        writer.close()
        await until(lambda: ends.server.stream_count == ends.node.stream_count == 0)


def test_the_same_on_the_loop_of_the_server() -> None:
    """Transports of uvloop are no subclass of asyncio's, and read into a protocol's buffer in another way."""

    async def round_trip() -> None:
        async with tunnel() as ends:
            reader, writer = await ends.open()
            sent = bytes(range(256)) * 20_000
            writer.write(sent)
            writer.write_eof()
            assert await read_all(reader) == sent
            writer.close()
            await until(lambda: ends.server.stream_count == ends.node.stream_count == 0)

    uvloop.run(round_trip())


async def test_half_close_lets_the_other_direction_go_on() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = await reader.read()
        writer.write(b"%d bytes" % len(received))
        writer.close()

    async with tunnel(late=answer_at_the_end) as ends:
        reader, writer = await ends.open("late")
        writer.write(b"x" * 100_000)
        writer.write_eof()
        assert await read_all(reader) == b"100000 bytes"
        writer.close()


async def test_a_target_that_speaks_first_is_heard() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-")
        writer.close()

    async with tunnel(greeter=greet) as ends:
        for _ in range(20):
            reader, writer = await ends.open("greeter")
            assert await read_all(reader) == b"SSH-2.0-"
            writer.close()


@pytest.mark.parametrize(
    ("target", "reason"),
    [("closed", "connect: connection refused"), ("other", "address not allowed")],
)
async def test_targets_that_are_not_reached(target: str, reason: str) -> None:
    async with tunnel() as ends:
        with pytest.raises(OpenFailed, match=reason):
            await ends.server.open(target)
        assert ends.server.stream_count == 0
        await until(lambda: ends.node.stream_count == 0)
        _, writer = await ends.open()  # the tunnel goes on
        writer.close()


async def test_a_target_that_resets_ends_only_its_stream() -> None:
    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with tunnel(resetting=reset) as ends:
        good_reader, good_writer = await ends.open()
        reader, writer = await ends.open("resetting")
        writer.write(b"x")
        assert await read_all(reader) == b""
        writer.close()
        good_writer.write(b"still here")
        assert await good_reader.readexactly(10) == b"still here"
        good_writer.close()


async def test_a_caller_that_leaves_ends_the_connection_to_its_target() -> None:
    left = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        left.set()

    async with tunnel(silent=wait) as ends:
        _, writer = await ends.open("silent")
        writer.transport.abort()
        async with asyncio.timeout(20):
            await left.wait()
        await until(lambda: ends.server.stream_count == ends.node.stream_count == 0)


async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send without end."""
    try:
        while True:
            writer.write(bytes(65536))
            await writer.drain()
    except ConnectionError:
        writer.close()


async def test_one_that_never_reads_holds_a_bounded_amount_and_stalls_none_of_200() -> None:
    async with tunnel(flood=flood) as ends:
        stuck = await ends.server.open("flood")  # never read
        opened = await asyncio.gather(*(ends.open() for _ in range(200)))

        async def round_trip(number: int) -> None:
            reader, writer = opened[number]
            sent = b"%06d" % number * 5000
            writer.write(sent)
            writer.write_eof()
            assert await read_all(reader) == sent
            writer.close()

        await asyncio.gather(*map(round_trip, range(200)))
        await until(lambda: ends.server.stream_count == 1)
        (stream,) = ends.server._streams.values()
        await until(lambda: stream.window.held > 0)
        assert stream._transport is not None
        assert stream._transport.get_write_buffer_size() <= TUNNEL_WINDOW.value
        (behind,) = ends.node._streams.values()
        await until(lambda: behind.credit.available == 0)  # it has to wait
        assert len(behind._unsent) <= READ_BYTES
        stuck.close()
        await until(lambda: ends.node.stream_count == 0)


async def test_greedy_streams_take_turns_with_a_small_one() -> None:
    """What a small stream waits for is bounded by what is buffered, however much others have to send."""
    received = 0

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        while data := await reader.read(65536):
            received += len(data)
        writer.close()

    async with tunnel(sink=sink) as ends:
        greedy = [await ends.open("sink") for _ in range(4)]

        async def push(writer: asyncio.StreamWriter) -> None:
            while not writer.is_closing():
                writer.write(bytes(65536))
                await writer.drain()

        pushing = [asyncio.ensure_future(push(writer)) for _, writer in greedy]
        reader, writer = await ends.open()
        for _ in range(20):
            before = received
            writer.write(b"?")
            assert await reader.readexactly(1) == b"?"
            # Windows, socket buffers and what both loops hold; far below what 4 unfair streams would push ahead.
            assert received - before < 8 * 1024 * 1024
        for task in pushing:
            task.cancel()
        await asyncio.gather(*pushing, return_exceptions=True)
        for _, other in (*greedy, (reader, writer)):
            other.transport.abort()


def test_ready_streams_send_a_frame_each_in_turn() -> None:
    async def run() -> None:
        mux = Mux(lambda _: None)
        for number, size in ((1, 60_000), (2, 60_000), (3, 10)):
            stream = mux._added(number)
            stream._unsent = memoryview(bytes(size))
            mux.ready(stream)
        frames = FrameReader().feed(b"".join(mux._batch() + mux._batch()))
        assert [frame.stream for frame in frames] == [1, 2, 3, 1, 2]
        mux.lose("the test ends")

    asyncio.run(run())


async def test_windows_are_widened_for_readers_within_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TUNNEL_WINDOWS, "value", TUNNEL_WINDOW.value - FIRST_CREDIT)
    async with tunnel() as ends:
        writers = []
        for expected in (TUNNEL_WINDOW.value, FIRST_CREDIT):
            reader, writer = await ends.open()
            writer.write(bytes(FIRST_CREDIT))
            await reader.readexactly(FIRST_CREDIT)
            newest = max(ends.node._streams)
            assert ends.node._streams[newest].window.size == expected
            writers.append(writer)
        (first, _) = ends.node._streams.values()
        first.abort()
        assert ends.node._widened_bytes == 0
        for one in writers:
            one.close()


async def test_the_number_of_streams_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TUNNEL_STREAMS, "value", 2)
    async with tunnel() as ends:
        writers = [(await ends.open())[1] for _ in range(2)]
        with pytest.raises(OpenFailed, match="too many streams"):
            await ends.server.open("echo")
        # A server that does not count is refused by the node.
        ends.server._highest = 99
        ends.server.send(encode(FrameType.OPEN, 99, b"echo"))
        ends.server.pump()
        await until(lambda: ends.node._highest == 99)
        assert ends.node.stream_count == 2
        for writer in writers:
            writer.close()


# An end that vanishes


async def test_a_lost_connection_ends_all_streams() -> None:
    async with tunnel() as ends:
        opened = await asyncio.gather(*(ends.open() for _ in range(5)))
        assert ends.node._transport is not None
        ends.node._transport.abort()
        for reader, writer in opened:
            assert await read_all(reader) == b""
            writer.close()
        assert ends.server.stream_count == ends.node.stream_count == 0
        with pytest.raises(OpenFailed, match="connection"):
            await ends.server.open("echo")
        assert len(ends.reasons) == 2


async def test_a_tunnel_lost_while_a_stream_is_being_opened() -> None:
    async with tunnel() as ends:
        opening = asyncio.ensure_future(ends.server.open("echo"))
        await asyncio.sleep(0)
        ends.server.lose("gone")
        with pytest.raises(OpenFailed, match="gone"):
            await opening
        assert ends.server.stream_count == 0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TUNNEL_SILENCE_SECONDS, "value", 0.05)
    monkeypatch.setattr(TUNNEL_PONG_SECONDS, "value", 0.05)
    monkeypatch.setattr(DIAL_SECONDS, "value", 0.1)


async def alone(resolve: bool = True) -> tuple[Mux, socket.socket, list[str]]:
    """Return one end, the socket of the other, and why the end ended."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    reasons: list[str] = []
    mux = Mux(reasons.append, (lambda _: ("127.0.0.1", 1)) if resolve else None)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: mux, left)
    return mux, right, reasons


@pytest.mark.usefixtures("hurried")
async def test_an_end_that_says_nothing_is_asked_and_given_up() -> None:
    mux, other, reasons = await alone()
    with other:
        await until(lambda: bool(reasons))
        loop = asyncio.get_running_loop()  # which closes the other end's socket a turn later
        assert await loop.sock_recv(other, 100) == encode(FrameType.PING, 0)
        assert await loop.sock_recv(other, 100) == b""
    assert reasons[0].startswith("nothing came for")
    assert TUNNEL_PONG_SECONDS.times_reached
    del mux


@pytest.mark.usefixtures("hurried")
async def test_silence_is_no_end_while_the_other_answers() -> None:
    async with tunnel() as ends:
        asked: list[float] = []
        for _ in range(3):
            asked.append(ends.node._pinged_at)
            before = ends.node._pinged_at
            await until(lambda before=before: ends.node._pinged_at > before)  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
            await until(lambda: ends.node._heard_at >= ends.node._pinged_at)
        assert ends.reasons == []
        assert ends.server._pinged_at == float("-inf")  # which waits longer, so one side alone asks


@pytest.mark.usefixtures("hurried")
async def test_opening_through_a_dead_tunnel_has_a_deadline_and_finds_it_dead() -> None:
    mux, other, reasons = await alone(resolve=False)
    mux._heard_at -= 1
    with other:
        with pytest.raises(OpenFailed, match=r"i/o timeout|nothing came"):
            await mux.open("echo")
        await until(lambda: bool(reasons))
    assert mux.stream_count == 0


@pytest.mark.usefixtures("hurried")
async def test_a_target_that_takes_no_connection_has_a_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TUNNEL_SILENCE_SECONDS, "value", 60)
    async with tunnel() as ends:

        async def never(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(ends.node._loop, "create_connection", never)
        with pytest.raises(OpenFailed, match="i/o timeout"):
            await ends.server.open("echo")
        await until(lambda: ends.node.stream_count == 0 and not ends.node._dialing)
        assert ends.server.stream_count == 0


async def test_a_caller_that_gives_up_ends_the_dialing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tunnel() as ends:
        dialing = asyncio.Event()

        async def never(*_: object, **__: object) -> None:
            dialing.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(ends.node._loop, "create_connection", never)
        opening = asyncio.ensure_future(ends.server.open("echo"))
        await dialing.wait()
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await until(lambda: not ends.node._dialing and ends.node.stream_count == 0)
        assert ends.server.stream_count == 0


async def test_closing_waits_for_the_streams() -> None:
    async with tunnel() as ends:
        reader, writer = await ends.open()
        ends.server.close()
        with pytest.raises(OpenFailed, match="being closed"):
            await ends.server.open("echo")
        writer.write(b"last words")
        writer.write_eof()
        assert await read_all(reader) == b"last words"
        writer.close()
        await until(lambda: len(ends.reasons) == 2)


# An end that breaks the protocol


def frame_of(frame_type: FrameType, stream: int = 1, payload: bytes = b"") -> bytes:
    return encode(frame_type, stream, payload)


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (b"\xff" * 8, "unknown type"),
        (frame_of(FrameType.DATA, 1, b"x"), "DATA names stream 1, which was not opened"),
        (frame_of(FrameType.OPENED), "OPENED names stream 1"),
        (frame_of(FrameType.OPEN, 2, b"a") + frame_of(FrameType.OPEN, 1, b"a"), "OPEN names"),
        (
            frame_of(FrameType.OPEN, 1, b"a")
            + frame_of(FrameType.WINDOW, 1, CREDIT.pack(0xFFFF_FFFF)),
            "WINDOW grants",
        ),
        (frame_of(FrameType.OPEN, 1, b"a") + frame_of(FrameType.END) * 2, "END follows END"),
        (
            frame_of(FrameType.OPEN, 1, b"a")
            + frame_of(FrameType.END)
            + frame_of(FrameType.DATA, 1, b"x"),
            "DATA follows END",
        ),
        (
            frame_of(FrameType.OPEN, 1, b"a") + frame_of(FrameType.DATA, 1, bytes(16_000)) * 5,
            "exceeds the credit",
        ),
    ],
)
async def test_an_end_that_breaks_the_protocol_loses_the_tunnel(frames: bytes, reason: str) -> None:
    mux, other, reasons = await alone()
    with other:
        other.sendall(frames)
        await until(lambda: bool(reasons))
    assert reason in reasons[0]
    assert mux.stream_count == 0


async def test_a_node_cannot_open_streams_to_the_server() -> None:
    _, other, reasons = await alone(resolve=False)
    with other:
        other.sendall(frame_of(FrameType.OPEN, 1, b"127.0.0.1:6443"))
        await until(lambda: bool(reasons))
    assert "OPEN names stream 1" in reasons[0]


async def test_frames_of_a_stream_that_has_ended_are_dropped() -> None:
    """Each end learns late that the other has ended a stream, so they are no violation."""
    mux, other, reasons = await alone()
    with other:
        other.sendall(
            frame_of(FrameType.OPEN, 1, b"a")
            + frame_of(FrameType.RESET)
            + frame_of(FrameType.DATA, 1, b"x")
            + frame_of(FrameType.WINDOW, 1, CREDIT.pack(5))
            + frame_of(FrameType.END)
            + frame_of(FrameType.PING, 0, b"12345678")
        )
        await until(lambda: mux._heard_at > 0 and mux.stream_count == 0)
        async with asyncio.timeout(20):
            loop = asyncio.get_running_loop()
            assert await loop.sock_recv(other, 100) == frame_of(FrameType.PONG, 0, b"12345678")
        assert not reasons
        mux.lose("the test ends")


async def test_one_read_of_tiny_frames_is_a_bounded_piece_of_work() -> None:
    """Each frame costs microseconds, so a read must not bring tens of thousands of them."""
    mux, other, _ = await alone()
    with other:
        assert len(mux.get_buffer(-1)) // HEAD_BYTES <= 4096
        mux.lose("the test ends")


async def fill(other: socket.socket, data: bytes, reasons: list[str], most_bytes: int) -> int:
    """Send without reading, at most so much; return how much."""
    loop, sent = asyncio.get_running_loop(), 0
    try:
        while not reasons and sent < most_bytes:
            await loop.sock_sendall(other, data)
            sent += len(data)
    except ConnectionError:
        pass
    return sent


async def test_pings_of_an_end_that_reads_nothing_are_not_piled_up() -> None:
    mux, other, reasons = await alone()
    with other:
        await fill(other, frame_of(FrameType.PING, 0, b"x" * 8) * 1000, reasons, 2_000_000)
        assert not reasons
        assert mux._transport is not None
        assert mux._transport.get_write_buffer_size() < 128 * 1024
        assert mux._control_bytes == 0
        mux.lose("the test ends")


async def test_refusals_to_an_end_that_reads_nothing_are_bounded() -> None:
    left = TUNNEL_CONTROL.times_reached
    mux, other, reasons = await alone()
    mux._resolve = refuse_all
    with other:
        loop = asyncio.get_running_loop()
        number = 0
        try:
            while not reasons and number < 200_000:
                number += 100
                batch = (frame_of(FrameType.OPEN, number + one, b"a") for one in range(100))
                await loop.sock_sendall(other, b"".join(batch))
        except ConnectionError:
            pass
        await until(lambda: bool(reasons))
    assert reasons == ["the other end takes no answers"]
    assert TUNNEL_CONTROL.times_reached == left + 1


def refuse_all(_target: str) -> tuple[str, int]:
    from kubelite.tunnel.mux import TargetRefused

    raise TargetRefused("address not allowed")


async def test_an_end_asks_whatever_the_time_to_answer_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TUNNEL_SILENCE_SECONDS, "value", 0.05)
    monkeypatch.setattr(TUNNEL_PONG_SECONDS, "value", 60)
    mux, other, _ = await alone()
    with other:
        async with asyncio.timeout(20):
            asked = await asyncio.get_running_loop().sock_recv(other, 100)
        assert asked == frame_of(FrameType.PING, 0)
        mux.lose("the test ends")
