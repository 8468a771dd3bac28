"""Control groups: their version, and the controllers that limits of containers need."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kubelite.doctor.findings import Finding, error, note, ok, warning
from kubelite.doctor.reading import Mount, mounts, text_of
from kubelite.doctor.wanted import Wanted

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("cpu", "memory")
USEFUL = ("cpuset", "pids")


class Groups(Struct, frozen=True):
    """What is known of control groups."""

    version: int  # 1 or 2; 0: there are none
    controllers: frozenset[str] = frozenset()
    delegated: frozenset[str] = frozenset()  # those that groups below the top may use; version 2
    is_writable: bool = True


def read_groups(table: list[Mount], controllers: str, delegated: str) -> Groups:
    """Return what a table of mounts and the unified hierarchy's two lists tell."""
    if any(one.kind == "cgroup2" and one.place == str(ROOT) for one in table):
        unified = [one for one in table if one.place == str(ROOT)][-1]
        return Groups(
            2,
            frozenset(controllers.split()),
            frozenset(delegated.split()),
            "ro" not in unified.options,
        )
    legacy = [one for one in table if one.kind == "cgroup"]
    options = frozenset(option for one in legacy for option in one.options)
    is_writable = not any("ro" in one.options for one in legacy)
    return Groups(1 if legacy else 0, options & {*NEEDED, *USEFUL}, is_writable=is_writable)


def judge(groups: Groups, wanted: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about control groups."""
    if not wanted.has_node:
        return
    if not groups.version:
        yield error(
            "control groups are not mounted",
            "engines start no container without them",
            f"mount -t cgroup2 none {ROOT}",
        )
        return
    has = groups.controllers
    if missing := [name for name in NEEDED if name not in has]:
        yield error(
            f"control groups lack: {', '.join(missing)}",
            "containers with requests or limits do not start",
            "boot with cgroup_enable=memory (as boards like the Raspberry Pi need it), or delegate the controllers",
        )
    if missing := [name for name in USEFUL if name not in has]:
        yield warning(
            f"control groups lack: {', '.join(missing)}",
            "limits of processes, or sets of processors, have no effect",
            "boot a kernel with CONFIG_CPUSETS and CONFIG_CGROUP_PIDS",
        )
    if not groups.is_writable:
        yield warning(
            "control groups are mounted read-only",
            "an engine of kubelite's own does not start, and pods have no limits of their own",
            "in a container: start it with --privileged and --cgroupns=private",
        )
    if groups.version == 1:
        yield note(
            "control groups are of version 1",
            "swap of pods without a memory limit, and pressure of memory, are not known there",
            "boot with systemd.unified_cgroup_hierarchy=1 for version 2",
        )
    if groups.version == 2 and (kept := sorted(has & {*NEEDED, *USEFUL} - groups.delegated)):
        yield note(
            f"controllers are not delegated yet: {', '.join(kept)}",
            "engines switch them on for their groups, which a supervisor can forbid",
            "nothing, unless containers fail to start: then Delegate=yes in the unit",
        )
    if has.issuperset(NEEDED) and groups.is_writable:
        yield ok(f"control groups of version {groups.version}: {', '.join(sorted(has))}")


def gather(_: Wanted) -> Groups:
    """Read what is mounted and which controllers there are."""
    controllers, delegated = (
        text_of(ROOT / f"cgroup.{name}") or "" for name in ("controllers", "subtree_control")
    )
    return read_groups(mounts(), controllers, delegated)
