"""Images that an administrator puts into a folder of the node, as archives."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

from kubelite.node.images.archive_names import names_in_archive
from kubelite.node.images.names import full_name
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, Image, RuntimeFailure
from kubelite.progress import BYTES, SILENT, Progress, amount, size_of

log = logging.getLogger(__name__)


class LocalImages:
    """Image archives (``*.tar``) in a folder, loaded once per change, and again after the engine lost images."""

    def __init__(
        self, folder: Path, runtime: ContainerRuntime, progress: Progress = SILENT
    ) -> None:
        self._folder = folder
        self._runtime = runtime
        self._progress = progress
        self._loaded: set[tuple[Path, float]] = set()
        self._had: frozenset[str] = frozenset()  # ids of the engine's images after the last load
        self._names: frozenset[str] = frozenset()  # of the images in the archives

    def has(self, image: Image) -> bool:
        """Return whether an image has the name of one in the archives, so that it is never removed to make room."""
        return any(full_name(name) in self._names for name in image.names)

    async def load(self) -> None:
        """Load the archives that are new or were modified; a failure is logged and not retried.

        Raises EngineUnavailable.
        """
        if self._had - await self._present():
            self._loaded.clear()  # the engine was replaced or emptied
        await self._load_new()
        self._had = await self._present()

    async def _present(self) -> frozenset[str]:
        return frozenset(image.id for image in await self._runtime.images())

    async def _load_new(self) -> None:
        found = await asyncio.to_thread(_archives, self._folder)
        if not self._loaded.issuperset(found):
            self._names = await asyncio.to_thread(_names, [path for path, _ in found])
        for path, changed in found:
            if (path, changed) in self._loaded:
                continue
            self._loaded.add((path, changed))
            size = await asyncio.to_thread(size_of, path)
            log.info("loading image", extra={"file": path.name, "size": amount(size, BYTES)})
            try:
                with self._progress.step(f"load {path.name} ({amount(size, BYTES)})"):
                    await self._runtime.load(path)
            except (OSError, RuntimeFailure, EngineUnavailable) as error:
                log.warning("cannot load image", extra={"file": path, "reason": str(error)})
            else:
                log.info("image loaded", extra={"file": path.name})


def _names(paths: Iterable[Path]) -> frozenset[str]:
    return frozenset(name for path in paths for name in names_in_archive(path))


def _archives(folder: Path) -> list[tuple[Path, float]]:
    if not folder.is_dir():
        return []
    return [(path, path.stat().st_mtime) for path in sorted(folder.glob("*.tar"))]
