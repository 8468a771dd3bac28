"""Log frames of the Docker API."""

import struct
from collections.abc import AsyncIterator

from kubelite.node.docker_logs import read_log
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
