"""Opens a subPath of a volume without races against its containers. Blocking: call it in a thread.

Between check and mount a container that shares the volume can replace a folder by a symlink to the host's root
(CVE-2017-1002101). So each step is opened without following symlinks, the target of a symlink is walked the same way
inside the volume, and a bind mount pins the opened place before the engine gets its path.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from kubelite.limits import LINKS_FOLLOWED, PATH_STEPS
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.untrusted_files import UnsafePath, names_of, open_place
from kubelite.node.volumes.tmpfs import bind_mount, unmount

FOLDER_MODE = 0o750


class _Leaves(Exception):
    """A step leaves the volume, or the path has too many steps."""


def open_inside(volume: Path, inner: str) -> int:
    """Return an O_PATH descriptor of a path in a volume; missing folders are created. Raises ConfigUnavailable.

    Symlinks are followed as long as they stay inside the volume. The caller closes the descriptor.
    """
    try:
        names = names_of(inner)
    except UnsafePath as error:
        raise ConfigUnavailable(
            f'subPath "{inner}" must be a relative path inside the volume'
        ) from error
    try:
        # The node or an administrator chose the volume's own path, so it may contain symlinks.
        walk = _Walk(volume.resolve())
        try:
            return walk.along(names)
        finally:
            walk.close()
    except _Leaves as error:
        raise ConfigUnavailable(
            f'failed to prepare subPath for volumeMount: "{inner}" leaves the volume'
        ) from error
    except OSError as error:
        raise ConfigUnavailable(
            f'failed to prepare subPath for volumeMount: "{inner}": {error.strerror}'
        ) from error


class _Walk:
    """A walk from a volume's root through folders that are no symlinks; `_done` names its steps so far."""

    def __init__(self, root: Path) -> None:
        self._root_parts = root.parts
        self._root = os.open(root, os.O_PATH | os.O_CLOEXEC)
        self._place = os.dup(self._root)
        self._done: list[str] = []
        self._links = 0
        self._steps = 0
        # Missing folders get the volume's own permissions.
        self._mode = stat.S_IMODE(os.fstat(self._root).st_mode)

    def close(self) -> None:
        """Close the descriptors of the walk."""
        os.close(self._place)
        os.close(self._root)

    def along(self, names: Sequence[str]) -> int:
        """Return a new descriptor of the place the names lead to. Raises OSError and _Leaves."""
        left = [*reversed(names)]
        while left:
            self._steps += 1
            if self._steps > PATH_STEPS.value * LINKS_FOLLOWED.value:
                raise _too_many_links()
            name = left.pop()
            if name == "..":
                self._back()
                continue
            following = self._open(name)
            if stat.S_ISLNK(os.fstat(following).st_mode):
                target = os.readlink("", dir_fd=following)
                os.close(following)
                left += self._steps_of(target)[::-1]
                continue
            self._enter(following, name)
        return os.dup(self._place)

    def _enter(self, following: int, name: str) -> None:
        os.close(self._place)
        self._place = following
        self._done.append(name)
        if len(self._done) > PATH_STEPS.value:
            PATH_STEPS.reached()
            raise _Leaves

    def _open(self, name: str) -> int:
        try:
            return open_place(name, self._place)
        except FileNotFoundError:
            os.mkdir(name, FOLDER_MODE, dir_fd=self._place)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, dir_fd=self._place)
            try:
                os.fchmod(made, self._mode)
            finally:
                os.close(made)
            return open_place(name, self._place)

    def _steps_of(self, target: str) -> list[str]:
        """Return the steps of a symlink's target; an absolute one restarts the walk at the root.

        Raises OSError (ELOOP) and _Leaves.
        """
        self._links += 1
        if self._links > LINKS_FOLLOWED.value:
            LINKS_FOLLOWED.reached()
            raise _too_many_links()
        parts = Path(target).parts
        if target.startswith("/"):
            own = len(self._root_parts)
            if parts[:own] != self._root_parts:
                raise _Leaves
            parts = parts[own:]
            self._return()
        return list(parts)

    def _return(self) -> None:
        os.close(self._place)
        self._place = os.dup(self._root)
        self._done = []

    def _back(self) -> None:
        """Go to the parent by repeating the walk: a container may have moved this folder, so `..` could leave."""
        if not self._done:
            raise _Leaves
        names = self._done[:-1]
        self._return()
        for name in names:
            following = open_place(name, self._place)
            if not stat.S_ISDIR(os.fstat(following).st_mode):
                os.close(following)
                raise _Leaves
            self._enter(following, name)


def _too_many_links() -> OSError:
    return OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def pin(place: int, target: Path) -> None:
    """Bind-mount the file or folder of a descriptor at `target`, replacing an older mount. Raises OSError."""
    with suppress(OSError):  # usually nothing is mounted there
        unmount(target)
    if stat.S_ISDIR(os.fstat(place).st_mode):
        target.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        target.touch()
    bind_mount(Path(f"/proc/self/fd/{place}"), target)
