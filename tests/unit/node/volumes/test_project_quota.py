"""Project quotas of folders on a real file system, which is made in a file."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelite.node.untrusted_files import opened_folder
from kubelite.node.volumes import project_quota
from kubelite.node.volumes.local_folders import LocalFolders
from kubelite.node.volumes.project_quota import project_of

MIB = 1 << 20
DATA, OTHER = "pvc-1_shop_data", "pvc-2_shop_other"


def mounted(folder: Path, *options: str) -> Path:
    """Mount a new ext4 with the feature of projects, or skip the test."""
    image, top = folder / "image", folder / "disk"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
    top.mkdir()
    features = ["-O", "quota,project", "-E", "quotatype=prjquota"]
    try:
        subprocess.run(["mkfs.ext4", "-q", *features, str(image)], check=True, capture_output=True)
        command = ["mount", "-o", ",".join(["loop", *options]), str(image), str(top)]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system with project quotas: {error}")
    return top


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[LocalFolders]:
    top = mounted(tmp_path, "prjquota")
    yield LocalFolders(top / "storage")
    subprocess.run(["umount", str(top)], check=True)


def fill(path: Path, mebibytes: int) -> int:
    """Write that much, or less if the file system refuses it; return what was written."""
    count = 0
    with path.open("wb") as file:
        for _ in range(mebibytes):
            try:
                os.write(file.fileno(), b"x" * MIB)
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno in {errno.EDQUOT, errno.ENOSPC}:
                    break
                raise
            count += 1
    return count


def project(folders: LocalFolders, name: str) -> int:
    with opened_folder(folders.top / name) as folder:
        return project_of(folder)


def test_a_volume_holds_its_capacity_and_leaves_the_rest_to_others(folders: LocalFolders) -> None:
    assert folders.make(DATA, 4 * MIB)
    assert folders.make(OTHER, 8 * MIB)
    assert fill(folders.top / DATA / "file", 20) in {3, 4}
    assert fill(folders.top / OTHER / "file", 6) == 6
    assert project(folders, DATA) != project(folders, OTHER)
    shown = os.statvfs(folders.top / DATA)
    assert shown.f_blocks * shown.f_frsize == 4 * MIB
    assert shown.f_bavail <= 1


def test_it_grows_with_its_volume(folders: LocalFolders) -> None:
    folders.make(DATA, 4 * MIB)
    before = project(folders, DATA)
    assert fill(folders.top / DATA / "file", 6) < 6
    assert folders.make(DATA, 16 * MIB)
    assert fill(folders.top / DATA / "file", 6) == 6
    assert project(folders, DATA) == before


def test_what_a_folder_held_before_counts(folders: LocalFolders, tmp_path: Path) -> None:
    folders.make(DATA, None)
    assert project(folders, DATA) == 0
    (tmp_path / "precious").write_text("kept")
    (folders.top / DATA / "deep").mkdir()
    (folders.top / DATA / "link").symlink_to(tmp_path / "precious")
    os.mkfifo(folders.top / DATA / "pipe")
    assert fill(folders.top / DATA / "deep" / "old", 3) == 3
    assert folders.make(DATA, 4 * MIB)
    assert fill(folders.top / DATA / "deep" / "new", 3) < 3


def test_the_number_of_a_removed_volume_is_free_again(folders: LocalFolders) -> None:
    folders.make(DATA, 4 * MIB)
    number = project(folders, DATA)
    folders.remove(DATA)
    assert folders.make(DATA, 8 * MIB)
    assert project(folders, DATA) == number


def test_two_names_that_hash_alike_do_not_share_a_limit(
    folders: LocalFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlib.crc32", lambda _: 7)
    folders.make(DATA, 4 * MIB)
    folders.make(OTHER, 4 * MIB)
    assert project(folders, DATA) != project(folders, OTHER)


def test_where_quotas_are_not_enforced_it_says_so(tmp_path: Path) -> None:
    top = mounted(tmp_path)
    try:
        folders = LocalFolders(top / "storage")
        assert not folders.make(DATA, 4 * MIB)
        assert fill(folders.top / DATA / "file", 6) == 6
    finally:
        subprocess.run(["umount", str(top)], check=True)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a tmpfs")
def test_a_file_system_without_projects_makes_a_folder_without_a_limit() -> None:
    folders = LocalFolders(Path(f"/dev/shm/kubelite-{os.getpid()}"))
    try:
        assert not folders.make(DATA, 4 * MIB)
        folders.make(DATA, None)
    finally:
        folders.remove(DATA)
        folders.top.rmdir()


class Kernel:
    """The calls of a file system with project quotas: numbers by inode, limits in KiB by number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.projects: dict[int, int] = {}
        self.limits: dict[int, int] = {}
        self.error = 0
        monkeypatch.setattr(project_quota, "_quotactl", self.quotactl)
        monkeypatch.setattr(project_quota, "_attributes", self.attributes)
        monkeypatch.setattr("fcntl.ioctl", self.ioctl)

    def quotactl(self, _: int, command: int, project: int, quota: project_quota._Quota) -> None:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        if command == project_quota._SET:
            self.limits[project] = quota.hard_kib
        quota.hard_kib = self.limits.get(project, 0)
        quota.used_inodes = sum(found == project for found in self.projects.values())

    def attributes(self, opened: int) -> project_quota._Attributes:
        return project_quota._Attributes(project=self.projects.get(os.fstat(opened).st_ino, 0))

    def ioctl(self, opened: int, _: int, attributes: project_quota._Attributes) -> None:
        self.projects[os.fstat(opened).st_ino] = attributes.project


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_the_structures_have_the_sizes_of_the_kernels() -> None:
    assert ctypes.sizeof(project_quota._Attributes) == 28
    assert ctypes.sizeof(project_quota._Quota) == 72


def test_each_folder_has_a_limit_of_its_own_that_goes_with_it(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlib.crc32", lambda _: 7)
    folders = LocalFolders(tmp_path / "storage")
    folders.make(DATA, 4 * MIB)
    folders.make(OTHER, 8 * MIB + 1)
    assert sorted(kernel.limits.values()) == [4 * 1024, 8 * 1024 + 1]
    folders.make(DATA, 16 * MIB)
    assert sorted(kernel.limits.values()) == [8 * 1024 + 1, 16 * 1024]
    folders.remove(DATA)
    assert sorted(kernel.limits.values()) == [0, 8 * 1024 + 1]


def test_content_joins_the_project_and_what_links_lead_to_does_not(
    kernel: Kernel, tmp_path: Path
) -> None:
    folders = LocalFolders(tmp_path / "storage")
    folders.make(DATA, None)
    (tmp_path / "precious").write_text("kept")
    inside = folders.top / DATA / "deep" / "old"
    inside.parent.mkdir()
    inside.write_text("x")
    (folders.top / DATA / "link").symlink_to(tmp_path / "precious")
    os.mkfifo(folders.top / DATA / "pipe")
    folders.make(DATA, 4 * MIB)
    (number,) = set(kernel.projects.values())
    joined = {folders.top / DATA, inside.parent, inside}
    assert set(kernel.projects) == {path.stat().st_ino for path in joined}
    assert number >= project_quota.PROJECT_FIRST


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ESRCH, errno.EPERM])
def test_a_kernel_without_quotas_changes_nothing(
    kernel: Kernel, tmp_path: Path, error: int
) -> None:
    kernel.error = error
    folders = LocalFolders(tmp_path / "storage")
    assert not folders.make(DATA, 4 * MIB)
    assert kernel.projects == {}


def test_a_broken_disk_is_an_error(kernel: Kernel, tmp_path: Path) -> None:
    kernel.error = errno.EIO
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        LocalFolders(tmp_path / "storage").make(DATA, 4 * MIB)
