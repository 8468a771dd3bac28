from pathlib import Path

import pytest

from kubelite.doctor.reading import existing, mount_of, number_of, parse_mounts, text_of

TABLE = r"""/dev/a / ext4 rw 0 0
/dev/b /data xfs rw,noexec 0 0
/dev/c /data\040two tmpfs rw 0 0
/dev/d /data btrfs rw 0 0
nonsense
"""


@pytest.mark.parametrize(
    ("path", "source"),
    [("/", "/dev/a"), ("/database", "/dev/a"), ("/data/x", "/dev/d"), ("/data two/y", "/dev/c")],
)
def test_mounts(path: str, source: str) -> None:
    mount = mount_of(Path(path), parse_mounts(TABLE))
    assert mount is not None
    assert mount.source == source


def test_no_mounts() -> None:
    assert mount_of(Path("/"), []) is None


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "number"
    assert (text_of(path), number_of(path)) == (None, None)
    for text, number in (("42\n", 42), ("-1", -1), ("max\n", None), ("", None), ("9" * 30, None)):
        path.write_text(text)
        assert number_of(path) == number
    path.write_bytes(b"\xff")
    assert text_of(path) == "\ufffd"


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(Path("/")) == Path("/")
