import fcntl
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from kubelite.doctor.leftovers import Leftovers, _dead_sockets, _mounts, judge
from kubelite.doctor.reading import is_held
from unit.doctor.hosts import SERVER, bad, in_folder

LEFT = Leftovers(links=("kubelite0", "klabcdef012345"), tables=("ip kubelite",))
THINGS = "links kubelite0, klabcdef012345; nftables tables ip kubelite"


@pytest.mark.parametrize(
    ("left", "found"),
    [
        (Leftovers(), []),
        (replace(LEFT, is_running=True), []),
        (LEFT, [f"warning: a kubelite whose data folder is gone left {THINGS}"]),
        (replace(LEFT, has_cluster=True), [f"note: earlier runs left {THINGS}"]),
        (
            replace(LEFT, others_run=True),
            [f"note: another kubelite runs on this host, and has {THINGS}"],
        ),
        (
            Leftovers(groups=("/sys/fs/cgroup/kubelite",)),
            ["note: earlier runs left control groups /sys/fs/cgroup/kubelite"],
        ),
        (
            Leftovers(foreign_containers=3),
            ["note: 3 containers are of a kubelite with another data folder"],
        ),
        (
            Leftovers(mounts=tuple(f"/m/{n}" for n in range(7))),
            [
                "warning: a kubelite whose data folder is gone left mounts /m/0, /m/1, /m/2, /m/3, /m/4 and 2 more"
            ],
        ),
    ],
)
def test_leftovers(left: Leftovers, found: list[str]) -> None:
    assert bad(judge(left, SERVER)) == found


def test_what_to_do_by_hand() -> None:
    [one] = judge(replace(LEFT, mounts=("/a", "/a/b")), SERVER)
    assert one.do == (
        "umount /a/b; umount /a; nft delete table ip kubelite; "
        "ip link delete kubelite0; ip link delete klabcdef012345"
    )


def test_a_lock_is_seen_without_being_tried(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_held(path)
    with path.open("w") as file:
        assert not is_held(path)
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_held(path)
    assert not is_held(path)


def test_dead_sockets(tmp_path: Path) -> None:
    dead, alive = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    with alive:
        alive.bind(str(tmp_path / "alive.sock"))
        alive.listen()
        assert list(_dead_sockets(tmp_path)) == [str(tmp_path / "dead.sock")]
    assert list(_dead_sockets(tmp_path / "not there")) == []


def test_nothing_is_mounted_in_a_fresh_folder(tmp_path: Path) -> None:
    assert _mounts(in_folder(tmp_path)) == set()
