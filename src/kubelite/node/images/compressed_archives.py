"""Archives of images that are compressed, written out for the engine beside themselves."""

import asyncio
import gzip
import shutil
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from kubelite.node.image_files import open_archive
from kubelite.spawn import ProgramFailed, ProgramMissing, run_program

GZIP, ZSTD = (".tar.gz", ".tgz"), (".tar.zst",)
COMPRESSED = (*GZIP, *ZSTD)
ZSTD_SECONDS = 600.0  # for an archive of some gigabytes on a slow disk
PIECE_BYTES = 1 << 20
PLAIN = ".tar"  # put behind the name of a compressed one, and a dot before it


def leftovers(folder: Path) -> list[Path]:
    """Return the plain archives in a folder; call it while none is in use."""
    ends = tuple(f"{suffix}{PLAIN}" for suffix in COMPRESSED)
    return [one for one in folder.iterdir() if one.name.startswith(".") and one.name.endswith(ends)]


class Incompressible(Exception):
    """An archive cannot be uncompressed; `str()` says why."""


@asynccontextmanager
async def uncompressed(path: Path) -> AsyncIterator[Path]:
    """Give the path of an archive as a plain tar for as long as the context lasts.

    Raises Incompressible, and OSError, as when the disk has no room for it.
    """
    if not path.name.endswith(COMPRESSED):
        yield path
        return
    plain = path.with_name(f".{path.name}{PLAIN}")
    try:
        if path.name.endswith(GZIP):
            await asyncio.to_thread(_gunzip, path, plain)
        else:
            await _unzstd(path, plain)
        yield plain
    finally:
        # Shielded, since a thread's work that is cancelled before it begins is not done.
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(None, partial(plain.unlink, missing_ok=True)))


def _gunzip(path: Path, plain: Path) -> None:
    try:
        with (
            open_archive(path) as packed,
            gzip.GzipFile(fileobj=packed) as source,
            plain.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, PIECE_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Incompressible(f"it is no whole gzip file: {error}") from None


async def _unzstd(path: Path, plain: Path) -> None:
    # Python 3.11 cannot read zstd, and a library for it would be on every node for the few that need it.
    await asyncio.to_thread(lambda: open_archive(path).close())  # says what is wrong with the file
    command = ("zstd", "--decompress", "--force", "--quiet", "-o", str(plain), "--", str(path))
    try:
        done = await run_program(command, timeout_seconds=ZSTD_SECONDS)
    except ProgramMissing:
        raise Incompressible("the program zstd is not installed; install it, or use gzip") from None
    except ProgramFailed as error:
        raise Incompressible(str(error)) from None
    if done.code:
        raise Incompressible(done.errors.decode(errors="replace").strip() or "zstd failed")
