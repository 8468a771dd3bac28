"""Volumes change all at once."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.node.volumes import atomic_writer
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


@pytest.mark.parametrize("path", ["..x", "..data/x", "", "/x", "a/../../x", "a\0"])
def test_a_path_that_the_volume_itself_uses_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        write_atomically(tmp_path, {path: File(b"1")}, "one")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("paths", [("a", "a/b"), ("a/b", "a")])
def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path, paths: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="path"):
        write_atomically(tmp_path, {path: File(b"1") for path in paths}, "one")


def _turned(name: str, target: str) -> Callable[[Path], None]:
    def turn(volume: Path) -> None:
        place = volume / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
        place.symlink_to(target)

    return turn


def _folders(*names: str) -> Callable[[Path], None]:
    def make(volume: Path) -> None:
        for name in names:
            (volume / name).unlink(missing_ok=True)
            (volume / name / "inner").mkdir(parents=True)

    return make


@pytest.mark.parametrize(
    "trick",
    [
        _turned("..data", "../victim"),
        _turned("..data", "../../../../../../../../../../../{victim}"),
        _turned("..data", "{victim}"),
        _turned("..data", "."),
        _turned("..data", ".."),
        _turned("..data", "nowhere"),
        _turned("..one", "../victim"),
        _turned("..one", "{victim}"),
        _turned("..data_tmp", "../victim"),
        _turned("a", "../victim/a"),
        _turned("d", "../victim"),
        _folders("..data", "..data_tmp", "a", "d"),
    ],
)
def test_what_a_container_turned_is_never_followed(
    tmp_path: Path, trick: Callable[[Path], None]
) -> None:
    victim, volume = tmp_path / "victim", tmp_path / "volume"
    (victim / "inner").mkdir(parents=True)
    (victim / "a").write_text("kept")
    volume.mkdir()
    files = {"a": File(b"1"), "d/b": File(b"2")}
    assert write_atomically(volume, files, "one")
    trick(volume)
    for link in volume.iterdir():  # a target that names the victim is known only now
        if link.is_symlink() and "{victim}" in (target := str(link.readlink())):
            link.unlink()
            link.symlink_to(target.replace("{victim}", str(victim)))
    write_atomically(volume, files, "two")
    assert _seen(volume) == {"a": b"1", "d/b": b"2"}
    assert not write_atomically(volume, files, "three")
    assert write_atomically(volume, {"a": File(b"3")}, "four")
    assert _seen(volume)["a"] == b"3"
    assert sorted(path.name for path in volume.iterdir() if path.name[0] == ".") == [
        "..data",
        "..four",
    ]
    assert sorted(path.name for path in victim.iterdir()) == ["a", "inner"]
    assert (victim / "a").read_text() == "kept"


def test_what_a_container_changed_is_written_anew(tmp_path: Path) -> None:
    files = {"a": File(b"1"), "d/b": File(b"2")}
    assert write_atomically(tmp_path, files, "one")
    (tmp_path / "..one/a").write_bytes(b"x")
    assert write_atomically(tmp_path, files, "two")
    (tmp_path / "..two/more").touch()
    assert write_atomically(tmp_path, files, "three")
    (tmp_path / "..three/a").unlink()
    os.mkfifo(tmp_path / "..three/a")  # reading it would wait for ever
    assert write_atomically(tmp_path, files, "four")
    assert _seen(tmp_path) == {"a": b"1", "d/b": b"2"}


def test_a_write_that_fails_leaves_the_old_files_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert write_atomically(tmp_path, {"a": File(b"1")}, "one")

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_writer, "create_file", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path, {"a": File(b"2"), "d/b": File(b"2")}, "two")
    assert _seen(tmp_path) == {"a": b"1"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["..data", "..one", "a"]


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
