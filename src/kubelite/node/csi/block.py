"""The files of CSI volumes that are used as devices. Blocking: call it in a thread.

A data file says that the volume is, or may be, staged; a link in a pod's folder that it is, or may be, published for
the pod. Both are written before the driver is called, and removed after it undid its part.
"""

import os
from contextlib import suppress

from kubelite.api.machinery.csi_volumes import PLUGIN
from kubelite.node.csi.paths import KubeletFolders
from kubelite.node.csi.records import VolumeRecord, read_record, remove_record, write_record
from kubelite.node.environment import ConfigUnavailable
from kubelite.node.volumes.block_devices import (
    FOLDER_MODE,
    link,
    links_of,
    open_published,
    pin_device,
    pinned_device,
    unpin_device,
)
from kubelite.node.volumes.tmpfs import unmount_below


def begin_stage(folders: KubeletFolders, record: VolumeRecord) -> None:
    """Write the data file of a volume, and make the folder in which it is staged.

    Raises OSError, and ConfigUnavailable while another volume had the name and is not unstaged yet.
    """
    place = folders.device(record.name) / "data"
    before = read_record(place)
    if before is not None and before.key != record.key:
        raise ConfigUnavailable(f'another volume with the name "{record.name}" is still staged')
    write_record(place, record)
    folders.device_staged(record.name).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def begin_publish(folders: KubeletFolders, pod_uid: str, name: str) -> None:
    """Say that a pod uses a volume, and make the folder in which the driver puts its device. Raises OSError."""
    links = links_of(folders.root, pod_uid, PLUGIN)
    link(links, name, folders.device_pinned(pod_uid, name))
    parent = folders.device_published(pod_uid, name).parent
    parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)


def pin(folders: KubeletFolders, pod_uid: str, name: str) -> None:
    """Keep the device that a driver published for a pod. Raises ConfigUnavailable and OSError."""
    published = folders.device_published(pod_uid, name)
    try:
        device = open_published(folders.root, published)
    except FileNotFoundError as error:
        raise ConfigUnavailable(f"the driver published nothing at {published}") from error
    try:
        pin_device(device, folders.root, folders.device_pinned(pod_uid, name))
    except ConfigUnavailable as error:
        raise ConfigUnavailable(
            f"the driver published no device at {published}: {error}"
        ) from error
    finally:
        os.close(device)


def is_pinned(folders: KubeletFolders, pod_uid: str, name: str) -> bool:
    """Return whether a pod has its device. Raises ConfigUnavailable."""
    return pinned_device(folders.root, folders.device_pinned(pod_uid, name)) is not None


def end_publish(folders: KubeletFolders, pod_uid: str, name: str) -> None:
    """Remove what is left of a published device, its link last. Raises OSError if it is data."""
    published = folders.device_published(pod_uid, name)
    unpin_device(folders.root, published)
    with suppress(OSError):  # other pods have their devices in it
        published.parent.rmdir()
    (links_of(folders.root, pod_uid, PLUGIN) / name).unlink(missing_ok=True)


def unpin(folders: KubeletFolders, pod_uid: str, name: str) -> None:
    """Give up the device of a pod. Raises OSError."""
    unpin_device(folders.root, folders.device_pinned(pod_uid, name))


def end_stage(folders: KubeletFolders, name: str) -> None:
    """Remove the folders of a volume that is not staged any more. Raises OSError if there are files."""
    staged, place = folders.device_staged(name), folders.device(name)
    unmount_below(staged)
    for folder in (staged, place / "dev"):
        with suppress(FileNotFoundError):
            folder.rmdir()
    remove_record(place / "data")
    with suppress(FileNotFoundError):
        place.rmdir()
