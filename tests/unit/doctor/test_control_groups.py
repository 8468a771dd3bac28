import pytest

from kubelite.doctor.control_groups import Groups, judge, read_groups
from kubelite.doctor.reading import parse_mounts
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
LEGACY = "".join(
    f"cgroup /sys/fs/cgroup/{name} cgroup rw,{name} 0 0\n"
    for name in ("cpu,cpuacct", "memory", "pids", "cpuset", "freezer")
)
HYBRID = LEGACY + "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
ALL = "cpuset cpu io memory hugetlb pids"


@pytest.mark.parametrize(
    ("table", "controllers", "delegated", "version", "found"),
    [
        (UNIFIED, ALL, ALL, 2, []),
        (LEGACY, "", "", 1, ["note: control groups are of version 1"]),
        (HYBRID, "", "", 1, ["note: control groups are of version 1"]),
        (
            "proc /proc proc rw 0 0\n",
            "",
            "",
            0,
            ["error: control groups are not mounted"],
        ),
        (UNIFIED, "cpuset cpu io pids", ALL, 2, ["error: control groups lack: memory"]),
        (UNIFIED, "cpu memory", ALL, 2, ["warning: control groups lack: cpuset, pids"]),
        (
            UNIFIED,
            ALL,
            "cpu memory",
            2,
            ["note: controllers are not delegated yet: cpuset, pids"],
        ),
        (
            UNIFIED.replace("rw", "ro"),
            ALL,
            ALL,
            2,
            ["warning: control groups are mounted read-only"],
        ),
    ],
)
def test_groups(
    table: str, controllers: str, delegated: str, version: int, found: list[str]
) -> None:
    groups = read_groups(parse_mounts(table), controllers, delegated)
    assert groups.version == version
    assert bad(judge(groups, SERVER)) == found


def test_a_control_plane_needs_none() -> None:
    assert bad(judge(Groups(0), CONTROL_PLANE)) == []
