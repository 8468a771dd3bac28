"""The folders of provisioned volumes, directly below one folder of this node. Blocking: call it in a thread.

Containers write in such a folder but never beside it, so a name below the top is reached by one step from its
descriptor. What is mounted in a folder is somebody's data, so it is never removed.
"""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kubelite.node.untrusted_files import is_name, opened_folder, remove
from kubelite.node.volumes.project_quota import limit, project_of, release
from kubelite.node.volumes.tmpfs import mounts_below

TOP_MODE = (
    0o701  # as of local-path-provisioner: programs of other users may reach a folder they know
)
FOLDER_MODE = 0o777  # containers of any user write in it


class LocalFolders:
    """The folders of one node; `top` need not exist yet."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def make(self, name: str, limit_bytes: int | None) -> bool:
        """Make a folder if it is missing, and limit what it holds; return whether the limit is enforced.

        Raises OSError. Its mode is set under another name, so that a folder with its name is always complete.
        """
        assert is_name(name), name
        self.top.mkdir(mode=TOP_MODE, parents=True, exist_ok=True)
        with opened_folder(self.top.resolve()) as top:
            if not _exists(name, top):
                draft = _draft(name)
                with suppress(FileExistsError):
                    os.mkdir(draft, dir_fd=top)
                with opened_folder(draft, top) as folder:
                    os.fchmod(folder, FOLDER_MODE)
                os.rename(draft, name, src_dir_fd=top, dst_dir_fd=top)
            with opened_folder(name, top) as folder:
                return limit_bytes is not None and limit(folder, name, limit_bytes)

    def has(self, name: str) -> bool:
        """Return whether there is such a folder. Raises OSError."""
        assert is_name(name), name
        with _opened_top(self.top) as top:
            return top is not None and _exists(name, top)

    def remove(self, name: str) -> None:
        """Remove a folder with its content; harmless if there is none.

        Raises OSError; EBUSY, with nothing removed, if something is mounted at or in it.
        """
        assert is_name(name), name
        with _opened_top(self.top) as top:
            if top is None:
                return
            with suppress(FileNotFoundError):
                os.rmdir(_draft(name), dir_fd=top)
            if not _exists(name, top):
                return
            place = self.top.resolve() / name
            if place.is_mount() or mounts_below(place):
                raise OSError(errno.EBUSY, "something is mounted in it", str(place))
            project = 0
            with suppress(OSError), opened_folder(name, top) as folder:
                project = project_of(folder)
            remove(name, top)
            if project:
                release(top, project)


@contextmanager
def _opened_top(path: Path) -> Iterator[int | None]:
    if not path.is_dir():
        yield None
        return
    with opened_folder(path.resolve()) as top:
        yield top


def _draft(name: str) -> str:
    """Return the name that a folder has until its mode is set; a crash may leave it."""
    return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"


def _exists(name: str, top: int) -> bool:
    try:
        os.stat(name, dir_fd=top, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
