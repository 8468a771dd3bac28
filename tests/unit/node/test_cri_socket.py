"""Whether an engine of CRI answers."""

import asyncio
from pathlib import Path

import pytest

from kubelite.node import cri_socket
from kubelite.node.cri_socket import DATA, END_STREAM, HEADERS, SETTINGS, _frame, cri_answers

HELLO = _frame(SETTINGS, 0, 0, b"") + _frame(SETTINGS, 1, 0, b"")
ANSWERED = HELLO + _frame(HEADERS, 4, 1, b"h") + _frame(DATA, 0, 1, b"\0\0\0\0\2..")


async def asked(folder: Path, answer: bytes) -> tuple[bool, bytes]:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(4096))
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, folder / "socket"):
        return await cri_answers(folder / "socket"), bytes(heard)


async def test_an_answer_with_a_message_counts(tmp_path: Path) -> None:
    does, heard = await asked(tmp_path, ANSWERED)
    assert does
    assert heard.startswith(cri_socket.PREFACE)
    assert b"/runtime.v1.RuntimeService/Version" in heard


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        HELLO,
        HELLO + _frame(HEADERS, 4 | END_STREAM, 1, b"grpc-status 12"),
        HELLO + _frame(HEADERS, 4, 1, b"h") + _frame(HEADERS, 4 | END_STREAM, 1, b"grpc-status 2"),
        HELLO + _frame(DATA, END_STREAM, 1, b""),
        HELLO + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        _frame(SETTINGS, 0, 0, b"") * 1000 + ANSWERED,
        ANSWERED[:-3],
    ],
)
async def test_anything_else_does_not(tmp_path: Path, answer: bytes) -> None:
    assert not (await asked(tmp_path, answer))[0]


async def test_an_absent_socket_does_not(tmp_path: Path) -> None:
    assert not await cri_answers(tmp_path / "absent")
