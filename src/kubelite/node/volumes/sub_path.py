"""Opens a place inside a volume that containers may be changing meanwhile. Blocking: call it in a thread.

A path that was checked may lead elsewhere by the time the engine mounts it: a container that shares the volume can put
a link to the host's root in its place (CVE-2017-1002101). So each step is opened without following links, and what was
opened is pinned by a mount before the engine hears of it.
"""

import os
import stat
from pathlib import Path

from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes.tmpfs import bind_mount

FOLDER_MODE = 0o750


def open_inside(volume: Path, inner: str) -> int:
    """Return a descriptor (O_PATH) of a place in a volume, made as folders when missing; raises ConfigUnavailable.

    Links that stay inside the volume are followed once, at the start.
    """
    if inner.startswith("/") or ".." in Path(inner).parts:
        raise ConfigUnavailable(f'subPath "{inner}" must be a relative path inside the volume')
    root = volume.resolve()
    target = (root / inner).resolve()
    if target != root and root not in target.parents:
        raise _leaves(inner)
    place = os.open(root, os.O_PATH | os.O_CLOEXEC)
    mode = stat.S_IMODE(os.fstat(place).st_mode)
    for name in target.relative_to(root).parts:
        try:
            following = _step(place, name, mode)
        except OSError as error:
            raise ConfigUnavailable(
                f'failed to prepare subPath for volumeMount: "{inner}": {error.strerror}'
            ) from error
        finally:
            os.close(place)
        place = following
        if stat.S_ISLNK(os.fstat(place).st_mode):
            os.close(place)
            raise _leaves(inner)
    return place


def _step(place: int, name: str, mode: int) -> int:
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=place)
    except FileNotFoundError:
        os.mkdir(name, FOLDER_MODE, dir_fd=place)
        made = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
        try:
            os.fchmod(made, mode)
        finally:
            os.close(made)
        return os.open(name, flags, dir_fd=place)


def _leaves(inner: str) -> ConfigUnavailable:
    return ConfigUnavailable(
        f'failed to prepare subPath for volumeMount: "{inner}" leaves the volume'
    )


def pin(place: int, target: Path) -> None:
    """Mount what a descriptor refers to at `target`, in place of what may be mounted there; raises OSError."""
    if stat.S_ISDIR(os.fstat(place).st_mode):
        target.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    else:
        target.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        target.touch()
    bind_mount(Path(f"/proc/self/fd/{place}"), target)
