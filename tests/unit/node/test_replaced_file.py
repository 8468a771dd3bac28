"""Files of others that are replaced at once, and left alone when nothing changes."""

from pathlib import Path

import pytest

from kubelite.node.replaced_file import replace_file


def test_a_file_is_made_and_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "plugin"
    replace_file(path, "one", 0o755)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one", 0o755)
    replace_file(path, "other")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("other", 0o644)
    assert [one.name for one in tmp_path.iterdir()] == ["plugin"]


@pytest.mark.parametrize("change", ["content", "longer", "mode", "link"])
def test_whatever_differs_is_replaced(tmp_path: Path, change: str) -> None:
    path = tmp_path / "plugin"
    replace_file(path, "one", 0o755)
    match change:
        case "content":
            path.write_text("two")
        case "longer":
            path.write_text("one more")
        case "mode":
            path.chmod(0o700)
        case _:
            path.replace(tmp_path / "elsewhere")
            path.symlink_to("elsewhere")
    replace_file(path, "one", 0o755)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("one", 0o755)
    assert not path.is_symlink()


def test_an_unchanged_file_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk must not keep a node from starting that has run on it before."""
    path = tmp_path / "plugin"
    replace_file(path, "one", 0o755)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    replace_file(path, "one", 0o755)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, "two", 0o755)
    assert path.read_text() == "one"
