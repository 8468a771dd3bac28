"""Read-only copies of mounts and all that is mounted below them."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubelite.node.volumes.recursive import is_supported, pin_read_only
from kubelite.node.volumes.tmpfs import bind_mount, mount_tmpfs, mounts_below, unmount_below

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not is_supported(), reason="mounts, as of Linux 5.12"
)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    """A volume with another file system below it."""
    made = tmp_path / "volume"
    (made / "below").mkdir(parents=True)
    mount_tmpfs(made / "below")
    (made / "below" / "file").write_text("kept")
    yield made
    unmount_below(tmp_path)


def refusal(path: Path) -> int | None:
    """Return the error with which a write is refused."""
    try:
        path.write_text("changed")
    except OSError as error:
        return error.errno
    return None


def test_a_pinned_copy_is_read_only_with_all_that_is_mounted_below(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "pod" / "pin"
    pin_read_only(source, target)
    assert refusal(target / "file") == errno.EROFS
    assert refusal(target / "below" / "file") == errno.EROFS
    assert (target / "below" / "file").read_text() == "kept"
    assert refusal(source / "below" / "file") is None
    assert (target / "below" / "file").read_text() == "changed"


def test_an_engine_that_binds_the_copy_keeps_it_read_only_below(
    source: Path, tmp_path: Path
) -> None:
    pin_read_only(source, tmp_path / "pin")
    (tmp_path / "container").mkdir()
    subprocess.run(["mount", "--rbind", tmp_path / "pin", tmp_path / "container"], check=True)
    assert refusal(tmp_path / "container" / "below" / "file") == errno.EROFS


def test_the_copy_goes_without_the_original(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "pod" / "pin"
    pin_read_only(source, target)
    pin_read_only(source, target)  # as for the next attempt of a container
    unmount_below(tmp_path / "pod")
    assert mounts_below(tmp_path / "pod") == []
    assert (source / "below").is_mount()
    assert refusal(source / "below" / "file") is None


def test_what_is_mounted_later_does_not_appear_in_the_copy(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "pod" / "pin"
    (source / "later").mkdir()
    pin_read_only(source, target)
    bind_mount(source / "below", source / "later")
    assert not (target / "later" / "file").exists()


def test_a_file_can_be_pinned_and_what_is_absent_cannot(source: Path, tmp_path: Path) -> None:
    pin_read_only(source / "below" / "file", tmp_path / "pod" / "file")
    assert refusal(tmp_path / "pod" / "file") == errno.EROFS
    with pytest.raises(FileNotFoundError):
        pin_read_only(source / "none", tmp_path / "pod" / "none")
