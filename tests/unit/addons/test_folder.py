"""The folder of manifests on a real file system."""

import os
from pathlib import Path

import pytest

from kubelite.addons import folder
from kubelite.addons.folder import BeingWritten, Unreadable, make, read, scan
from kubelite.limits import ADDON_FILE, ADDON_FILES, ADDON_FOLDER_NAMES, Limit


def test_the_folder_is_made_for_the_administrator_alone(tmp_path: Path) -> None:
    path = tmp_path / "server" / "manifests"
    assert make(path)
    assert path.stat().st_mode & 0o777 == 0o700
    assert not make(path)


def test_files_by_their_suffix_and_what_is_skipped(tmp_path: Path) -> None:
    for name in (
        "b.yaml",
        "a.yml",
        "c.json",
        ".d.yaml",
        "e.yaml~",
        "README",
        "b.yaml.skip",
        "gone.yaml.skip",
    ):
        (tmp_path / name).touch()
    found = scan(tmp_path)
    assert list(found.files) == ["a.yml", "b.yaml", "c.json"]
    assert found.skipped == {"b.yaml", "gone.yaml"}
    assert found.is_complete


def test_a_change_changes_the_state(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a")
    before = scan(tmp_path).files
    assert read(path) == (before["a.yaml"], b"a")
    path.write_text("b")
    os.utime(path, ns=(1, 1))
    assert scan(tmp_path).files != before


def test_only_files_are_read_and_no_links(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a: b")
    manifests = tmp_path / "manifests"
    make(manifests)
    (manifests / "link.yaml").symlink_to(secret)
    os.mkfifo(manifests / "pipe.yaml")
    (manifests / "folder.yaml").mkdir()
    open_to_all = manifests / "open.yaml"
    open_to_all.touch()
    open_to_all.chmod(0o666)
    for name, reason in scan(manifests).files.items():
        assert isinstance(reason, str), name
        with pytest.raises(Unreadable) as caught:
            read(manifests / name)
        assert str(caught.value) == reason
    (manifests / "bad\nname.yaml").touch()
    assert scan(manifests).files["bad\nname.yaml"] == "its name has characters that cannot be shown"


def test_a_folder_that_every_user_may_write_to_is_not_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(PermissionError, match="every user"):
        scan(tmp_path)


def test_a_file_that_a_program_has_open_for_writing_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    with path.open("w") as file:
        file.write("apiVersion: v1\n")
        file.flush()
        with pytest.raises(BeingWritten):
            read(path)
    assert read(path)[1] == b"apiVersion: v1\n"
    with path.open("r"):
        assert read(path)[1] == b"apiVersion: v1\n"
    path.open("a").close()  # no lease is left that would keep a writer waiting


def test_a_file_that_changes_while_it_is_read_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a")

    def changing(file: int) -> bytes:
        data = os.read(file, 10)
        path.write_text("longer")
        return data

    monkeypatch.setattr(folder, "_content", changing)
    with pytest.raises(BeingWritten):
        read(path)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "a.yaml")


def shrink(monkeypatch: pytest.MonkeyPatch, limit: Limit, value: int) -> None:
    monkeypatch.setattr(limit, "value", value)


def test_size_and_number_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, ADDON_FILE, 10)
    shrink(monkeypatch, ADDON_FILES, 2)
    shrink(monkeypatch, ADDON_FOLDER_NAMES, 3)
    (tmp_path / "a.yaml").write_bytes(b"x" * 10)
    (tmp_path / "b.yaml").write_bytes(b"x" * 11)
    (tmp_path / "c.yaml").touch()
    assert read(tmp_path / "a.yaml")[1] == b"x" * 10
    with pytest.raises(Unreadable, match="larger than 10 bytes"):
        read(tmp_path / "b.yaml")
    found = scan(tmp_path)
    assert found.is_complete
    assert found.files["c.yaml"] == "the folder has more than 2 files of manifests"
    (tmp_path / "d").touch()
    assert not scan(tmp_path).is_complete
    assert min(limit.times_reached for limit in (ADDON_FILE, ADDON_FILES, ADDON_FOLDER_NAMES)) > 0
