"""What fsGroup does to the files of a volume."""

import errno
import os
import stat
from pathlib import Path

import pytest

from kubelite.limits import VOLUME_DEPTH
from kubelite.node.volumes.ownership import give
from kubelite.node.volumes.tmpfs import bind_mount, mount_tmpfs, unmount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes the group of files")


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "volume"
    (made / "deep" / "deeper").mkdir(parents=True)
    (made / "deep" / "deeper" / "file").write_text("x")
    (made / "deep" / "deeper" / "file").chmod(0o4700)
    return made


def shown(path: Path) -> tuple[int, int]:
    state = path.lstat()
    return state.st_gid, stat.S_IMODE(state.st_mode)


def test_all_files_get_the_group_and_its_rights(volume: Path) -> None:
    count = []
    give(volume, 77, "Always", lambda: count.append(1))
    assert shown(volume) == (77, 0o2775)
    assert shown(volume / "deep" / "deeper") == (77, 0o2775)
    assert shown(volume / "deep" / "deeper" / "file") == (77, 0o4760)
    assert len(count) == 4


@pytest.mark.parametrize(("policy", "group"), [("Always", 77), ("OnRootMismatch", 5)])
def test_on_root_mismatch_a_root_that_fits_stands_for_all(
    volume: Path, policy: str, group: int
) -> None:
    give(volume, 77, policy)
    os.chown(volume / "deep", -1, 5)
    give(volume, 77, policy)
    assert shown(volume / "deep")[0] == group
    volume.chmod(0o755)  # no setgid: no match
    give(volume, 77, policy)
    assert shown(volume / "deep")[0] == 77


def test_symlinks_are_never_followed(volume: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o600)
    (volume / "folder").symlink_to(outside)
    (volume / "file").symlink_to(outside / "file")
    give(volume, 77, "Always")
    assert shown(outside) == (0, 0o700)
    assert shown(outside / "file") == (0, 0o600)
    assert shown(volume / "file")[0] == 77


def test_mounts_are_never_entered_not_even_of_the_same_file_system(
    volume: Path, tmp_path: Path
) -> None:
    for name in ("disk", "host"):
        (volume / name).mkdir()
    (tmp_path / "host").mkdir(mode=0o700)
    (tmp_path / "host" / "file").touch(mode=0o600)
    (volume / "bound").touch()
    mounts = [volume / "disk", volume / "host", volume / "bound"]
    mount_tmpfs(mounts[0], mode=0o700)
    bind_mount(tmp_path / "host", mounts[1])
    bind_mount(tmp_path / "host" / "file", mounts[2])
    try:
        give(volume, 77, "Always")
        assert shown(volume / "disk") == (0, 0o700)
        assert shown(tmp_path / "host") == (0, 0o700)
        assert shown(tmp_path / "host" / "file") == (0, 0o600)
    finally:
        for mount in mounts:
            unmount(mount)
    assert shown(volume)[0] == 77


def test_folders_nested_too_deeply_are_an_error_and_the_root_stays_a_mismatch(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VOLUME_DEPTH, "value", 2, raising=False)
    (volume / "deep" / "deeper" / "deepest").mkdir()
    with pytest.raises(OSError, match="nested too deeply") as failure:
        give(volume, 77, "OnRootMismatch")
    assert failure.value.errno == errno.ENAMETOOLONG
    assert shown(volume)[0] == 0


def test_an_interrupted_walk_is_not_taken_for_done(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception):
        """The process ended."""

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        give(volume, 77, "OnRootMismatch", stop)
    give(volume, 77, "OnRootMismatch")
    assert shown(volume / "deep")[0] == 77
    del monkeypatch


def test_a_volume_that_is_a_device_or_gone_is_left_alone(tmp_path: Path) -> None:
    give(tmp_path / "none", 77, "Always")
