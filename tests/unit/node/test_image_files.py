"""The files of images."""

import os
from pathlib import Path

import pytest

from kubelite.node.image_files import open_archive


def test_a_pipe_is_no_archive_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image.tar")
    with pytest.raises(OSError, match="is not a regular file"):
        open_archive(tmp_path / "image.tar")


def test_an_archive_is_read_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"abc")
    with open_archive(tmp_path / "image.tar") as archive:
        assert archive.read() == b"abc"
