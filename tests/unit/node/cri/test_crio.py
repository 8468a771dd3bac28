"""The settings of a CRI-O are read from its socket."""

import asyncio
import json
from pathlib import Path

import pytest

from kubelite.node.cri.crio import CONFIG_BYTES_MAX, UnknownConfig, read_config, with_folders
from kubelite.node.cri.preparation import examine


def test_its_folders_are_found_as_containerds_are() -> None:
    info = {"config": json.dumps({"sandboxImage": "pause:1", "crio": {}})}
    config = {"crio": {"network": {"network_dir": "/n", "plugin_dirs": ["/p", "/q"]}}}
    found = examine(with_folders(info, config))
    assert found.sandbox_image == "pause:1"
    assert (found.programs, found.networks) == (Path("/p"), Path("/n"))


@pytest.mark.parametrize("info", [{}, {"config": "no JSON"}, {"config": "[]"}])
def test_what_is_not_told_is_as_usual(info: dict[str, str]) -> None:
    found = examine(with_folders(info, {"crio": {"network": []}}))
    assert (found.programs, found.networks) == (Path("/opt/cni/bin"), Path("/etc/cni/net.d"))


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
        b"HTTP/1.1 200 OK\r\n\r\n" + b"#" * (CONFIG_BYTES_MAX + 1),
        b"HTTP/1.1 200 OK\r\n\r\nno settings",
        b"HTTP/1.1 200 OK\r\n\r\n\xff",
    ],
)
async def test_other_answers_are_no_settings(tmp_path: Path, answer: bytes) -> None:
    async with await _answering(tmp_path / "crio.sock", answer):
        with pytest.raises(UnknownConfig, match="does not tell its settings"):
            await asyncio.to_thread(read_config, tmp_path / "crio.sock")
