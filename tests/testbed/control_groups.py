"""Control groups of a bed's hosts: a host sees its own group as the root, so what its engine makes stays below it.

On a machine with the unified hierarchy alone, hosts share the machine's groups; what they leave there is empty.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PREFIX = "kubelite-bed-"
REMOVE_SECONDS = 5.0
INHERITED = (
    "cpuset.cpus",
    "cpuset.mems",
)  # a new group has none of either, and then takes no process


def hierarchies() -> list[Path]:
    """Return where the legacy hierarchies are mounted; empty where there is only the unified one."""
    return [
        folder
        for folder in sorted(ROOT.iterdir())
        if folder.is_dir()
        and not folder.is_symlink()
        and (folder / "cgroup.procs").exists()
        and not (folder / "cgroup.controllers").exists()
    ]


def make(name: str) -> list[Path]:
    """Make a group `name`, as `BED/HOST`, in each hierarchy; return their folders."""
    made = []
    for hierarchy in hierarchies():
        folder = hierarchy
        for part in name.split("/"):
            parent, folder = folder, folder / part
            folder.mkdir(exist_ok=True)
            for file in INHERITED:
                if (parent / file).exists():
                    (folder / file).write_text((parent / file).read_text())
        made.append(folder)
    return made


def remove(name: str) -> None:
    """Remove a group with all groups below it, whose processes have been killed. Raises TimeoutError."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for hierarchy in hierarchies():
        # A killed process leaves its group a moment after it has ended.
        while (hierarchy / name).exists() and not _removed(hierarchy / name):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes are left in {hierarchy / name}")
            time.sleep(0.01)


def _removed(folder: Path) -> bool:
    for group in _bottom_up(folder):
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _bottom_up(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError):
        for child in folder.iterdir():
            if child.is_dir():
                yield from _bottom_up(child)
    yield folder


def beds() -> set[str]:
    """Return the names of all beds that have groups."""
    return {folder.name for root in hierarchies() for folder in root.glob(f"{PREFIX}*")}


def memory_bytes(name: str) -> int:
    """Return what the processes of a group hold, page cache not counted; 0 where groups are not kept apart."""
    try:
        lines = (ROOT / "memory" / name / "memory.stat").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return int(dict(line.split() for line in lines)["total_rss"])
