import errno
import os
import stat
from pathlib import Path

import pytest

from kubelite.node.volumes.local_folders import LocalFolders
from kubelite.node.volumes.tmpfs import mount_tmpfs, unmount

NAME = "pvc-1_shop_data"
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts")


@pytest.fixture
def folders(tmp_path: Path) -> LocalFolders:
    return LocalFolders(tmp_path / "storage")


def names(folders: LocalFolders) -> list[str]:
    return sorted(path.name for path in folders.top.iterdir())


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_is_for_all_users_whatever_the_umask(folders: LocalFolders) -> None:
    before = os.umask(0o077)
    try:
        folders.make(NAME, None)
    finally:
        os.umask(before)
    assert mode_of(folders.top / NAME) == 0o777
    assert mode_of(folders.top) & 0o076 == 0
    assert names(folders) == [NAME]


def test_made_again_it_keeps_its_content_and_the_mode_that_a_user_gave_it(
    folders: LocalFolders,
) -> None:
    folders.make(NAME, None)
    (folders.top / NAME / "file").write_text("kept")
    (folders.top / NAME).chmod(0o700)
    folders.make(NAME, None)
    assert (folders.top / NAME / "file").read_text() == "kept"
    assert mode_of(folders.top / NAME) == 0o700


def test_a_crash_before_the_mode_is_set_leaves_no_folder_of_that_name(
    folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "crash")

    with monkeypatch.context() as patched:
        patched.setattr("os.fchmod", fail)
        with pytest.raises(OSError, match="crash"):
            folders.make(NAME, None)
    assert NAME not in names(folders)
    folders.make(NAME, None)
    assert names(folders) == [NAME]


def test_what_a_crash_left_goes_with_the_volume(
    folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "crash")

    with monkeypatch.context() as patched:
        patched.setattr("os.rename", fail)
        with pytest.raises(OSError, match="crash"):
            folders.make(NAME, None)
    assert len(names(folders)) == 1
    folders.remove(NAME)
    assert names(folders) == []


def test_removed_with_its_content_but_not_what_a_link_leads_to(
    folders: LocalFolders, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    folders.make(NAME, None)
    folders.make("pvc-2_shop_other", None)
    (folders.top / NAME / "deep").mkdir()
    (folders.top / NAME / "deep" / "link").symlink_to(outside)
    (folders.top / NAME / "file").write_text("x")
    folders.remove(NAME)
    folders.remove(NAME)
    assert names(folders) == ["pvc-2_shop_other"]
    assert (outside / "file").read_text() == "kept"


def test_a_link_in_place_of_the_folder_is_removed_alone(
    folders: LocalFolders, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    folders.top.mkdir()
    (folders.top / NAME).symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        folders.make(NAME, 7)
    folders.remove(NAME)
    assert (tmp_path / "outside").is_dir()
    assert names(folders) == []


def test_nothing_to_remove_without_a_storage_folder(folders: LocalFolders) -> None:
    folders.remove(NAME)
    assert not folders.top.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../etc"])
def test_a_name_is_one_step(folders: LocalFolders, name: str) -> None:
    with pytest.raises(AssertionError):
        folders.remove(name)
    with pytest.raises(AssertionError):
        folders.make(name, None)


@ROOT
@pytest.mark.parametrize("inner", ["", "disk"])
def test_what_is_mounted_in_a_folder_is_never_removed(folders: LocalFolders, inner: str) -> None:
    folders.make(NAME, None)
    point = folders.top / NAME / inner
    point.mkdir(exist_ok=True)
    (folders.top / NAME / "beside").write_text("kept too")
    mount_tmpfs(point)
    try:
        (point / "data").write_text("kept")
        with pytest.raises(OSError, match="mounted") as caught:
            folders.remove(NAME)
        assert caught.value.errno == errno.EBUSY
        assert (point / "data").read_text() == "kept"
    finally:
        unmount(point)
    assert (folders.top / NAME / "beside").read_text() == "kept too"
    folders.remove(NAME)
    assert names(folders) == []
