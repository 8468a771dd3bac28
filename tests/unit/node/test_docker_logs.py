"""Log frames of the Docker API."""

import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kubelite.limits import LOG_FRAME
from kubelite.node import docker_logs
from kubelite.node.docker_logs import MESSAGE_BYTES, read_log
from kubelite.node.runtime import LogEntry


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _frame(stream: int, line: bytes) -> bytes:
    return struct.pack(">BxxxL", stream, len(line)) + line


async def test_frames_are_put_together_from_any_pieces() -> None:
    whole = _frame(1, b"T1 out\n") + _frame(2, b"T2 \xff\n")
    expected = [LogEntry("T1", "stdout", b"out\n"), LogEntry("T2", "stderr", b"\xff\n")]
    for size in (1, 3, 8, 100):
        cut = [whole[start : start + size] for start in range(0, len(whole), size)]
        assert [entry async for entry in read_log(_pieces(*cut), tty=False)] == expected


async def test_a_terminal_has_plain_lines() -> None:
    entries = [entry async for entry in read_log(_pieces(b"T1 a\nT2", b" b"), tty=True)]
    assert entries == [LogEntry("T1", "stdout", b"a\n"), LogEntry("T2", "stdout", b"b")]


STAMP = "2026-05-01T12:00:00.12345678{}Z"


def _logged(*messages: bytes) -> bytes:
    """Write messages as the engine does: each with its timestamp, also one that ends no line."""
    return b"".join(
        f"{STAMP.format(number % 10)} ".encode() + message
        for number, message in enumerate(messages)
    )


@pytest.mark.parametrize("size", [1, 7, 100, 20_000, 1 << 20])
async def test_a_line_longer_than_the_engines_buffer_comes_in_messages(size: int) -> None:
    full = b"x" * MESSAGE_BYTES
    whole = _logged(full, full, b"end\r\n", b"prompt\r> \n", full)
    cut = [whole[start : start + size] for start in range(0, len(whole), size)]
    entries = [entry async for entry in read_log(_pieces(*cut), tty=True)]
    assert [(e.timestamp, e.data) for e in entries] == [
        (STAMP.format(0), full),
        (STAMP.format(1), full),
        (STAMP.format(2), b"end\r\n"),
        (STAMP.format(3), b"prompt\r> \n"),
        (STAMP.format(4), full),
    ]


@pytest.mark.parametrize("byte", [b"x", b" ", b"\r", b"\xff"])
async def test_a_log_without_line_feeds_is_neither_held_nor_searched_anew(byte: bytes) -> None:
    held: list[int] = []
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(300):
            given += 1000
            yield byte * 1000

    out = 0
    async for entry in read_log(endless(), tty=True):
        out += len(entry.data)
        held.append(given - out)
    assert max(held) <= 2 * MESSAGE_BYTES
    assert out >= 300_000 - 64  # what a timestamp was taken for


async def test_each_byte_of_a_terminals_log_is_searched_a_few_times() -> None:
    searched = 0

    class Counted(bytearray):
        def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
            nonlocal searched
            found = super().find(sub, start, len(self) if end is None else end)
            searched += (found if found >= 0 else min(len(self), end or len(self))) - start
            return found

    messages = docker_logs._Messages()
    buffer = messages._buffer = Counted()
    for _ in range(3000):
        list(messages.feed(b"x" * 10))
    assert messages._buffer is buffer
    assert 30_000 <= searched <= 3 * 30_000


async def test_a_frame_beyond_the_limit_is_refused() -> None:
    head = struct.pack(">BxxxL", 1, LOG_FRAME.value + 1)
    with pytest.raises(ValueError, match="beyond all limits"):
        [entry async for entry in read_log(_pieces(head), tty=False)]
