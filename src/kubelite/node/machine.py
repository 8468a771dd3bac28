"""Reads the properties of this machine: processors, memory, disk, names. Once at start, in a thread."""

import os
import platform
import shutil
from pathlib import Path

from msgspec import Struct

from kubelite.node.usage_files import GroupFiles
from kubelite.node.volumes import recursive

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


HOST_FILE_BYTES = 64 * 1024  # settings of a host have some hundred


class Machine(Struct, frozen=True):
    """The facts a node reports about its machine."""

    cpus: int
    memory_bytes: int
    disk_bytes: int
    architecture: str
    kernel: str
    os_image: str
    machine_id: str
    boot_id: str
    system_uuid: str
    recursive_read_only: bool = False  # whether whole trees of mounts can be made read-only
    processes: int = 0  # how many there may be, threads included; 0: not known
    swap_bytes: int = 0


def read_machine(disk: Path) -> Machine:
    """Read the facts; `disk` is a folder on the disk that pods write to. Blocking."""
    machine_id = _first_line("/etc/machine-id")
    return Machine(
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=_memory_bytes("MemTotal"),
        swap_bytes=_memory_bytes("SwapTotal"),
        disk_bytes=shutil.disk_usage(disk).total,
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
        kernel=platform.release(),
        os_image=_os_image(),
        machine_id=machine_id,
        boot_id=_first_line("/proc/sys/kernel/random/boot_id"),
        system_uuid=_first_line("/sys/class/dmi/id/product_uuid") or machine_id,
        recursive_read_only=recursive.is_supported(),
        processes=GroupFiles().processes()[0],
    )


def read_host_file(path: Path) -> str:
    """Return the start of a text file of the host, "" if it cannot be read; bytes that are not UTF-8 are replaced."""
    try:
        with path.open("rb") as file:
            return file.read(HOST_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _first_line(path: str) -> str:
    return read_host_file(Path(path)).strip()


def _memory_bytes(field: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except (OSError, ValueError):  # ValueError: it is no UTF-8
        return "Linux"
