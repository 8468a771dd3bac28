"""Images that an administrator puts into a folder of the node, as archives."""

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from kubelite.folder_watch import FolderWatch, is_being_written
from kubelite.node.image_files import open_archive
from kubelite.node.images.archive_names import names_in_archive
from kubelite.node.images.compressed_archives import (
    COMPRESSED,
    Incompressible,
    leftovers,
    uncompressed,
)
from kubelite.node.images.names import full_name
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, Image, RuntimeFailure

log = logging.getLogger(__name__)

SUFFIXES = (".tar", *COMPRESSED)
FOLDER_MODE = 0o700
RETRY_SECONDS = 20.0  # after the folder could not be followed

Archive = tuple[Path, float]  # and when it was modified


class LocalImages:
    """Image archives in a folder, loaded once per change, and again after the engine lost images."""

    def __init__(self, folder: Path, runtime: ContainerRuntime) -> None:
        self._folder = folder
        self._runtime = runtime
        self._lock = asyncio.Lock()
        self._is_ready = asyncio.Event()
        self._loaded: set[Archive] = set()
        self._names_in: dict[Archive, frozenset[str]] = {}
        self._had: frozenset[str] = frozenset()  # ids of the engine's images after the last load
        self._names: frozenset[str] = frozenset()  # of the images in the archives

    def has(self, image: Image) -> bool:
        """Return whether an image has the name of one in the archives, so that it is never removed to make room."""
        return any(full_name(name) in self._names for name in image.names)

    async def load(self) -> None:
        """Load the archives that are new or were modified; a failure is logged and not retried.

        Raises EngineUnavailable.
        """
        async with self._lock:
            if self._had - await self._present():
                self._loaded.clear()  # the engine was replaced or emptied
            await self._load_new(frozenset())
            self._had = await self._present()
        self._is_ready.set()

    async def run(self) -> None:
        """Load archives that are put into the folder, once they are written, until cancelled.

        Begins after the first `load`, since before it the engine may not be ready.
        """
        await self._is_ready.wait()
        news = asyncio.Event()
        watch = FolderWatch(self._folder, news.set)
        try:
            while True:
                news.clear()
                try:
                    if not watch.is_open:
                        await asyncio.to_thread(_make, self._folder)
                        watch.open()
                    async with self._lock:
                        await self._load_new(frozenset(watch.unsettled))
                except OSError as error:
                    log.warning("cannot follow the folder of images: %s", error)
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                await news.wait()
        finally:
            watch.close()

    async def _present(self) -> frozenset[str]:
        return frozenset(image.id for image in await self._runtime.images())

    async def _load_new(self, unsettled: frozenset[str]) -> None:
        """Load the archives that were not loaded, but for those that are being written; raises OSError."""
        found = await asyncio.to_thread(_archives, self._folder)
        for archive in found:
            path = archive[0]
            if archive in self._loaded or path.name in unsettled:
                continue
            if await asyncio.to_thread(_is_being_written, path):
                continue  # the end of the writing is told
            self._loaded.add(archive)
            try:
                await self._load(archive)
            except EngineUnavailable as error:
                self._loaded.discard(archive)  # `load` is called when the engine is back
                log.warning("cannot load image", extra={"file": path, "reason": str(error)})
            except (OSError, RuntimeFailure, Incompressible) as error:
                log.warning("cannot load image", extra={"file": path, "reason": str(error)})
            else:
                log.info("image loaded", extra={"file": path.name})
        self._loaded &= set(found)
        self._names_in = {one: self._names_in[one] for one in found if one in self._names_in}
        self._names = frozenset(_all(self._names_in.values()))

    async def _load(self, archive: Archive) -> None:
        async with uncompressed(archive[0]) as plain:
            names = await asyncio.to_thread(names_in_archive, plain)
            # Before the end of the load, since images may be removed to make room meanwhile.
            self._names_in[archive] = names
            self._names |= names
            await self._runtime.load(plain)


def _all(names: Iterable[frozenset[str]]) -> set[str]:
    return {one for some in names for one in some}


def _is_being_written(path: Path) -> bool:
    with suppress(OSError), open_archive(path) as file:
        return is_being_written(file.fileno())
    return False  # what is wrong with the file is told when it is loaded


def _make(folder: Path) -> None:
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def _archives(folder: Path) -> list[Archive]:
    """Return the archives in a folder, and remove what a process that was killed has left."""
    if not folder.is_dir():
        return []
    for left in leftovers(folder):
        left.unlink(missing_ok=True)
    return [
        (path, path.stat().st_mtime)
        for path in sorted(folder.iterdir())
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".")
    ]
