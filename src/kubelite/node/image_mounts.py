"""Shows the files of an image as a read-only folder of the host, for image volumes.

An engine with the storage driver overlay2, in Podman overlay, keeps each layer of an image as a folder; the kernel
lays them over each other once more. Nothing is copied, and the mount has no folder to write to.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from kubelite.node.environment import ConfigUnavailable
from kubelite.node.runtime import Mount, RuntimeFailure
from kubelite.node.untrusted_files import opened_folder
from kubelite.node.volumes.sub_path import open_inside
from kubelite.node.volumes.tmpfs import mount_overlay

DRIVERS = ("overlay2", "overlay")


def image_layers(found: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return the folders of an inspected image's layers, the topmost first. Raises RuntimeFailure."""
    driver = found.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    upper = data.get("UpperDir")
    if driver.get("Name") not in DRIVERS or not upper:
        name = driver.get("Name") or "of this engine"
        raise RuntimeFailure(
            f"cannot show an image as a volume: the storage driver {name} is not {DRIVERS[0]}"
        )
    lower = data.get("LowerDir") or ""
    return (Path(upper), *(Path(part) for part in lower.split(":") if part))


def show_image(layers: Sequence[Path], mount: Mount) -> Mount:
    """Mount an image's layers in the folder `mount.source`, once; return the mount of what a container sees of it.

    Blocking. Raises RuntimeFailure.
    """
    folder = folder_of(mount)
    try:
        folder.mkdir(exist_ok=True)
        if not folder.is_mount():
            _mount(layers, folder)
    except OSError as error:
        raise RuntimeFailure(f"cannot show an image as a volume: {error.strerror}") from error
    return shown(mount)


def folder_of(mount: Mount) -> Path:
    """Return the folder in which the image of a mount is shown.

    There is one for each image: a container that is made after a newer one was pulled gets that.
    """
    return Path(mount.source) / mount.image.rpartition(":")[2]


def shown(mount: Mount) -> Mount:
    """Return the mount of what a container sees of an image, which is mounted. Blocking. Raises RuntimeFailure."""
    folder = folder_of(mount)
    try:
        place = _place(folder, mount.sub_path) if mount.sub_path else str(folder)
    except ConfigUnavailable as error:
        raise RuntimeFailure(str(error)) from error
    except OSError as error:
        raise RuntimeFailure(f"cannot show an image as a volume: {error.strerror}") from error
    # Asked to make it read-only, the engine would mount it anew and drop noexec; it is read-only as it is.
    return replace(mount, source=place, image="", sub_path="", read_only=False)


def _mount(layers: Sequence[Path], folder: Path) -> None:
    with ExitStack() as opened:
        # The kernel takes one page of options, too little for the paths of many layers; descriptors are short. It wants
        # two layers at least, so the empty folder itself is the lowest.
        places = [opened.enter_context(opened_folder(layer)) for layer in (*layers, folder)]
        mount_overlay(folder, [f"/proc/self/fd/{place}" for place in places])


def _place(folder: Path, inner: str) -> str:
    """Return the path that a subPath leads to. Nobody can change it, so it needs no pin."""
    place = open_inside(folder, inner)
    try:
        return str(Path(f"/proc/self/fd/{place}").readlink())
    finally:
        os.close(place)
