"""Usage from the files of control groups of both versions, and from procfs."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kubelite.limits import GROUP_FILE, POD_INTERFACES
from kubelite.node.usage_files import GroupFiles

AT = datetime(2026, 1, 1, tzinfo=UTC)
ID, SANDBOX = "c" * 64, "5" * 64
UID = "1a2b-3c"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


STAT = "anon 300\ninactive_file 100\npgfault 7\npgmajfault 2\nbroken\nworse x\n"
STAT_V1 = (
    "rss 1\ntotal_rss 300\ntotal_inactive_file 100\ntotal_pgfault 7\ntotal_pgmajfault 2\n"
    "total_swap 11\n"
)


def unified(root: Path, group: str, usage: int = 1000, limit: str = "4096") -> None:
    write(
        root / group,
        {
            "cpu.stat": f"usage_usec {usage}\nuser_usec 1\n",
            "memory.stat": STAT,
            "memory.current": "500\n",
            "memory.max": f"{limit}\n",
            "memory.swap.current": "11\n",
            "pids.current": "3\n",
        },
    )


def legacy(root: Path, group: str, limit: str = "4096") -> None:
    write(root / "cpuacct" / group, {"cpuacct.usage": "1000000\n"})
    write(
        root / "memory" / group,
        {
            "memory.stat": STAT_V1,
            "memory.usage_in_bytes": "500\n",
            "memory.limit_in_bytes": f"{limit}\n",
        },
    )
    write(root / "pids" / group, {"pids.current": "3\n"})


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    folder = tmp_path / "proc"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    return folder


def lines_of(group: str, *, is_unified: bool) -> str:
    if is_unified:
        return f"0::/{group}\n"
    return f"4:memory:/{group}\n3:cpu,cpuacct:/{group}\n2:pids:/{group}\n0::/elsewhere\n"


@pytest.mark.parametrize(
    ("group", "within"),
    [
        (f"kubelite/besteffort/pod{UID}/{ID}", ""),
        (f"kubelite/besteffort/pod{UID}/{ID}", "/init.scope"),  # a container with groups of its own
        (f"kubelite.slice/kubelite-pod{UID.replace('-', '_')}.slice/docker-{ID}.scope", ""),
        (f"kubelite/pod{UID}/cri-containerd-{ID}.scope", ""),
    ],
)
@pytest.mark.parametrize("is_unified", [True, False])
def test_a_container_uses_what_its_group_says(
    root: Path, proc: Path, group: str, within: str, is_unified: bool
) -> None:
    if is_unified:
        write(root, {"cgroup.controllers": "cpu memory\n"})
        unified(root, group)
    else:
        legacy(root, group)
    write(proc, {"7/cgroup": lines_of(group + within, is_unified=is_unified)})
    files = GroupFiles(root, proc)
    usage = files.container(files.groups(7), ID, AT)
    assert usage is not None
    assert usage.cpu_core_nanoseconds == 1_000_000
    assert usage.memory_usage_bytes == 500
    assert usage.memory_working_set_bytes == 400
    assert usage.memory_rss_bytes == 300
    assert (usage.memory_page_faults, usage.memory_major_page_faults) == (7, 2)
    assert (usage.processes, usage.memory_limit_bytes, usage.swap_bytes) == (3, 4096, 11)
    assert usage.moment_seconds > 0


@pytest.mark.parametrize("is_unified", [True, False])
def test_a_pod_uses_what_the_group_above_its_sandbox_says(
    root: Path, proc: Path, is_unified: bool
) -> None:
    above = f"kubelite/burstable/pod{UID}"
    if is_unified:
        write(root, {"cgroup.controllers": ""})
    (unified if is_unified else legacy)(root, above)
    write(proc, {"9/cgroup": lines_of(f"{above}/{SANDBOX}", is_unified=is_unified)})
    files = GroupFiles(root, proc)
    usage = files.pod(files.groups(9), SANDBOX, UID, AT)
    assert usage is not None
    assert usage.cpu_core_nanoseconds == 1_000_000
    assert files.pod(files.groups(9), SANDBOX, "another", AT) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage\n",
        "0:\n",
        "0::/\n",
        "0::/init.scope\n",
        f"0::/kubelite/pod{UID}/{'d' * 64}\n",  # the number is another container's by now
        "0::/../../..\n",
    ],
)
def test_the_groups_of_another_process_are_not_a_containers(
    root: Path, proc: Path, text: str
) -> None:
    write(root, {"cgroup.controllers": ""})
    for group in ("", "init.scope", f"kubelite/pod{UID}/{'d' * 64}"):
        unified(root, group)
    write(proc, {"7/cgroup": text})
    files = GroupFiles(root, proc)
    assert files.container(files.groups(7), ID, AT) is None
    assert files.pod(files.groups(7), ID, UID, AT) is None
    assert files.container(files.groups(8), ID, AT) is None  # it has ended


def test_a_group_that_is_gone_uses_nothing_that_is_known(root: Path, proc: Path) -> None:
    group = f"kubelite/pod{UID}/{ID}"
    for is_unified in (False, True):
        if is_unified:
            write(root, {"cgroup.controllers": ""})
        write(proc, {"7/cgroup": lines_of(group, is_unified=is_unified)})
        files = GroupFiles(root, proc)
        assert files.container(files.groups(7), ID, AT) is None


@pytest.mark.parametrize("limit", ["max", "9223372036854771712"])
def test_a_group_without_a_limit_has_none(root: Path, proc: Path, limit: str) -> None:
    group = f"kubelite/pod{UID}/{ID}"
    if limit == "max":
        write(root, {"cgroup.controllers": ""})
        unified(root, group, limit=limit)
    else:
        legacy(root, group, limit)
    write(proc, {"7/cgroup": lines_of(group, is_unified=limit == "max")})
    files = GroupFiles(root, proc)
    usage = files.container(files.groups(7), ID, AT)
    assert usage is not None
    assert usage.memory_limit_bytes == 0


def test_files_are_read_within_a_bound(root: Path, proc: Path) -> None:
    """A container nests groups as deeply as it likes; the file of its process grows with them."""
    before = GROUP_FILE.times_reached
    deep = f"kubelite/pod{UID}/{ID}" + "/d" * GROUP_FILE.value
    write(root, {"cgroup.controllers": ""})
    unified(root, f"kubelite/pod{UID}/{ID}")
    write(proc, {"7/cgroup": lines_of(deep, is_unified=True)})
    files = GroupFiles(root, proc)
    assert files.container(files.groups(7), ID, AT) is not None
    assert GROUP_FILE.times_reached == before + 1


MEMINFO = (
    "MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\nSwapTotal: 10 kB\nSwapFree: 8 kB\n"
)


def test_the_machine_uses_what_the_roots_of_version_1_say(root: Path, proc: Path) -> None:
    legacy(root, "")
    usage = GroupFiles(root, proc).machine(AT)
    assert usage is not None
    assert (usage.cpu_core_nanoseconds, usage.memory_working_set_bytes) == (1_000_000, 400)


def test_the_root_of_version_2_does_not_say_how_much_memory_is_used(root: Path, proc: Path) -> None:
    write(root, {"cgroup.controllers": "", "cpu.stat": "usage_usec 5\n", "memory.stat": STAT})
    write(proc, {"meminfo": MEMINFO})
    usage = GroupFiles(root, proc).machine(AT)
    assert usage is not None
    assert usage.cpu_core_nanoseconds == 5000
    assert usage.memory_usage_bytes == 600 * 1024
    assert usage.memory_working_set_bytes == 500 * 1024
    assert usage.swap_bytes == 2 * 1024


HEADING = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n"


def device(name: str, received: int = 10, sent: int = 20) -> str:
    return f"{name:>6}: {received} 1 2 0 0 0 0 0 {sent} 1 3 0 0 0 0 0\n"


def test_interfaces_are_those_of_the_process_without_loopback(root: Path, proc: Path) -> None:
    text = HEADING + device("lo") + device("eth0") + device('a"b:1') + "  cut: 1 2"
    write(proc, {"7/net/dev": text})
    found = GroupFiles(root, proc).interfaces(7)
    assert [one.name for one in found] == ["eth0", 'a"b:1']
    first = found[0]
    assert (first.received_bytes, first.receive_errors) == (10, 2)
    assert (first.sent_bytes, first.send_errors) == (20, 3)
    assert GroupFiles(root, proc).interfaces(8) == ()


def test_a_pod_with_many_interfaces_shows_some(root: Path, proc: Path) -> None:
    before = POD_INTERFACES.times_reached
    write(proc, {"7/net/dev": HEADING + "".join(device(f"d{number}") for number in range(100_000))})
    assert len(GroupFiles(root, proc).interfaces(7)) == POD_INTERFACES.value
    assert POD_INTERFACES.times_reached == before + 1


def test_the_machine_says_how_many_processes_it_has(root: Path, proc: Path) -> None:
    write(proc, {"sys/kernel/pid_max": "4096\n", "loadavg": "0.1 0.1 0.1 2/311 99\n"})
    assert GroupFiles(root, proc).processes() == (4096, 311)
    write(proc, {"loadavg": "?"})
    assert GroupFiles(root, proc).processes() == (0, 0)
