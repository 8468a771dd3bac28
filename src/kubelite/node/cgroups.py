"""Finds, sets and removes the control groups of pods.

Blocking: call it in a thread.

A process in a group cannot reach these files, which lie outside of every container, so they need no descriptors.
"""

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kubelite.limits import GROUP_FILE
from kubelite.node.runtime import ContainerLimits

ROOT = Path("/sys/fs/cgroup")
POD_FOLDER = "kubelite"
POD_GROUPS = (POD_FOLDER, f"{POD_FOLDER}.slice")  # of all pods: the second with systemd's driver


def groups_of(path: Path) -> dict[str, str]:
    """Return group by controller; the unified hierarchy has the empty name. Raises OSError.

    A container names the groups below its own, so no more than GROUP_FILE is read.
    """
    found = {}
    for line in read_bounded(path).splitlines():
        controllers, separator, group = line.partition(":")[2].partition(":")
        if separator:
            found.update(dict.fromkeys(controllers.split(","), group))
    return found


def read_bounded(path: Path) -> str:
    """Return the start of a file of procfs or of a control group. Raises OSError."""
    with path.open("rb") as file:
        text = file.read(GROUP_FILE.value)
    if len(text) == GROUP_FILE.value:
        GROUP_FILE.reached()
    return text.decode("utf-8", "replace")


Setting = tuple[str, str, str]  # controller, file, value


def legacy_settings(limits: ContainerLimits) -> tuple[Setting, ...]:
    """Return the files to write for limits, in order, where each controller has its own hierarchy (cgroup v1)."""
    return (
        ("cpu", "cpu.shares", str(limits.cpu_shares)),
        ("cpu", "cpu.cfs_period_us", str(limits.cpu_period_us)),
        ("cpu", "cpu.cfs_quota_us", str(limits.cpu_quota_us or -1)),
        ("memory", "memory.limit_in_bytes", str(limits.memory_bytes or -1)),
    )


def unified_settings(limits: ContainerLimits) -> tuple[Setting, ...]:
    """Return the files to write for limits, in order, in the unified hierarchy (cgroup v2)."""
    return (
        ("", "cpu.weight", str(weight_of(limits.cpu_shares))),
        ("", "cpu.max", f"{limits.cpu_quota_us or 'max'} {limits.cpu_period_us}"),
        ("", "memory.max", str(limits.memory_bytes or "max")),
    )


def weight_of(shares: int) -> int:
    """Map shares of 2 to 262144 onto weights of 1 to 10000, as Kubernetes does (KEP-2254)."""
    return 1 + (shares - 2) * 9999 // 262142


def limit_pod(
    pid: int,
    pod_uid: str,
    limits: ContainerLimits,
    class_shares: int = 0,
    proc: Path = Path("/proc"),
    root: Path = ROOT,
) -> None:
    """Set the limits of a pod's control group, and the weight of the group of its QoS class. Raises OSError.

    Args:
        pid: A process of the pod's sandbox; the pod's group is the parent of that process's group.
        pod_uid: The pod; an error if the group is not this pod's.
        limits: Of the pod; 0 is unlimited.
        class_shares: CPU shares of the QoS class; 0 leaves them as they are.
        proc: Mount point of procfs.
        root: Mount point of the control groups.
    """
    groups = groups_of(proc / str(pid) / "cgroup")
    is_unified = "" in groups and (root / "cgroup.controllers").exists()
    settings = unified_settings(limits) if is_unified else legacy_settings(limits)
    for controller, file, value in settings:
        folder = _pod_folder(root, groups, controller, pod_uid)
        if file in ("cpu.shares", "cpu.weight"):
            _set_class(folder.parent, file, class_shares)
        is_limit = value not in ("-1", "max") and not value.startswith("max ")
        try:
            _set(folder / file, value)
        except FileNotFoundError:
            if is_limit:  # the kernel may lack a controller: then there is no limit to lift either
                raise
    if is_unified:
        # NoSwap, for containers without a limit of their own too. Without swap the kernel lacks the file.
        with suppress(FileNotFoundError):
            _set(_pod_folder(root, groups, "", pod_uid) / "memory.swap.max", "0")


def limit_container(
    pid: int,
    container_id: str,
    limits: ContainerLimits,
    proc: Path = Path("/proc"),
    root: Path = ROOT,
) -> None:
    """Set the limits of a running container's own control group. Raises OSError.

    Args:
        pid: The container's main process.
        container_id: An error if the group's name does not have it.
        limits: Of the container; 0 is unlimited.
        proc: Mount point of procfs.
        root: Mount point of the control groups.
    """
    groups = groups_of(proc / str(pid) / "cgroup")
    is_unified = "" in groups and (root / "cgroup.controllers").exists()
    settings = _with_swap(unified_settings(limits) if is_unified else legacy_settings(limits))
    for controller, file, value in settings:
        group = groups.get(controller, "")
        if container_id not in group:
            missing = f"control group of container {container_id}"
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), missing)
        with suppress(FileNotFoundError):  # the kernel may not account for swap
            _set(root / controller / group.lstrip("/") / file, value)


def _with_swap(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
    """Give a container no swap: memory and swap together have the limit that memory has.

    The kernel keeps the limit of memory below that of both, so when both grow the latter must come first. Lifting it
    beforehand allows either order.
    """
    made: list[Setting] = []
    for controller, file, value in settings:
        if file == "memory.limit_in_bytes":
            both = (controller, "memory.memsw.limit_in_bytes")
            made += [(*both, "-1"), (controller, file, value), (*both, value)]
        else:
            made.append((controller, file, value))
    return tuple(made)


def _set_class(folder: Path, file: str, shares: int) -> None:
    if shares and POD_FOLDER in f"{folder.parent.name}/{folder.name}":  # else it is not ours
        value = shares if file == "cpu.shares" else weight_of(shares)
        with suppress(FileNotFoundError):
            _set(folder / file, str(value))


def _pod_folder(root: Path, groups: Mapping[str, str], controller: str, pod_uid: str) -> Path:
    """Return the folder of a pod's group; raises OSError if the process is not in one."""
    group = Path(groups.get(controller, ""))
    if not is_pod_group(group.parent.name, pod_uid):
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), f"control group of pod {pod_uid}")
    return root / controller / str(group.parent).lstrip("/")


def is_pod_group(name: str, pod_uid: str) -> bool:
    """Return whether a pod's control group has this name."""
    # With systemd's driver the name is that of a slice, in which dashes stand for folders.
    return name.endswith((f"pod{pod_uid}", f"pod{pod_uid.replace('-', '_')}.slice"))


def _set(path: Path, value: str) -> None:
    """Write a setting, unless the file has the value already."""
    with path.open("r+") as file:
        if file.read().strip() != value:
            file.seek(0)
            file.write(value)


def remove_parents(pod_uid: str, root: Path = ROOT) -> None:
    """Remove the empty groups of a pod; those with processes stay."""
    assert pod_uid, "an empty uid would match any pod's group"
    patterns = [f"*/{POD_FOLDER}/pod{pod_uid}", f"*/{POD_FOLDER}/*/pod{pod_uid}"]
    patterns += [f"{POD_FOLDER}/pod{pod_uid}", f"{POD_FOLDER}/*/pod{pod_uid}"]
    for pattern in patterns:
        for folder in root.glob(pattern):
            with suppress(OSError):
                folder.rmdir()


def remove_all(root: Path = ROOT) -> None:
    """Remove all empty groups of kubelite's; those with processes, of another kubelite on this host, stay."""
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
