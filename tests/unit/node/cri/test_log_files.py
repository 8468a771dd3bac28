"""Logs in files: from their begin, their last lines, across rotation, and while they are written."""

import asyncio
import gzip
import os
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.inotify import Inotify
from kubelite.node.cri import log_cursor, log_folder
from kubelite.node.cri.log_files import read_log
from kubelite.node.cri.log_folder import log_path, rotated
from kubelite.node.runtime import LogEntry, LogQuery, RuntimeFailure

START = datetime(2026, 5, 1, 10, tzinfo=UTC)


async def over() -> None:
    """A container that has ended."""


class EngineLog:
    """Writes a log as an engine does, and rotates it as the node does."""

    def __init__(self, root: Path) -> None:
        self.path = root / "pods" / "prod_web_7-u" / "app" / "0.log"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._writer = self.path.open("ab", buffering=0)
        self.count = 0
        self.rotations = 0

    def write(self, count: int = 1, tags: str = "F") -> None:
        for _ in range(count):
            time = f"{START + timedelta(seconds=self.count):%Y-%m-%dT%H:%M:%S}.000000001Z"
            self._writer.write(f"{time} stdout {tags} {self.count}\n".encode())
            self.count += 1

    def rename(self) -> Path:
        target = self.path.with_name(f"0.log.20260501-{self.rotations:06}")
        self.rotations += 1
        self.path.rename(target)
        return target

    def reopen(self) -> None:
        self._writer.close()
        self._writer = self.path.open("ab", buffering=0)

    def rotate(self, *, compress: bool = False) -> Path:
        target = self.rename()
        self.reopen()
        return compressed(target) if compress else target

    def close(self) -> None:
        self._writer.close()


def compressed(path: Path) -> Path:
    state = path.stat()
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    os.utime(packed, (state.st_atime, state.st_mtime))
    path.unlink()
    return packed


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineLog]:
    engine = EngineLog(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_cursor, "READ_BYTES", 100)


def numbers(entries: list[LogEntry]) -> list[int]:
    return [int(entry.data) for entry in entries]


async def read(engine: EngineLog, query: LogQuery) -> list[int]:
    return numbers([entry async for entry in read_log(engine.path, query, over(), Inotify())])


async def test_a_log_is_read_over_all_its_files_the_oldest_first(engine: EngineLog) -> None:
    engine.write(3)
    engine.rotate(compress=True)
    engine.write(3)
    engine.rotate()
    engine.write(3)
    assert await read(engine, LogQuery()) == list(range(9))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("wanted", [0, 1, 2, 3, 4, 7, 8, 9, 10, 100])
async def test_the_last_lines_are_found_from_the_end_backwards(
    engine: EngineLog, wanted: int
) -> None:
    engine.write(4)
    engine.rotate(compress=True)
    engine.write(3)
    engine.rotate()
    engine.write(2)
    assert await read(engine, LogQuery(tail_lines=wanted)) == list(range(9))[max(9 - wanted, 0) :]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["plain", "packed"])), max_size=4),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(0, 100)),
    st.one_of(st.none(), st.integers(0, 100)),
)
def test_any_log_is_read_as_its_lines_are(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[tuple[int, str]],
    last: int,
    tail: int | None,
    since: int | None,
) -> None:
    engine = EngineLog(tmp_path_factory.mktemp("log"))
    for count, form in files:
        engine.write(count)
        engine.rotate(compress=form == "packed")
    engine.write(last)
    engine.close()
    expected = list(range(engine.count))
    if tail is not None:
        expected = expected[max(engine.count - tail, 0) :]
    if since is not None:
        expected = [number for number in expected if number >= since]
    date = None if since is None else START + timedelta(seconds=since)
    assert asyncio.run(read(engine, LogQuery(tail_lines=tail, since=date))) == expected


async def test_files_that_were_last_written_before_a_date_are_not_read(engine: EngineLog) -> None:
    engine.write(3)
    old = engine.rotate()
    os.utime(old, (0, START.timestamp() - 60))
    old.chmod(0)
    engine.write(3)
    assert await read(engine, LogQuery(since=START)) == [3, 4, 5]


async def test_what_is_written_while_it_is_read_is_left_out(engine: EngineLog) -> None:
    engine.write(3)
    found = []
    async with aclosing(read_log(engine.path, LogQuery(), over(), Inotify())) as entries:
        async for entry in entries:
            found.append(entry)
            engine.write(2)
            if len(found) == 2:
                engine.rotate()
    assert numbers(found) == [0, 1, 2]


class Following:
    """A client that follows a log."""

    def __init__(self, engine: EngineLog, query: LogQuery) -> None:
        self.found: list[LogEntry] = []
        self.has_ended = asyncio.Event()
        self._came = asyncio.Event()
        self._notices = Inotify()
        self._task = asyncio.create_task(self._follow(engine.path, query))

    async def _follow(self, path: Path, query: LogQuery) -> None:
        ended: Coroutine[Any, Any, Any] = self.has_ended.wait()
        async for entry in read_log(path, query, ended, self._notices):
            self.found.append(entry)
            self._came.set()

    async def until(self, count: int) -> None:
        while len(self.found) < count:
            self._came.clear()
            await self._came.wait()

    async def end(self) -> list[int]:
        self.has_ended.set()
        await self._task
        self._notices.close()
        return numbers(self.found)


async def test_a_followed_log_goes_on_until_the_container_has_ended(engine: EngineLog) -> None:
    engine.write(2)
    client = Following(engine, LogQuery(follow=True))
    await client.until(2)
    engine.write(2)
    await client.until(4)
    engine.write(1)
    assert await client.end() == [0, 1, 2, 3, 4]


async def test_a_followed_log_begins_with_the_last_lines(engine: EngineLog) -> None:
    engine.write(5)
    client = Following(engine, LogQuery(follow=True, tail_lines=1))
    await client.until(1)
    engine.write(1)
    assert await client.end() == [4, 5]


async def test_following_goes_over_a_rotation_without_a_gap(engine: EngineLog) -> None:
    client = Following(engine, LogQuery(follow=True))
    engine.write(2)
    await client.until(2)
    engine.rename()
    engine.write(2)  # still into the old file
    engine.reopen()
    engine.write(2)
    await client.until(6)
    engine.rotate(compress=True)
    engine.write(1)
    await client.until(7)
    assert await client.end() == list(range(7))


@pytest.mark.parametrize(("module", "tail"), [(log_folder, None), (log_cursor, 3)])
async def test_a_rotation_between_a_look_at_the_folder_and_the_open_hides_nothing(
    engine: EngineLog, monkeypatch: pytest.MonkeyPatch, module: ModuleType, tail: int | None
) -> None:
    look = log_folder.rotated_in
    rotations = 0

    def rotates_after_it(name: str, folder: int) -> list[str]:
        nonlocal rotations
        names = look(name, folder)
        if not rotations:
            rotations += 1
            engine.rotate()
            engine.write(2)
        return names

    engine.write(5)
    monkeypatch.setattr(module, "rotated_in", rotates_after_it)
    found = await read(engine, LogQuery(follow=True, tail_lines=tail))
    assert found == list(range(0 if tail is None else 2, 7))
    assert rotations == 1


async def test_a_client_that_is_far_behind_finds_the_files_rotated_since(
    engine: EngineLog,
) -> None:
    has_ended = asyncio.Event()
    notices = Inotify()
    entries = read_log(engine.path, LogQuery(follow=True), has_ended.wait(), notices)  # type: ignore[arg-type] # returns True
    engine.write(2)
    found = [await anext(entries)]
    for _ in range(3):  # while it reads nothing
        engine.rotate(compress=True)
        engine.write(2)
    has_ended.set()
    found.extend([entry async for entry in entries])
    notices.close()
    assert numbers(found) == list(range(8))


async def test_a_file_that_was_cut_is_read_from_its_begin(engine: EngineLog) -> None:
    client = Following(engine, LogQuery(follow=True))
    engine.write(3)
    await client.until(3)
    os.truncate(engine.path, 0)
    engine.write(1)
    await client.until(4)
    assert await client.end() == [0, 1, 2, 3]


async def test_a_folder_that_goes_with_its_pod_ends_nothing_but_the_log(engine: EngineLog) -> None:
    client = Following(engine, LogQuery(follow=True))
    engine.write(1)
    await client.until(1)
    engine.path.unlink()
    engine.path.parent.rmdir()
    assert await client.end() == [0]


async def test_following_works_where_no_file_can_be_watched(
    engine: EngineLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Inotify, "armed", refuse)
    client = Following(engine, LogQuery(follow=True))
    engine.write(1)
    await client.until(1)
    engine.write(1)
    await client.until(2)
    assert await client.end() == [0, 1]


async def test_a_log_that_is_not_there_is_an_error(engine: EngineLog) -> None:
    engine.path.unlink()
    with pytest.raises(RuntimeFailure, match="No such file"):
        await read(engine, LogQuery())


@pytest.mark.parametrize("level", [0, 1, 2, 3])
async def test_a_link_on_the_way_is_not_followed(
    engine: EngineLog, tmp_path: Path, level: int
) -> None:
    secret = tmp_path / "secret"
    place = engine.path if level == 0 else engine.path.parents[level - 1]
    engine.write(1)
    place.rename(secret)
    place.symlink_to(secret)
    with pytest.raises(RuntimeFailure):
        await read(engine, LogQuery())


async def test_a_file_that_blocks_is_not_opened(engine: EngineLog) -> None:
    engine.path.unlink()
    os.mkfifo(engine.path)
    with pytest.raises(RuntimeFailure, match="not a regular file"):
        await read(engine, LogQuery())


async def test_a_compressed_file_that_is_none_is_an_error(engine: EngineLog) -> None:
    engine.rotate().with_name("0.log.20260501-000000.gz").write_bytes(b"x" * 100)
    with pytest.raises(RuntimeFailure, match="compressed"):
        await read(engine, LogQuery())


def test_the_rotated_files_of_one_run_are_told_from_those_of_others() -> None:
    names = [
        "0.log",
        "0.log.20260501-000002",
        "0.log.20260501-000001.gz",
        "0.log.20260501-000001",
        "0.log.20260501-000003.tmp",
        "10.log.20260501-000001",
        "0.log.old",
    ]
    assert rotated("0.log", names) == ["0.log.20260501-000001.gz", "0.log.20260501-000002"]


@pytest.mark.parametrize("path", ["", "/a/b/c", "a/b/c/d", "/var/log/pods/../c/0.log"])
def test_a_path_must_be_that_of_a_log(path: str) -> None:
    with pytest.raises(ValueError, match="no path"):
        log_path(path)
