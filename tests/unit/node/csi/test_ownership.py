"""Files of a volume that are given to a pod's fsGroup."""

import os
import stat
from pathlib import Path

import pytest

from kubelite.limits import CSI_GROUP_DEPTH
from kubelite.node.csi.ownership import give, is_needed

GROUP = os.getgid()
OTHER = 4242
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_files_become_writable_and_folders_inherit_the_group(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    (tmp_path / "a" / "b" / "file").chmod(0o400)
    tmp_path.chmod(0o755)
    assert give(tmp_path, GROUP) == 4
    assert mode_of(tmp_path / "a" / "b" / "file") == 0o660
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        assert mode_of(folder) & 0o2770 == 0o2770


@needs_root
def test_a_link_to_a_file_outside_changes_nothing_there(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    outside.chmod(0o600)
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "link").symlink_to(outside)
    (volume / "folder").symlink_to(tmp_path)
    give(volume, OTHER)
    assert outside.stat().st_gid != OTHER
    assert mode_of(outside) == 0o600
    assert (volume / "link").lstat().st_gid == OTHER


@needs_root
def test_on_root_mismatch_a_volume_that_is_done_is_not_walked(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    assert give(tmp_path, OTHER, "OnRootMismatch") == 2
    os.chown(file, -1, GROUP)
    assert give(tmp_path, OTHER, "OnRootMismatch") == 0
    assert file.stat().st_gid == GROUP
    assert give(tmp_path, OTHER, "Always") == 2
    assert file.stat().st_gid == OTHER


@pytest.mark.parametrize(
    ("mode", "is_done"), [(0o2770, True), (0o2775, True), (0o770, False), (0o2750, False)]
)
def test_the_root_tells_whether_a_volume_is_done(tmp_path: Path, mode: int, is_done: bool) -> None:
    tmp_path.chmod(mode)
    root = tmp_path.stat()
    assert is_needed(root, root.st_gid, "OnRootMismatch") is not is_done
    assert is_needed(root, root.st_gid + 1, "OnRootMismatch")
    assert is_needed(root, root.st_gid, "Always")


def test_folders_that_are_nested_too_deeply_hold_no_descriptors(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(CSI_GROUP_DEPTH.value + 1):
        os.mkdir("d", dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    with pytest.raises(OSError, match="nested too deeply"):
        give(tmp_path, GROUP)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
