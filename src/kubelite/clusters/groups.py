"""Control groups of a cluster: each node sees its own as the root, so what its engine makes stays below it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

ROOT = Path("/sys/fs/cgroup")
PREFIX = "kubelite-cluster-"
REMOVE_SECONDS = 5.0
LOOK_SECONDS = 0.01
# A new group of the legacy hierarchy has none of either, and then takes no process.
INHERITED = ("cpuset.cpus", "cpuset.mems")
LEAF = "node"  # of the unified hierarchy, where a group with groups below it may hold no process


class Groups(Struct, frozen=True):
    """The groups of a node: those to join, and the one below to be in."""

    folders: tuple[Path, ...] = ()
    leaf: str = ""


def legacy(root: Path = ROOT) -> list[Path]:
    """Return where the legacy hierarchies are mounted, and a unified one beside them; empty where that is alone."""
    if not root.is_dir() or (root / "cgroup.controllers").exists():
        return []
    return [
        folder
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.is_symlink() and (folder / "cgroup.procs").exists()
    ]


def make(cluster: str, node: str, root: Path = ROOT) -> Groups:
    """Make the groups of a node. Raises OSError, as where the hierarchy is read-only."""
    name = Path(PREFIX + cluster, node)
    if hierarchies := legacy(root):
        return Groups(tuple(_made(hierarchy, name) for hierarchy in hierarchies))
    if not (root / "cgroup.controllers").exists():
        return Groups()
    folder = root
    for part in name.parts:
        _enable(folder)
        folder /= part
        folder.mkdir(exist_ok=True)
    (folder / LEAF).mkdir(exist_ok=True)
    return Groups((folder,), str(folder / LEAF))


def _made(hierarchy: Path, name: Path) -> Path:
    folder = hierarchy
    for part in name.parts:
        parent, folder = folder, folder / part
        folder.mkdir(exist_ok=True)
        for file in INHERITED:
            if (parent / file).exists():
                (folder / file).write_text((parent / file).read_text())
    return folder


def _enable(folder: Path) -> None:
    """Let the groups below one have its controllers; in a container the processes of its root move down first."""
    controllers = (folder / "cgroup.controllers").read_text().split()
    wanted = [f"+{name}" for name in controllers]
    try:
        _write_each(folder, wanted)
    except OSError:
        if not (folder / "cgroup.type").exists():  # the machine's own root may hold processes
            raise
        aside = folder / "init"
        aside.mkdir(exist_ok=True)
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # a kernel thread, or it has ended
                (aside / "cgroup.procs").write_text(pid)
        _write_each(folder, wanted)


def _write_each(folder: Path, wanted: list[str]) -> None:
    for text in wanted:
        (folder / "cgroup.subtree_control").write_text(text)


def all_clusters(root: Path = ROOT) -> set[str]:
    """Return the identifiers of the clusters that have groups."""
    roots = legacy(root) or ([root] if root.is_dir() else [])
    return {folder.name.removeprefix(PREFIX) for one in roots for folder in one.glob(f"{PREFIX}*")}


def remove(cluster: str, root: Path = ROOT) -> None:
    """Kill what is left in the groups of a cluster, and remove them. Blocks. Raises TimeoutError."""
    assert cluster
    deadline = time.monotonic() + REMOVE_SECONDS
    for hierarchy in legacy(root) or [root]:
        top = hierarchy / (PREFIX + cluster)
        # A killed process leaves its group a moment after it has ended.
        while top.exists() and not _removed(top):
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes are left in {top}")
            time.sleep(LOOK_SECONDS)


def _removed(top: Path) -> bool:
    for group in _bottom_up(top):
        try:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
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
