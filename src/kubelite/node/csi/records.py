"""The data files beside mounted CSI volumes: with them the node unmounts after a restart what it mounted before.

Names and keys are upstream's. The folders belong to the node, and no container can write to them; a file is bounded all
the same, and one that cannot be read is passed over with a log line. Blocking: call it in a thread.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from kubelite.api.machinery.csi_volumes import PLUGIN
from kubelite.limits import CSI_RECORD
from kubelite.node.csi.paths import DATA_FILE, RESERVED, KubeletFolders
from kubelite.node.untrusted_files import opened_folder, read_file, remove
from kubelite.node.volumes.block_devices import linked

log = logging.getLogger(__name__)


KEYS = {
    "driver": "driverName",
    "handle": "volumeHandle",
    "name": "specVolID",
    "node": "nodeName",
    "attachment": "attachmentID",
    "lifecycle": "volumeLifecycleMode",
    "is_block": "block",
}


class VolumeRecord(Struct, frozen=True, omit_defaults=True, rename=KEYS):
    """What a data file holds; a staged volume has driver and handle alone."""

    driver: str = ""
    handle: str = ""
    name: str = ""  # of the PersistentVolume, or of the pod's own volume
    node: str = ""
    attachment: str = ""
    lifecycle: str = ""
    target: str = ""  # of an owed call: the path that the driver is to unpublish
    is_block: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Driver and handle, which identify the volume on this node."""
        return self.driver, self.handle


def write_record(folder: Path, record: VolumeRecord, name: str = DATA_FILE) -> None:
    """Write a data file durably, before the volume is mounted. Raises OSError."""
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    data = msgspec.json.encode(record)
    draft = folder / f".{name}.new"
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / name)


def read_record(folder: Path, name: str = DATA_FILE) -> VolumeRecord | None:
    """Return what a data file holds; None if there is none that can be read."""
    try:
        with opened_folder(folder) as opened:
            data = read_file(name, opened, CSI_RECORD.value + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("cannot read %s: %s", folder / name, error.strerror)
        return None
    if len(data) > CSI_RECORD.value:
        CSI_RECORD.reached()
        return None
    try:
        record = msgspec.json.decode(data, type=VolumeRecord)
    except msgspec.DecodeError as error:
        log.warning("cannot read %s: %s", folder / name, error)
        return None
    return record if record.driver and record.handle else None


def remove_record(folder: Path) -> None:
    """Remove a data file and its folder, which must be empty otherwise. Raises OSError."""
    with suppress(FileNotFoundError):
        with opened_folder(folder) as opened:
            remove(DATA_FILE, opened)
            remove(f".{DATA_FILE}.new", opened)
        folder.rmdir()


def published_records(folders: KubeletFolders, pod_uid: str) -> Iterator[tuple[str, VolumeRecord]]:
    """Yield name and record of each CSI volume of a pod. Raises ConfigUnavailable."""
    for place in _folders_in(folders.volumes_of(pod_uid)):
        if (record := read_record(place)) is not None:
            yield place.name, record
    for name in linked(folders.root, pod_uid, PLUGIN):
        if name not in RESERVED and (record := read_record(folders.device(name) / "data")):
            yield name, record


def all_published(folders: KubeletFolders) -> Iterator[tuple[str, str, VolumeRecord]]:
    """Yield pod uid, name and record of each CSI volume of all pods."""
    for pod in _folders_in(folders.pods):
        for name, record in published_records(folders, pod.name):
            yield pod.name, name, record


def all_staged(folders: KubeletFolders) -> Iterator[VolumeRecord]:
    """Yield the record of each staged volume."""
    for driver in _folders_in(folders.volumes):
        for place in _folders_in(driver):
            if (record := read_record(place)) is not None:
                yield record
    for place in _folders_in(folders.devices):
        if (record := read_record(place / "data")) is not None:
            yield record


def owe(folders: KubeletFolders, record: VolumeRecord) -> str:
    """Write down that a driver has to unpublish `record.target`; return the file's name. Raises OSError."""
    text = "\0".join((*record.key, record.target))
    name = f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    write_record(folders.owed, record, name)
    return name


def remove_owed(folders: KubeletFolders, name: str) -> None:
    """Remove the file of a call that was made. Raises OSError."""
    (folders.owed / name).unlink(missing_ok=True)


def all_owed(folders: KubeletFolders) -> Iterator[tuple[str, VolumeRecord]]:
    """Yield name of the file and record of each call that is owed to a driver."""
    if not folders.owed.is_dir():
        return
    for place in sorted(folders.owed.glob("*.json")):
        if (record := read_record(folders.owed, place.name)) is not None:
            yield place.name, record


def _folders_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(Path(e.path) for e in entries if e.is_dir(follow_symlinks=False))
