"""Sockets that nobody else may open, and that nobody forgets."""

import asyncio
import socket
import stat
import threading
from pathlib import Path

import pytest

from kubelite.serving import unix_socket
from kubelite.serving.unix_socket import listen_privately, listening


async def test_it_listens_in_place_of_a_socket_that_was_left(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    listen_privately(path, 1).close()
    with await listening(path, 1) as listener:
        assert listener.getsockname() == str(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_call_that_is_cancelled_leaves_no_open_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, made = threading.Event(), list[socket.socket]()

    def slow(path: Path, backlog: int) -> socket.socket:
        go_on.wait(10)
        made.append(listen_privately(path, backlog))
        return made[0]

    monkeypatch.setattr(unix_socket, "listen_privately", slow)
    call = asyncio.create_task(listening(tmp_path / "socket", 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert made[0].fileno() == -1


async def test_what_fails_after_it_was_cancelled_is_nobodys_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    call = asyncio.create_task(listening(tmp_path / "file" / "socket", 1))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(FileExistsError):
        await listening(tmp_path / "file" / "socket", 1)
