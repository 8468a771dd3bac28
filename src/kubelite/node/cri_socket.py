"""Asks whether an engine of CRI listens on a socket."""

import asyncio
from pathlib import Path

ANSWER_SECONDS = 2.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
SETTINGS_FRAME = 4


async def cri_answers(socket: Path) -> bool:
    """Return whether an engine of CRI answers on a socket, within `ANSWER_SECONDS`."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(PREFACE)
                return (await reader.readexactly(9))[3] == SETTINGS_FRAME
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
