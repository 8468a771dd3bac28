import pytest
from msgspec.structs import replace

from kubelite.doctor.resources import MB, Resources, gather, judge
from unit.doctor.hosts import CONTROL_PLANE, SERVER, bad

GOOD = Resources(4096 * MB, 2048 * MB, 1 << 20, 1 << 15, 8192, 1 << 20)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"memory_bytes": 400 * MB}, ["warning: 2048 of 400 MB of memory are available"]),
        ({"available_bytes": 100 * MB}, ["warning: 100 of 4096 MB of memory are available"]),
        ({"files": 40}, ["error: this process may open 40 files"]),
        ({"files": 1024}, ["warning: this process may open 1024 files"]),
        ({"files": None, "processes": None, "instances": None, "watches": None}, []),
        ({"processes": 1000}, ["warning: no more than 1000 processes and threads are possible"]),
        ({"instances": 128}, ["note: a user may have 128 instances of inotify"]),
        ({"watches": 8192}, ["note: a user may watch 8192 files"]),
    ],
)
def test_resources(changes: dict[str, object], found: list[str]) -> None:
    assert bad(judge(replace(GOOD, **changes), SERVER)) == found


def test_a_control_plane_has_no_pods() -> None:
    poor = replace(GOOD, processes=1000, instances=1, watches=1)
    assert bad(judge(poor, CONTROL_PLANE)) == []


def test_this_host_can_be_read() -> None:
    found = gather(SERVER)
    assert found.memory_bytes
    assert found.available_bytes
    assert found.available_bytes <= found.memory_bytes
    assert found.processes
