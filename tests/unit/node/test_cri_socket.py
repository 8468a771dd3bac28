"""Whether an engine of CRI answers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kubelite.grpc.method import Method
from kubelite.grpc.server import GrpcServer, Handler
from kubelite.grpc.status import Code, GrpcError
from kubelite.node import cri_socket
from kubelite.node.cri.messages import VERSION, Nothing, VersionResponse
from kubelite.node.cri_socket import cri_answers


async def says(request: Nothing) -> VersionResponse:
    del request
    return VersionResponse("0.1.0", "containerd", "1.6.20")


async def refuses(request: Nothing) -> VersionResponse:
    del request
    raise GrpcError(Code.UNKNOWN, "server is not initialized yet")


async def hangs(request: Nothing) -> VersionResponse:
    await asyncio.Event().wait()
    return await says(request)


@pytest.mark.parametrize(
    ("handlers", "does"),
    [({VERSION: says}, True), ({VERSION: refuses}, False), ({VERSION: hangs}, False), ({}, False)],
)
async def test_an_engine_answers_that_says_its_version(
    tmp_path: Path,
    handlers: dict[Method[Any, Any], Handler],
    does: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cri_socket, "ANSWER_SECONDS", 0.5)
    server = GrpcServer(tmp_path / "socket", handlers)
    await server.start()
    try:
        assert await cri_answers(tmp_path / "socket") is does
    finally:
        await server.stop()


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 40, b"\0\0\0\4\0\0\0\0\0" * 1000]
)
async def test_anything_else_does_not(
    tmp_path: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cri_socket, "ANSWER_SECONDS", 0.5)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_unix_server(serve, tmp_path / "socket"):
        assert not await cri_answers(tmp_path / "socket")


async def test_an_absent_socket_does_not(tmp_path: Path) -> None:
    assert not await cri_answers(tmp_path / "absent")
