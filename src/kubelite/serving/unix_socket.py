"""Listens on Unix sockets that nobody else may open."""

import asyncio
import socket
from contextlib import suppress
from os import fchmod
from pathlib import Path


def listen_privately(path: Path, backlog: int) -> socket.socket:
    """Return a listening socket that only its owner can open, in place of one that a killed process left. Blocks.

    Folders on the way are made, for their owner alone. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        fchmod(listener.fileno(), 0o600)  # before it has a name: there is no moment for others
        listener.bind(str(path))
        listener.listen(backlog)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


async def listening(path: Path, backlog: int) -> socket.socket:
    """Do as `listen_privately` in a thread; a call that is cancelled leaves no socket. Raises OSError."""
    made = asyncio.ensure_future(asyncio.to_thread(listen_privately, path, backlog))  # noqa: TID251 - awaited right here
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        with suppress(OSError):
            (await made).close()  # the thread goes on, and nobody else knows what it makes
        raise
