"""Writes the files of a volume so that a reader sees all of the old ones or all of the new ones.

As upstream lays it out, the files live in a folder of their own, ``..data`` is a link to it that one rename replaces,
and each visible name is a link through ``..data``. A container may have turned any of these links: they are read as
names, compared, and replaced, but never followed. Blocking: call it in a thread.
"""

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from kubelite.node.untrusted_files import (
    UnsafePath,
    create_file,
    holds,
    is_name,
    names_in,
    names_of,
    opened_below,
    opened_folder,
    remove,
)

DATA_LINK = "..data"
NEW_LINK = "..data_tmp"
RESERVED = ".."  # what the names of this layout begin with, and no file of a volume may


class File(Struct, frozen=True):
    """One file of a volume."""

    data: bytes
    mode: int = 0o644


Tree: TypeAlias = "dict[str, File | Tree]"


def write_atomically(
    folder: Path, files: Mapping[str, File], version: str, group: int | None = None
) -> bool:
    """Make `folder` hold exactly `files`, keyed by relative path; return whether anything changed.

    Args:
        folder: The volume's folder, which exists; no container can write to those above it.
        files: What it shall hold.
        version: A name, unique in the folder, for this version of it.
        group: The group that owns the files, if not the process's own.

    Raises:
        UnsafePath: A relative path is none, or leaves the volume.
        OSError: The file system refused.
    """
    if group is not None:
        # Its members can read all files, as upstream has it for read-only volumes.
        files = {name: File(file.data, file.mode | 0o440) for name, file in files.items()}
    tree = _tree_of(files)
    with opened_folder(folder) as opened:
        if _shows(opened, tree):
            return False
        _replace(opened, tree, RESERVED + version, group)
    return True


def _replace(folder: int, tree: Tree, home: str, group: int | None) -> None:
    os.mkdir(home, 0o755, dir_fd=folder)
    try:
        with opened_folder(home, folder) as opened:
            _write(opened, tree, group)
        _link(folder, DATA_LINK, home)
    except OSError:
        # A full disk would else get fuller with each try.
        with suppress(OSError):
            remove(home, folder)
        raise
    _link_names(folder, tree)
    for name in [name for name in names_in(folder) if name.startswith(RESERVED)]:
        if name not in {DATA_LINK, home}:
            remove(name, folder)


def _tree_of(files: Mapping[str, File]) -> Tree:
    """Return the files as folders in folders; raises UnsafePath."""
    tree: Tree = {}
    for relative, file in files.items():
        *folders, last = names_of(relative)
        place = tree
        for name in folders:
            inner = place.setdefault(name, {})
            if isinstance(inner, File):
                raise UnsafePath(f"path {relative!r} leads through a file")
            place = inner
        if isinstance(place.get(last), dict):
            raise UnsafePath(f"path {relative!r} is a folder")
        place[last] = file
    for name in tree:
        if name.startswith(RESERVED):
            raise UnsafePath(f"path {name!r} is a name that the volume itself uses")
    return tree


def _write(folder: int, tree: Tree, group: int | None) -> None:
    os.fchmod(folder, 0o755)
    for name, kept in tree.items():
        if isinstance(kept, File):
            create_file(name, folder, kept.data, kept.mode, group)
        else:
            with opened_below((name,), folder, 0o755) as inner:
                _write(inner, kept, group)


def _target(folder: int, link: str) -> str | None:
    """Return where a link says that it leads; None if it is no link."""
    try:
        return os.readlink(link, dir_fd=folder)
    except OSError:
        return None


def _shows(folder: int, tree: Tree) -> bool:
    """Return whether the volume shows just these files already."""
    home = _target(folder, DATA_LINK)
    if home is None or not is_name(home) or not home.startswith(RESERVED):
        return False
    try:
        with opened_folder(home, folder) as opened:
            is_alike = _holds(opened, tree)
    except OSError:
        return False
    return is_alike and all(_target(folder, name) == f"{DATA_LINK}/{name}" for name in tree)


def _holds(folder: int, tree: Tree) -> bool:
    count = 0
    for name in names_in(folder):
        if name not in tree:
            return False  # at once: a container may have put millions there
        count += 1
    return count == len(tree) and all(_is(folder, name, kept) for name, kept in tree.items())


def _is(folder: int, name: str, kept: "File | Tree") -> bool:
    if isinstance(kept, File):
        return holds(name, folder, kept.data, kept.mode)
    with opened_folder(name, folder) as inner:
        return _holds(inner, kept)


def _link(folder: int, name: str, target: str) -> None:
    """Make a name a link by one rename, whatever had it."""
    remove(NEW_LINK, folder)
    os.symlink(target, NEW_LINK, dir_fd=folder)
    try:
        os.rename(NEW_LINK, name, src_dir_fd=folder, dst_dir_fd=folder)
    except IsADirectoryError:
        remove(name, folder)
        os.rename(NEW_LINK, name, src_dir_fd=folder, dst_dir_fd=folder)


def _link_names(folder: int, wanted: Tree) -> None:
    for name in wanted:
        target = f"{DATA_LINK}/{name}"
        if _target(folder, name) != target:
            _link(folder, name, target)
    for name in [name for name in names_in(folder) if not name.startswith(RESERVED)]:
        if name not in wanted and _is_link(folder, name):
            os.unlink(name, dir_fd=folder)


def _is_link(folder: int, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
