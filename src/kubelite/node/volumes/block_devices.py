"""Block volumes of pods: which device a container gets. Blocking: call it in a thread.

What a driver published, or a path names, is opened once and proved to be a block device; then that very device is
bind-mounted at a path of the node's own, from which engines read its numbers: what is put in place of the first path
later, such as a link to a disk of the host, does not count. Paths are upstream's: the mount is below the plugin's
folder, and the link to it in the pod's folder says that the pod uses the volume.
"""

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from kubelite.node.environment import ConfigUnavailable
from kubelite.node.trusted_text import path_name
from kubelite.node.untrusted_files import mount_of, open_place, opened_below, opened_folder
from kubelite.node.volumes import loop_devices
from kubelite.node.volumes.tmpfs import bind_open, unmount_open

FOLDER_MODE = 0o750
LINKS = "volumeDevices"
LOCAL = "kubernetes.io/local-volume"


def links_of(root: Path, pod_uid: str, plugin: str) -> Path:
    """Return the folder of the links to a pod's devices of one plugin. Raises ConfigUnavailable."""
    uid = path_name(pod_uid, "uid of the pod")
    return root / "pods" / uid / LINKS / plugin.replace("/", "~")


def linked(root: Path, pod_uid: str, plugin: str) -> Iterator[str]:
    """Yield the names of the volumes of a plugin that a pod uses as devices. Raises ConfigUnavailable."""
    folder = links_of(root, pod_uid, plugin)
    if folder.is_dir():
        yield from sorted(place.name for place in folder.iterdir() if place.is_symlink())


def link(links: Path, name: str, pinned: Path) -> None:
    """Say that a pod uses a volume as a device, before anything is done for it. Raises OSError."""
    links.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (links / name).symlink_to(pinned)


def pin_device(device: int, root: Path, target: Path) -> None:
    """Mount the block device of a descriptor at a path below `root`. Raises OSError, and ConfigUnavailable for another.

    No part of the path below `root` is followed if it is a link.
    """
    number = _device_number(device)
    if number is None:
        raise ConfigUnavailable("it is not a block device")
    *folders, name = target.relative_to(root).parts
    with opened_folder(root.resolve()) as top, opened_below(folders, top, FOLDER_MODE) as folder:
        if _pinned(name, folder) == number:
            return
        _unpin(name, folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, 0o600, dir_fd=folder))
        place = open_place(name, folder)
        try:
            bind_open(device, place)
        finally:
            os.close(place)


def pinned_device(root: Path, target: Path) -> int | None:
    """Return the number of the device that is mounted at a path below `root`; None if there is none."""
    *folders, name = target.relative_to(root).parts
    try:
        with opened_folder(root.resolve()) as top, opened_below(folders, top) as folder:
            return _pinned(name, folder)
    except OSError:
        return None


def unpin_device(root: Path, target: Path) -> None:
    """Unmount and remove the file that a device is mounted on; harmless if there is none.

    Raises OSError: a file that holds something, or a folder, is data and stays.
    """
    *folders, name = target.relative_to(root).parts
    with (
        suppress(FileNotFoundError),
        opened_folder(root.resolve()) as top,
        opened_below(folders, top) as folder,
    ):
        _unpin(name, folder)


def open_published(root: Path, target: Path) -> int:
    """Return a descriptor (O_PATH) of what a driver published at a path below `root`, not followed. Raises OSError."""
    *folders, name = target.relative_to(root).parts
    with opened_folder(root.resolve()) as top, opened_below(folders, top) as folder:
        return open_place(name, folder)


def _device_number(place: int) -> int | None:
    state = os.fstat(place)
    return state.st_rdev if stat.S_ISBLK(state.st_mode) else None


def _pinned(name: str, folder: int) -> int | None:
    """Return the number of the block device that is mounted on a name, None if nothing or something else is."""
    try:
        place = open_place(name, folder)
    except FileNotFoundError:
        return None
    try:
        return _device_number(place) if mount_of(place) != mount_of(folder) else None
    finally:
        os.close(place)


def _unpin(name: str, folder: int) -> None:
    """Unmount all that is on a name, and remove the file, which has to be empty. Raises OSError."""
    while True:
        try:
            place = open_place(name, folder)
        except FileNotFoundError:
            return
        try:
            state = os.fstat(place)
            if mount_of(place) == mount_of(folder):
                break
            unmount_open(place)
        finally:
            os.close(place)
    is_file = stat.S_ISREG(state.st_mode)
    if stat.S_ISDIR(state.st_mode) or (is_file and state.st_size):
        raise FileExistsError(f"{name} holds data")
    os.unlink(name, dir_fd=folder)


def mark_of(root: Path) -> str:
    """Return how the marks of all loop devices of a node's folder start."""
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()
    return f"kubelite-{digest[:24]}-"


class LocalDevices:
    """The devices of local volumes with volumeMode Block: block devices by path, and files by loop devices."""

    def __init__(self, root: Path) -> None:
        """`root` is the node's folder."""
        self._root = root
        # A loop device is not detached while another pod finds it.
        self._lock = threading.Lock()

    def pinned(self, pod_uid: str, volume: str) -> Path:
        """Return the path of a pod's device. Raises ConfigUnavailable."""
        name = path_name(volume, "name of the persistent volume")
        uid = path_name(pod_uid, "uid of the pod")
        return self._root / "plugins" / LOCAL / LINKS / name / uid

    def set_up(self, pod_uid: str, volume: str, path: str) -> None:
        """Make the device at a path, or on the file there, ready for a pod. Raises ConfigUnavailable and OSError."""
        target = self.pinned(pod_uid, volume)
        if pinned_device(self._root, target) is not None:
            return  # what runs keeps its device, whatever the path leads to by now
        with self._lock:
            self._attach(pod_uid, volume, Path(path), target)

    def _attach(self, pod_uid: str, volume: str, source: Path, target: Path) -> None:
        state = source.stat()  # an administrator's path, which may be a link as those in /dev/disk
        if not stat.S_ISBLK(state.st_mode) and not stat.S_ISREG(state.st_mode):
            raise ConfigUnavailable(f'path "{source}" is neither a block device nor a file')
        link(links_of(self._root, pod_uid, LOCAL), volume, target)
        if stat.S_ISREG(state.st_mode):
            source = loop_devices.attach(source, self._mark(volume))
        device = os.open(source, os.O_PATH | os.O_CLOEXEC)
        try:
            pin_device(device, self._root, target)
        finally:
            os.close(device)

    def tear_down(self, pod_uid: str) -> None:
        """Give up the devices of a pod; a file that no other pod uses gets no loop device. Raises OSError."""
        for volume in linked(self._root, pod_uid, LOCAL):
            with self._lock:
                self._detach(pod_uid, volume)

    def _detach(self, pod_uid: str, volume: str) -> None:
        target = self.pinned(pod_uid, volume)
        unpin_device(self._root, target)
        own = links_of(self._root, pod_uid, LOCAL) / volume
        users = self._root.glob(f"pods/*/{LINKS}/{own.parent.name}/{volume}")
        if all(place == own for place in users):
            loop_devices.detach(self._mark(volume))
            with suppress(OSError):
                target.parent.rmdir()
        own.unlink(missing_ok=True)

    def _mark(self, volume: str) -> str:
        return f"{mark_of(self._root)}{hashlib.sha256(volume.encode()).hexdigest()[:24]}"
