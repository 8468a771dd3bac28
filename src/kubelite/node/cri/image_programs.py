"""Loads and names images by programs of the host, for which the Container Runtime Interface has no calls.

containerd comes with `ctr`. CRI-O keeps its images in containers-storage, which Podman shares: it is told CRI-O's
folders, which CRI-O tells on its socket.
"""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from kubelite.node.cri.crio import UnknownConfig, read_config
from kubelite.node.runtime import RuntimeFailure
from kubelite.spawn import ProgramFailed, run_program

NAMESPACE: Final = "k8s.io"  # in which containerd keeps what belongs to the interface
LOAD_SECONDS: Final = 3600.0
_TEXTS: Final = {
    "root": "--root",
    "runroot": "--runroot",
    "storage_driver": "--storage-driver",
    "imagestore": "--imagestore",
}


class ImageProgram(Protocol):
    """What does to an engine's images that for which the interface has no call; all raise RuntimeFailure."""

    async def load(self, archive: Path) -> None:
        """Bring in the images of an archive."""
        ...

    async def tag(self, source: str, name: str) -> None:
        """Give an image another name."""
        ...


class Ctr:
    """containerd's own program."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def load(self, archive: Path) -> None:
        """Bring in the images of an archive."""
        await self("import", "--all-platforms", str(archive), what="load image")

    async def tag(self, source: str, name: str) -> None:
        """Give an image another name."""
        await self("tag", "--force", source, name, what="name image")

    async def targets(self) -> dict[str, str]:
        """Return the digest that each name of containerd's own list of images stands for."""
        return targets_in(await self("list", what="list images"))

    async def __call__(self, *arguments: str, what: str) -> bytes:
        """Run one of its commands on images and return its output; `what` completes the sentence of its failure."""
        program = shutil.which("ctr")
        if program is None:
            raise RuntimeFailure(f"cannot {what}: the program ctr of containerd is not installed")
        line = [program, f"--address={self._socket}", f"--namespace={NAMESPACE}", "images"]
        return await _run([*line, *arguments], what)


class Podman:
    """Podman, on the storage of a CRI-O."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def load(self, archive: Path) -> None:
        """Bring in the images of an archive."""
        await self("load", "--quiet", f"--input={archive}", what="load image")

    async def tag(self, source: str, name: str) -> None:
        """Give an image another name."""
        await self("tag", source, name, what="name image")

    async def __call__(self, *arguments: str, what: str) -> None:
        """Run one of its commands; `what` completes the sentence of its failure."""
        program = shutil.which("podman")
        if program is None:
            raise RuntimeFailure(
                f"cannot {what}: CRI-O has no call for it, and the program podman is not installed"
            )
        try:
            config = await asyncio.to_thread(read_config, self._socket)
        except UnknownConfig as error:
            raise RuntimeFailure(f"cannot {what}: {error}") from error
        # Another Podman's state, if any, must not be mixed with it.
        await _run([program, *storage_flags(config), *arguments], what)


def storage_flags(config: dict[str, Any]) -> list[str]:
    """Return the flags by which Podman uses the storage that CRI-O's settings name. Pure."""
    crio = config.get("crio")
    crio = crio if isinstance(crio, dict) else {}
    flags = [
        f"{flag}={value}"
        for name, flag in _TEXTS.items()
        if isinstance(value := crio.get(name), str) and value
    ]
    options = crio.get("storage_option")
    return flags + [f"--storage-opt={one}" for one in options or () if isinstance(one, str)]


def targets_in(table: bytes) -> dict[str, str]:
    """Return the digests by name in a table of `ctr images list`: name, media type, digest, and more. Pure."""
    rows = (row.split() for row in table.decode("utf-8", "replace").splitlines()[1:])
    return {row[0]: row[2] for row in rows if len(row) > 2}


async def _run(line: Sequence[str], what: str) -> bytes:
    try:
        done = await run_program(line, timeout_seconds=LOAD_SECONDS)
    except ProgramFailed as error:
        raise RuntimeFailure(f"cannot {what}: {error}") from error
    if done.code:
        raise RuntimeFailure(f"cannot {what}: {reason_of(done.errors)}")
    return done.output


def reason_of(errors: bytes) -> str:
    """Return why a program failed, by what it has written to its standard error."""
    text = errors.decode("utf-8", "replace").strip()
    return text.rpartition("ctr: ")[2].rpartition("Error: ")[2]
