"""Exec and attach between a process and its client."""

import asyncio
from typing import Any

import pytest

from kubelite.node.runtime import StreamName
from kubelite.node.streams import (
    SPDY_PROTOCOLS,
    Input,
    choose_protocol,
    converse,
    exited,
    read_size,
)


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


class FakeChannels:
    """A client that sends what it was given."""

    def __init__(self, *inputs: Input | None) -> None:
        self._inputs = list(inputs)
        self.sent: list[tuple[StreamName, bytes]] = []
        self.status: dict[str, Any] | None = None

    async def receive(self) -> Input | None:
        if not self._inputs:
            await asyncio.Event().wait()
        return self._inputs.pop(0)

    async def send(self, stream: StreamName, data: bytes) -> None:
        self.sent.append((stream, data))

    async def finish(self, status: dict[str, Any]) -> None:
        self.status = status


async def test_input_goes_in_output_and_the_exit_code_come_out() -> None:
    session = FakeSession()
    channels = FakeChannels(Input(size=(80, 24)), Input(b"hello"), Input(is_end=True))
    await converse(session, channels)
    assert session.size == (80, 24)
    assert channels.sent == [("stdout", b"hello")]
    assert channels.status is not None
    assert channels.status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert session.is_closed


async def test_a_client_that_leaves_lets_go_of_the_process() -> None:
    session, channels = FakeSession(), FakeChannels(None)
    await converse(session, channels)
    assert channels.status is None
    assert session.is_closed


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
    ],
)
def test_read_size(data: bytes, size: tuple[int, int] | None) -> None:
    assert read_size(data) == size
