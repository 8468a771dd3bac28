"""Programs that load images where the interface cannot."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kubelite.node.cri import image_programs
from kubelite.node.cri.image_programs import Ctr, Podman, read_config, reason_of, storage_flags
from kubelite.node.runtime import RuntimeFailure


@pytest.mark.parametrize(
    ("config", "flags"),
    [
        (
            {
                "crio": {
                    "root": "/r",
                    "runroot": "/s",
                    "storage_driver": "overlay",
                    "imagestore": "",
                }
            },
            ["--root=/r", "--runroot=/s", "--storage-driver=overlay"],
        ),
        (
            {"crio": {"root": "/r", "storage_option": ["overlay.mountopt=nodev", 7]}},
            ["--root=/r", "--storage-opt=overlay.mountopt=nodev"],
        ),
        ({"crio": []}, []),
        ({}, []),
    ],
)
def test_podman_uses_the_folders_of_crio(config: dict[str, Any], flags: list[str]) -> None:
    assert storage_flags(config) == flags


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        (b"ctr: no such file\n", "no such file"),
        (b"Getting image\nError: payload does not match\n", "payload does not match"),
        (b"plain\n", "plain"),
        (b"\xff", "\ufffd"),
    ],
)
def test_the_reason_is_what_the_program_says_last(errors: bytes, reason: str) -> None:
    assert reason_of(errors) == reason


@pytest.mark.parametrize("program", [Ctr, Podman])
async def test_a_program_that_is_not_installed_is_named(
    program: type[Ctr] | type[Podman], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeFailure, match=r"program (ctr|podman) .*is not installed"):
        await program(tmp_path / "engine.sock").load(tmp_path / "image.tar")


async def _answering(path: Path, answer: bytes) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        assert request.startswith(b"GET /config HTTP/1.1\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(serve, path)


async def test_crio_tells_its_settings_at_its_socket(tmp_path: Path) -> None:
    text = b'[crio]\nroot = "/r"\n'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
    server = await _answering(tmp_path / "crio.sock", answer)
    async with server:
        found = await asyncio.to_thread(read_config, tmp_path / "crio.sock")
    assert found == {"crio": {"root": "/r"}}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"#" * (image_programs.CONFIG_BYTES_MAX + 1),
        b"HTTP/1.1 200 OK\r\n\r\nno settings",
        b"HTTP/1.1 200 OK\r\n\r\n\xff",
    ],
)
async def test_other_answers_are_no_settings(tmp_path: Path, answer: bytes) -> None:
    async with await _answering(tmp_path / "crio.sock", answer):
        with pytest.raises(ValueError):  # noqa: PT011 - what it says is of the decoder
            await asyncio.to_thread(read_config, tmp_path / "crio.sock")
