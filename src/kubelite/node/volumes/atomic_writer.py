"""Updates the files of a volume atomically: a reader sees all of the old files or all of the new ones.

The layout is upstream's: the files live in a versioned folder, the symlink ``..data`` to it is replaced by one rename,
and each visible name is a symlink through ``..data``. A container may have redirected any of these symlinks, so they
are read, compared and replaced but never followed. Blocking: call it in a thread.
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
RESERVED = ".."  # prefix of the names of this layout, forbidden for the files of a volume


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
        folder: The volume's folder, which exists; no container can write to its parents.
        files: The files by relative path.
        version: A name for this version, unique in the folder.
        group: The group id that owns the files; None: the process's own.

    Raises:
        UnsafePath: A path is not relative, leaves the volume or conflicts with another one.
        OSError: The file system failed, such as a full disk.
    """
    if group is not None:
        # Members of the group can read all files, as for upstream's read-only volumes.
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
        # Without the removal each retry would fill a full disk further.
        with suppress(OSError):
            remove(home, folder)
        raise
    _link_names(folder, tree)
    for name in [name for name in names_in(folder) if name.startswith(RESERVED)]:
        if name not in {DATA_LINK, home}:
            remove(name, folder)


def _tree_of(files: Mapping[str, File]) -> Tree:
    """Return the files as nested folders. Raises UnsafePath."""
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
    """Return the target of a symlink, not followed; None if it is no symlink."""
    try:
        return os.readlink(link, dir_fd=folder)
    except OSError:
        return None


def _shows(folder: int, tree: Tree) -> bool:
    """Return whether the volume already has exactly these files, with their modes."""
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
            return False  # stop at the first: a container may have created millions
        count += 1
    return count == len(tree) and all(_is(folder, name, kept) for name, kept in tree.items())


def _is(folder: int, name: str, kept: "File | Tree") -> bool:
    if isinstance(kept, File):
        return holds(name, folder, kept.data, kept.mode)
    with opened_folder(name, folder) as inner:
        return _holds(inner, kept)


def _link(folder: int, name: str, target: str) -> None:
    """Replace a name by a symlink in one rename, also if it is a folder."""
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
