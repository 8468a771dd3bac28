"""Volumes change all at once."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.node.volumes.atomic_writer import File, write_atomically


def _seen(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for name in folder.iterdir()
        if not name.name.startswith("..")
        for path in ([name] if name.is_file() else name.rglob("*"))
        if path.is_file()
    }


def test_files_come_change_and_go(tmp_path: Path) -> None:
    assert write_atomically(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o400)}, "one")
    assert _seen(tmp_path) == {"a": b"1", "d/b": b"2"}
    assert (tmp_path / "d/b").stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "a").is_symlink()
    assert not write_atomically(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o400)}, "two")
    assert write_atomically(tmp_path, {"a": File(b"3")}, "three")
    assert _seen(tmp_path) == {"a": b"3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["..data", "..three", "a"]


def test_a_group_that_owns_files_can_read_them(tmp_path: Path) -> None:
    assert write_atomically(tmp_path, {"a": File(b"1", 0o400)}, "one", group=os.getgid())
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o440
    assert not write_atomically(tmp_path, {"a": File(b"1", 0o400)}, "two", group=os.getgid())


def test_a_path_that_leaves_the_volume_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="leaves the volume"):
        write_atomically(tmp_path, {"../x": File(b"1")}, "one")
    assert not (tmp_path.parent / "x").exists()


NAMES = st.sampled_from(["a", "b", "c/d", "c/e"])


@settings(deadline=None)  # the disk's time, not the code's
@given(st.lists(st.dictionaries(NAMES, st.binary(max_size=4)), min_size=1, max_size=5))
def test_a_reader_sees_the_last_version(versions: list[dict[str, bytes]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, version in enumerate(versions):
            write_atomically(
                folder, {key: File(data) for key, data in version.items()}, str(number)
            )
            assert _seen(folder) == version
