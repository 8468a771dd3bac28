"""Writes the files of a volume so that a reader sees all of the old ones or all of the new ones.

As upstream lays it out, the files live in a folder of their own, ``..data`` is a link to it that one rename replaces,
and each visible name is a link through ``..data``. Blocking: call it in a thread.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

DATA_LINK = "..data"
NEW_LINK = "..data_tmp"


class File(Struct, frozen=True):
    """One file of a volume."""

    data: bytes
    mode: int = 0o644


def write_atomically(
    folder: Path, files: Mapping[str, File], version: str, group: int | None = None
) -> bool:
    """Make `folder` hold exactly `files`, keyed by relative path; return whether anything changed.

    Args:
        folder: The volume's folder, which exists.
        files: What it shall hold.
        version: A name, unique in the folder, for this version of it.
        group: The group that owns the files, if not the process's own.
    """
    if (
        group is not None
    ):  # whose members can read all files, as upstream has it for read-only volumes
        files = {name: File(file.data, file.mode | 0o440) for name, file in files.items()}
    if _current(folder) == files:
        return False
    home = folder / f"..{version}"
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    for relative, file in files.items():
        _write(home, relative, file, group)
    old = _target(folder)
    new_link = folder / NEW_LINK
    new_link.unlink(missing_ok=True)
    new_link.symlink_to(home.name)
    new_link.replace(folder / DATA_LINK)
    _link_names(folder, files)
    if old is not None and old != home:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _write(home: Path, relative: str, file: File, group: int | None) -> None:
    path = home / relative
    if home not in path.resolve().parents:
        raise ValueError(f"path {relative!r} leaves the volume")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A Secret must not be readable by others even for the moment before it has its mode.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(file.data)
        if group is not None:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, file.mode)


def _target(folder: Path) -> Path | None:
    link = folder / DATA_LINK
    return folder / link.readlink() if link.is_symlink() else None


def _current(folder: Path) -> dict[str, File] | None:
    home = _target(folder)
    if home is None or not home.is_dir():
        return None
    return {
        str(path.relative_to(home)): File(path.read_bytes(), path.stat().st_mode & 0o7777)
        for path in home.rglob("*")
        if path.is_file()
    }


def _link_names(folder: Path, files: Mapping[str, File]) -> None:
    wanted = {relative.split("/", 1)[0] for relative in files}
    for name in wanted:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA_LINK}/{name}")
    for path in folder.iterdir():
        if path.is_symlink() and path.name not in wanted and not path.name.startswith(".."):
            path.unlink()
