"""Exec and attach between a process and its client."""

import asyncio
from typing import Any

import pytest

from kubelite.limits import STREAM_ENDING_SECONDS
from kubelite.node.runtime import EngineUnavailable, StreamName
from kubelite.node.spdy import SPDYConnection
from kubelite.node.streams import (
    SPDY_PROTOCOLS,
    Input,
    SPDYChannels,
    Wanted,
    choose_protocol,
    converse,
    exited,
    failed,
    open_spdy_channels,
    read_size,
)
from unit.node.cluster import run_virtually
from unit.node.test_spdy import Client, connect


class FakeSession:
    """A process that echoes its input and ends with it."""

    def __init__(self) -> None:
        self.output: asyncio.Queue[tuple[StreamName, bytes] | None] = asyncio.Queue()
        self.size = (0, 0)
        self.is_closed = False

    async def read(self) -> tuple[StreamName, bytes] | None:
        return await self.output.get()

    async def write(self, data: bytes) -> None:
        await self.output.put(("stdout", data))

    async def close_stdin(self) -> None:
        await self.output.put(None)

    async def resize(self, width: int, height: int) -> None:
        self.size = (width, height)

    async def exit_code(self) -> int:
        return 3

    async def close(self) -> None:
        self.is_closed = True

    def kill(self) -> None:
        raise AssertionError("an exec's client may leave its process running")


class FakeChannels:
    """A client that sends what it was given."""

    def __init__(self, *inputs: Input | None) -> None:
        self._inputs = list(inputs)
        self.sent: list[tuple[StreamName, bytes]] = []
        self.status: dict[str, Any] | None = None
        self.left = asyncio.Event()

    async def gone(self) -> None:
        await self.left.wait()

    async def receive(self) -> Input | None:
        if not self._inputs:
            await asyncio.Event().wait()
        return self._inputs.pop(0)

    async def send(self, stream: StreamName, data: bytes) -> None:
        self.sent.append((stream, data))

    async def finish(self, status: dict[str, Any]) -> None:
        self.status = status


async def never() -> None:
    await asyncio.Event().wait()


async def test_input_goes_in_output_and_the_exit_code_come_out() -> None:
    session = FakeSession()
    channels = FakeChannels(Input(size=(80, 24)), Input(b"hello"), Input(is_end=True))
    await converse(session, channels, never())
    assert session.size == (80, 24)
    assert channels.sent == [("stdout", b"hello")]
    assert channels.status is not None
    assert channels.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert session.is_closed


async def test_a_client_that_leaves_lets_go_of_the_process() -> None:
    session, channels = FakeSession(), FakeChannels(None)
    await converse(session, channels, never())
    assert channels.status is None
    assert session.is_closed


class StuckSession(FakeSession):
    """A process of whose end the engine says nothing, and that reads no input."""

    async def write(self, data: bytes) -> None:
        await never()


class ReluctantChannels(FakeChannels):
    """A client that takes output once it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.may_take = asyncio.Event()

    async def send(self, stream: StreamName, data: bytes) -> None:
        await self.may_take.wait()
        await super().send(stream, data)


def test_a_stream_ends_with_its_container_whichever_came_first() -> None:
    """The engine may have closed the streams before they were joined: nothing then ever comes of them."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for ended_before in (True, False):
            ended = asyncio.Event()
            session, channels = StuckSession(), FakeChannels()
            if ended_before:
                ended.set()
            loop.call_later(30, ended.set)
            began = loop.time()
            await converse(session, channels, wait(ended))
            ended_at = began if ended_before else began + 30
            assert loop.time() == ended_at + STREAM_ENDING_SECONDS.value
            assert channels.status == exited(3)
            assert session.is_closed

    run_virtually(story())


def test_output_that_is_on_its_way_when_the_container_ends_is_not_cut() -> None:
    """However slowly the client takes it: only silence of the engine counts."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        ended.set()
        session, channels = FakeSession(), ReluctantChannels()
        for piece in (b"1", b"2", b"3"):
            session.output.put_nowait(("stdout", piece))
        session.output.put_nowait(None)
        loop.call_later(100 * STREAM_ENDING_SECONDS.value, channels.may_take.set)
        await converse(session, channels, wait(ended))
        assert [data for _, data in channels.sent] == [b"1", b"2", b"3"]
        assert channels.status == exited(3)

    run_virtually(story())


async def wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_client_that_leaves_is_noticed_while_its_input_waits() -> None:
    session, channels = StuckSession(), FakeChannels(Input(b"x" * 1000))
    conversation = asyncio.ensure_future(converse(session, channels, never()))
    await asyncio.sleep(0)
    channels.left.set()
    await conversation
    assert session.is_closed
    assert channels.status is None


async def test_a_client_that_leaves_during_output_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Leaving(FakeChannels):
        async def send(self, stream: StreamName, data: bytes) -> None:
            raise ConnectionResetError("Cannot write to closing transport")

    session = FakeSession()
    await session.output.put(("stdout", b"x"))
    await converse(session, Leaving(), never())
    assert session.is_closed
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_an_engine_that_goes_away_is_told_to_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(FakeSession):
        async def read(self) -> tuple[StreamName, bytes] | None:
            raise EngineUnavailable("gone")

    channels = FakeChannels()
    await converse(Broken(), channels, never())
    assert channels.status == failed("gone")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_client_that_never_reads_is_let_go_after_four_hours() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        session, channels = FakeSession(), ReluctantChannels()
        session.output.put_nowait(("stdout", b"x"))
        await converse(session, channels, never())
        assert loop.time() == 4 * 3600
        assert session.is_closed
        assert channels.status is None

    run_virtually(story())


def test_a_stream_that_carries_something_is_not_idle() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        session, channels = FakeSession(), FakeChannels()
        for hours in range(1, 10):
            loop.call_later(3600 * hours, session.output.put_nowait, ("stdout", b"x"))
        loop.call_later(3600 * 10, session.output.put_nowait, None)
        await converse(session, channels, never())
        assert len(channels.sent) == 9
        assert channels.status == exited(3)

    run_virtually(story())


def test_success_has_no_details() -> None:
    assert exited(0) == {"metadata": {}, "status": "Success"}


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["v4.channel.k8s.io", "channel.k8s.io"], "v4.channel.k8s.io"),
        (["v2.channel.k8s.io"], "v2.channel.k8s.io"),
        ([], "channel.k8s.io"),
        (["v9.channel.k8s.io"], None),
    ],
)
def test_choose_protocol(offered: list[str], chosen: str | None) -> None:
    assert choose_protocol(offered, SPDY_PROTOCOLS) == chosen


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b'{"Width":80,"Height":24}', (80, 24)),
        (b"{}", None),
        (b"x", None),
        (b'{"Width":"a","Height":1}', None),
        (b'{"Width":-1,"Height":1}', None),
        (b'{"Width":65536,"Height":1}', None),
        (b'{"Width":1e999,"Height":1}', None),
        (b'{"Width":' + b"9" * 5000 + b',"Height":1}', None),
        (b'{"Width":' + b"[" * 100_000, None),
    ],
)
def test_read_size(data: bytes, size: tuple[int, int] | None) -> None:
    assert read_size(data) == size


async def _channels(client: Client, *names: str) -> tuple[SPDYConnection, SPDYChannels]:
    connection, _ = connect()
    for number, name in enumerate(names):
        await connection.feed(client.open(2 * number + 1, {"streamtype": name}))
    wanted = Wanted(stdin=True, tty=True)
    channels = await open_spdy_channels(connection, wanted, "v4.channel.k8s.io")
    assert channels is not None
    return connection, channels


async def test_sizes_may_arrive_in_any_pieces() -> None:
    client = Client()
    connection, channels = await _channels(client, "error", "stdin", "resize")
    for piece in (b'{"Width":1,"Hei', b'ght":2}\n{"Width":3,"Height":4}\n', b"x" * 9000, b"}"):
        await connection.feed(client.data(5, piece))
        await asyncio.sleep(0)
    await connection.feed(client.data(5, b'\n{"Width":5,"Height":6}'))
    assert await channels.receive() == Input(size=(3, 4))
    assert await channels.receive() == Input(size=(5, 6))
    await channels.finish(exited(0))


async def test_streams_nobody_wants_are_reset_and_forgotten() -> None:
    """A client may name as many kinds of streams as it likes while it is waited for."""
    client = Client()
    connection, sent = connect()
    opening = asyncio.ensure_future(
        open_spdy_channels(connection, Wanted(stdin=True), "v4.channel.k8s.io")
    )
    number = 1
    for name in ("error", "error", *(f"kind{n}" for n in range(3000))):
        await connection.feed(client.open(number, {"streamtype": name}))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        number += 2
    await connection.feed(client.open(number, {"streamtype": "stdin"}))
    channels = await opening
    assert channels is not None
    assert len(connection._streams) == 2
    resets = [frame for frame in sent if frame[:4] == b"\x80\x03\x00\x03"]
    assert len(resets) == 3001
    await channels.finish(exited(0))
