"""Writes files that hold secrets atomically, and reports which other users may read or write a file."""

import os
import stat
from pathlib import Path

from msgspec import Struct

FOLDER_MODE = 0o700
SECRET_MODE = 0o600
PUBLIC_MODE = 0o644


def make_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; set that mode on an existing one, too. Blocks."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder.chmod(FOLDER_MODE)


def temporary_of(path: Path) -> Path:
    """Return the file that `write_file` writes first, which a crash may leave behind."""
    return path.with_name(f".{path.name}.new")


def write_file(
    path: Path, content: bytes, *, mode: int = SECRET_MODE, group: int | None = None
) -> None:
    """Replace a file atomically and durably: a crash leaves either the old content or the new. Blocks."""
    temporary = temporary_of(path)
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode & SECRET_MODE)
    with os.fdopen(descriptor, "wb") as file:
        if (
            group is not None
        ):  # before the mode, else the group of this process might read it meanwhile
            os.fchown(file.fileno(), -1, group)
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


class Exposure(Struct, frozen=True):
    """The mode of a file, and its owner if that is neither this user nor root."""

    mode: int
    stranger: int | None = None  # the user id of an owner who is neither this user nor root

    def readers(self) -> str:
        """Return who else may read or write it: ``anybody``, ``its group``, ``user 1000``; "": only the owner."""
        return self._who(stat.S_IROTH | stat.S_IWOTH, stat.S_IRGRP | stat.S_IWGRP)

    def writers(self) -> str:
        """Return who else may write it, as `readers` names them."""
        return self._who(stat.S_IWOTH, stat.S_IWGRP)

    def _who(self, others: int, group: int) -> str:
        if self.mode & others:
            return "anybody"
        if self.stranger is not None:
            return f"user {self.stranger}"
        return "its group" if self.mode & group else ""


def read_with_exposure(path: Path) -> tuple[bytes, Exposure]:
    """Return a file's content and the exposure of the same open file; raises OSError. Blocks."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        owner = None if status.st_uid in (0, os.geteuid()) else status.st_uid
        return file.read(), Exposure(stat.S_IMODE(status.st_mode), owner)


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable. Blocks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
