"""How much room there is for new volumes on this node's disk for them, as far as it must be told."""

import asyncio
from pathlib import Path

from kubelite.api.machinery.local_volumes import room_told
from kubelite.node.usage_files import read_filesystem

READ_SECONDS = 1.0


class StorageRoom:
    """Reads it again each time it is called; a disk that hangs keeps nobody waiting, and is not asked twice."""

    def __init__(self, folder: Path) -> None:
        """`folder` is that of the volumes; it need not exist yet."""
        self._folder = folder
        self._reading: asyncio.Future[str | None] | None = None
        self._told: str | None = None

    async def __call__(self) -> str | None:
        """Return what to tell, as `room_told` does; None while it is not known."""
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(None, _read, self._folder)
        await asyncio.wait([self._reading], timeout=READ_SECONDS)
        if self._reading.done():
            self._told, self._reading = self._reading.result(), None
        return self._told


def _read(folder: Path) -> str | None:
    """Read the file system that a folder is, or will be, on. Blocking."""
    for place in (folder, *folder.parents):
        found = read_filesystem(place)
        if found is not None:
            return room_told(found.capacity_bytes, found.available_bytes)
    return None
