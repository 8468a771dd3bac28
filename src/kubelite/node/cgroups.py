"""Reads what containers use from control group files, and removes the groups of pods. Blocking: call it in a thread."""

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from kubelite.node.runtime import Usage

ROOT = Path("/sys/fs/cgroup")
POD_FOLDER = "kubelite"


def read_usage(
    pid: int, at: datetime, proc: Path = Path("/proc"), root: Path = ROOT
) -> Usage | None:
    """Return what the group of a process uses; None when it has ended."""
    try:
        groups = _groups(proc / str(pid) / "cgroup")
    except OSError:
        return None
    if "" in groups and (root / "cgroup.controllers").exists():
        return _unified(root / groups[""].lstrip("/"), at)
    return _legacy(root, groups, at)


def _groups(path: Path) -> dict[str, str]:
    """Return group by controller; the unified hierarchy has the empty name."""
    found = {}
    for line in path.read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = group
    return found


def _unified(folder: Path, at: datetime) -> Usage | None:
    memory = _table(folder / "memory.stat")
    usage = _number(folder / "memory.current")
    return Usage(
        at=at,
        cpu_core_nanoseconds=_table(folder / "cpu.stat").get("usage_usec", 0) * 1000,
        memory_usage_bytes=usage,
        memory_working_set_bytes=max(usage - memory.get("inactive_file", 0), 0),
        memory_rss_bytes=memory.get("anon", 0),
        memory_page_faults=memory.get("pgfault", 0),
        memory_major_page_faults=memory.get("pgmajfault", 0),
        processes=_number(folder / "pids.current"),
    )


def _legacy(root: Path, groups: dict[str, str], at: datetime) -> Usage | None:
    def folder(controller: str) -> Path:
        return root / controller / groups.get(controller, "").lstrip("/")

    memory = _table(folder("memory") / "memory.stat")
    usage = _number(folder("memory") / "memory.usage_in_bytes")
    return Usage(
        at=at,
        cpu_core_nanoseconds=_number(folder("cpuacct") / "cpuacct.usage"),
        memory_usage_bytes=usage,
        memory_working_set_bytes=max(usage - memory.get("total_inactive_file", 0), 0),
        memory_rss_bytes=memory.get("total_rss", 0),
        memory_page_faults=memory.get("total_pgfault", 0),
        memory_major_page_faults=memory.get("total_pgmajfault", 0),
        processes=_number(folder("pids") / "pids.current"),
    )


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _table(path: Path) -> dict[str, int]:
    try:
        pairs = (line.split() for line in path.read_text().splitlines())
        return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
    except (OSError, ValueError):
        return {}


def remove_parents(pod_uid: str, root: Path = ROOT) -> None:
    """Remove the groups of a pod that are empty now; those that are not stay."""
    assert pod_uid, "an empty uid would match any pod's group"
    patterns = [f"*/{POD_FOLDER}/pod{pod_uid}", f"*/{POD_FOLDER}/*/pod{pod_uid}"]
    patterns += [f"{POD_FOLDER}/pod{pod_uid}", f"{POD_FOLDER}/*/pod{pod_uid}"]
    for pattern in patterns:
        for folder in root.glob(pattern):
            with suppress(OSError):
                folder.rmdir()


def remove_all(root: Path = ROOT) -> None:
    """Remove every group of kubelite's that is empty; one that another kubelite on this host uses stays."""
    for top in (*root.glob(f"*/{POD_FOLDER}"), root / POD_FOLDER):
        for folder in reversed(_below(top)):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            top.rmdir()


def _below(top: Path) -> list[Path]:
    """Return all groups below one, each after the one it is in; a container may have nested them deeply."""
    found: list[Path] = []
    left = [top]
    while left:
        with suppress(OSError):
            inner = [Path(entry) for entry in os.scandir(left.pop()) if _is_folder(entry)]
            found += inner
            left += inner
    return found


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)
