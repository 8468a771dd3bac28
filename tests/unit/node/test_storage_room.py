"""The room for new volumes, read from the disk."""

import threading
from pathlib import Path

import pytest

from kubelite.node import storage_room
from kubelite.node.storage_room import StorageRoom
from kubelite.node.usage_files import Filesystem

FULL = Filesystem(1000, 50, 950, 10, 10)
FREE = Filesystem(1000, 500, 500, 10, 10)


async def test_the_disk_of_a_folder_that_is_not_made_yet_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {tmp_path: FULL}
    monkeypatch.setattr(storage_room, "read_filesystem", found.get)
    room = StorageRoom(tmp_path / "data" / "storage")
    assert await room() == "50"
    found[tmp_path] = FREE
    assert await room() == ""
    found.clear()
    assert await room() is None


async def test_a_disk_that_hangs_is_asked_once_and_what_was_known_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_room, "READ_SECONDS", 0.01)
    answers, asked = threading.Event(), []

    def reads(folder: Path) -> Filesystem:
        asked.append(folder)
        assert answers.wait(30)
        return FULL

    monkeypatch.setattr(storage_room, "read_filesystem", reads)
    room = StorageRoom(tmp_path)
    for _ in range(3):
        assert await room() is None
    assert len(asked) == 1
    answers.set()
    monkeypatch.setattr(storage_room, "READ_SECONDS", 30)
    assert await room() == "50"
    assert len(asked) == 1
