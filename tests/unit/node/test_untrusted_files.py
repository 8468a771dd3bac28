"""Folders whose content a container chose."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.limits import PATH_STEPS
from kubelite.node import untrusted_files
from kubelite.node.untrusted_files import (
    UnsafePath,
    empty,
    holds,
    names_of,
    opened_below,
    opened_folder,
    overwrite_file,
    read_file,
    remove,
    remove_path,
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    with opened_folder(tmp_path) as opened:
        yield opened


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "path", ["", ".", "/", "/etc", "..", "../x", "a/../../x", "a/..", "a\0b", "a/" * 100 + "b"]
)
def test_a_path_that_may_lead_out_has_no_names(path: str) -> None:
    with pytest.raises(UnsafePath):
        names_of(path)


def test_paths_are_as_deep_as_the_limit() -> None:
    assert names_of("./a//b/") == ("a", "b")
    assert len(names_of("a/" * PATH_STEPS.value)) == PATH_STEPS.value
    reached = PATH_STEPS.times_reached
    with pytest.raises(UnsafePath):
        names_of("a/" * PATH_STEPS.value + "b")
    assert PATH_STEPS.times_reached == reached + 1


def test_links_are_not_followed(tmp_path: Path, folder: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (tmp_path / "link").symlink_to("outside")
    (tmp_path / "file").symlink_to("outside/file")
    before = descriptors()
    with pytest.raises(OSError, match="link"), opened_folder("link", folder):
        pass
    with pytest.raises(OSError, match="link"), opened_below(("link", "x"), folder, 0o755):
        pass
    with pytest.raises(OSError, match="not a regular file"):
        read_file("file", folder, 10)
    with pytest.raises(OSError, match="not a regular file"):
        overwrite_file("file", folder, b"other", 0o644)
    assert (outside / "file").read_text() == "kept"
    assert not (outside / "x").exists()
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["fifo", "folder", "socket"])
def test_only_regular_files_are_read_and_written(tmp_path: Path, folder: int, kind: str) -> None:
    place = tmp_path / "x"
    match kind:
        case "fifo":
            os.mkfifo(place)  # opening it to read or write would wait for the other side
        case "folder":
            place.mkdir()
        case _:
            os.mknod(place, stat.S_IFSOCK | 0o600)
    for act in (
        lambda: read_file("x", folder, 10),
        lambda: overwrite_file("x", folder, b"", 0o644),
    ):
        with pytest.raises(OSError, match="not a regular file"):
            act()
    assert not holds("x", folder, b"", 0o644)


def test_reading_is_bounded(tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "x").open("wb") as file:
        file.truncate(3 << 30)
    asked: list[int] = []
    real = os.read

    def counted(descriptor: int, size: int) -> bytes:
        asked.append(size)
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", counted)
    assert read_file("x", folder, 100) == bytes(100)
    assert not holds("x", folder, b"short", 0o644)
    assert sum(asked) <= 200


def test_a_file_is_overwritten_in_place(tmp_path: Path, folder: int) -> None:
    path = tmp_path / "x"
    overwrite_file("x", folder, b"first", 0o644)
    inode = path.stat().st_ino
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    path.chmod(0o600)
    overwrite_file("x", folder, b"next", 0o644)
    assert path.read_bytes() == b"next"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert path.stat().st_ino == inode


def _deep(top: Path, depth: int) -> None:
    place = os.open(top, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=place)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=place))
        following = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = following
    os.close(place)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    """Deeper than Python recurses, and than a process may open files by default."""
    (tmp_path / "top").mkdir()
    _deep(tmp_path / "top", 1200)
    before = descriptors()
    remove_path(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []
    assert descriptors() == before


def test_what_links_lead_to_stays(tmp_path: Path, folder: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    (tmp_path / "top/inner").mkdir(parents=True)
    (tmp_path / "top/link").symlink_to(outside)
    (tmp_path / "top/inner/file").symlink_to(outside / "file")
    (tmp_path / "direct").symlink_to(outside)
    for name in ("top", "direct", "missing"):
        remove(name, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "file").read_text() == "kept"


def test_a_folder_moved_away_meanwhile_does_not_lead_out(
    tmp_path: Path, folder: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way up is the parent that a folder has by now: what is there is not emptied."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("kept")
    (tmp_path / "top/inner").mkdir(parents=True)
    (tmp_path / "top/inner/file").touch()
    real = os.unlink

    def moving(name: str, *, dir_fd: int) -> None:
        if name == "file":
            (tmp_path / "top/inner").rename(elsewhere / "inner")
        real(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", moving)
    with pytest.raises(OSError, match="Stale") as failure:
        remove("top", folder)
    assert failure.value.errno == errno.ESTALE
    assert (elsewhere / "kept").read_text() == "kept"


TREES = st.recursive(
    st.sampled_from(["file", "link", "fifo"]),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=30,
)


def _make(place: Path, tree: object) -> None:
    if isinstance(tree, dict):
        place.mkdir()
        for name, inner in tree.items():
            _make(place / name, inner)
    elif tree == "link":
        place.symlink_to("/")
    elif tree == "fifo":
        os.mkfifo(place)
    else:
        place.touch()


@settings(deadline=None, max_examples=30)  # the disk's time, not the code's
@given(st.dictionaries(st.sampled_from("abcd"), TREES, max_size=4))
def test_every_tree_is_emptied(tree: dict[str, object]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        _make(Path(name) / "top", tree)
        with opened_folder(Path(name) / "top") as top:
            empty(top)
        assert list((Path(name) / "top").iterdir()) == []


def test_wide_folders_are_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted_files, "NAMES_AT_ONCE", 3)
    for number in range(20):
        (tmp_path / "top" / str(number) / "x").mkdir(parents=True)
        (tmp_path / "top" / f"file{number}").touch()
    remove_path(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []
