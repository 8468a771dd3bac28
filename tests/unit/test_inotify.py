"""Waits for changes of folders."""

import asyncio
import os
import struct
from pathlib import Path

import pytest

from kubelite.inotify import Inotify, events_in
from kubelite.node.untrusted_files import opened_folder


async def test_a_wait_is_done_at_the_next_change_of_the_folder_or_of_a_file_in_it(
    tmp_path: Path,
) -> None:
    notices = Inotify()
    with opened_folder(tmp_path) as folder:
        with notices.armed(folder) as wait:
            (tmp_path / "new").touch()
            await wait
        with notices.armed(folder) as wait:
            (tmp_path / "new").write_text("more")
            await wait
        with notices.armed(folder) as wait:
            (tmp_path / "new").rename(tmp_path / "old")
            await wait
    notices.close()


async def test_all_who_wait_for_one_folder_are_told(tmp_path: Path) -> None:
    notices = Inotify()
    with (
        opened_folder(tmp_path) as folder,
        notices.armed(folder) as first,
        notices.armed(folder) as second,
    ):
        (tmp_path / "new").touch()
        await asyncio.gather(first, second)
    notices.close()


async def test_who_leaves_ends_no_wait_of_another(tmp_path: Path) -> None:
    notices = Inotify()
    with opened_folder(tmp_path) as folder, notices.armed(folder) as first:
        with notices.armed(folder):
            pass
        (tmp_path / "new").touch()
        await first
    assert notices._waits == {}
    notices.close()


async def test_a_folder_that_nobody_waits_for_is_not_watched(tmp_path: Path) -> None:
    notices = Inotify()
    with opened_folder(tmp_path) as folder, notices.armed(folder):
        pass
    fdinfo = Path(f"/proc/self/fdinfo/{notices._descriptor}").read_text()
    assert "inotify wd" not in fdinfo
    notices.close()
    notices.close()


async def test_an_overflow_ends_all_waits(tmp_path: Path) -> None:
    notices = Inotify()
    with opened_folder(tmp_path) as folder, notices.armed(folder) as wait:
        read, write = os.pipe()
        os.write(write, struct.pack("iIII", -1, 0x4000, 0, 0))
        real, notices._descriptor = notices._descriptor, read
        notices._read()
        notices._descriptor = real
        await wait
        os.close(read)
        os.close(write)
    notices.close()


async def test_what_is_no_folder_cannot_be_watched(tmp_path: Path) -> None:
    file = os.open(tmp_path / "file", os.O_CREAT | os.O_RDONLY)
    with pytest.raises(NotADirectoryError), Inotify().armed(file):
        pass
    os.close(file)


def test_events_are_split_with_their_names() -> None:
    data = struct.pack("iIII16s", 1, 0x2, 0, 16, b"name") + struct.pack("iIII", 2, 0x400, 0, 0)
    assert list(events_in(data)) == [(1, 0x2, "name"), (2, 0x400, "")]
