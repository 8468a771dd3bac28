"""Files of logs are kept small while containers write and clients read."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from kubelite.clock import SystemClock
from kubelite.inotify import Inotify
from kubelite.node.cri import log_rotation
from kubelite.node.cri.log_files import read_log
from kubelite.node.cri.log_rotation import RotatedLogs, seconds_to_next_check
from kubelite.node.log_links import log_file
from kubelite.node.log_policy import LogPolicy
from kubelite.node.runtime import (
    ContainerRecord,
    ContainerRuntime,
    EngineUnavailable,
    LogEntry,
    LogQuery,
)
from unit.node.cri.test_log_files import START

LINE = b"2026-05-01T10:00:00.%09dZ stdout F %09d " + b"x" * 60 + b"\n"


@pytest.mark.parametrize(
    ("grown", "seconds", "left", "pause"),
    [
        (0, 5.0, 100, 10.0),
        (-5, 5.0, 100, 10.0),  # it was cut
        (10, 10.0, 5, 5.0),
        (10, 10.0, 500, 10.0),
        (1000, 1.0, 5, 0.05),
        (10, 0.0, 5, 10.0),
    ],
)
def test_a_file_is_measured_again_before_it_is_full(
    grown: int, seconds: float, left: int, pause: float
) -> None:
    assert seconds_to_next_check(grown, seconds, left) == pause


class WritingEngine:
    """An engine with one container, whose output it writes to a file."""

    def __init__(self, root: Path) -> None:
        record = ContainerRecord("c" * 64, "u", "web", "d", "app", 0, "running", START)
        self.path = log_file(root, record)
        self.record = msgspec.structs.replace(record, log_path=str(self.path))
        self.path.parent.mkdir(parents=True)
        self.file = self.path.open("ab", buffering=0)
        self.count = 0
        self.opened = 0
        self.failure: Exception | None = None
        self.reopened = asyncio.Event()
        self.refused = asyncio.Event()

    async def inspect(self, container_id: str) -> ContainerRecord | None:
        assert container_id == self.record.id
        return self.record

    async def rotate_log(self, container_id: str) -> None:
        assert container_id == self.record.id
        if self.failure is not None:
            assert not self.path.exists()
            self.refused.set()
            raise self.failure
        self.opened += 1
        self.file.close()
        self.file = self.path.open("ab", buffering=0)
        self.reopened.set()

    def write(self, count: int) -> None:
        lines = [LINE % (number, number) for number in range(self.count, self.count + count)]
        self.count += count
        self.file.write(b"".join(lines))

    def sizes(self) -> dict[str, int]:
        sizes = {}
        for path in self.path.parent.iterdir():
            with suppress(FileNotFoundError):  # renamed or removed just now
                sizes[path.name] = path.stat().st_size
        return sizes


@asynccontextmanager
async def rotating(
    tmp_path: Path, policy: LogPolicy
) -> AsyncIterator[tuple[WritingEngine, RotatedLogs]]:
    engine, notices = WritingEngine(tmp_path), Inotify()
    runtime = cast(ContainerRuntime, engine)
    logs = RotatedLogs(tmp_path, runtime, policy, SystemClock(), notices)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_rotation, "CHECK_MIN_SECONDS", 0.005)
        patch.setattr(log_rotation, "CHECK_MAX_SECONDS", 0.02)
        await logs.add([engine.record])
        try:
            yield engine, logs
        finally:
            await logs.close()
            notices.close()
            engine.file.close()


async def test_a_flood_of_output_stays_within_the_policy_and_a_client_misses_none(
    tmp_path: Path,
) -> None:
    policy = LogPolicy(200_000, 4)
    async with rotating(tmp_path, policy) as (engine, _):
        has_ended = asyncio.Event()
        found: list[LogEntry] = []

        async def follow() -> None:
            ended: Any = has_ended.wait()
            query = LogQuery(follow=True)
            async for entry in read_log(engine.path, query, ended, notices):
                found.append(entry)  # noqa: PERF401 - others look at it meanwhile

        notices = Inotify()
        reading = asyncio.create_task(follow())
        largest = 0
        while engine.opened < 12:
            while os.fstat(engine.file.fileno()).st_size > policy.max_bytes:
                await asyncio.sleep(0.001)  # a loaded machine rotates late, which is no fault
            engine.write(100)
            largest = max(largest, sum(engine.sizes().values()))
            await asyncio.sleep(0)
            while len(found) < engine.count - 2000 and not reading.done():
                await asyncio.sleep(0.001)  # the client keeps up with the files there are
        has_ended.set()
        await reading
        notices.close()
        assert [int(entry.data[:9]) for entry in found] == list(range(engine.count))
        assert engine.count * len(LINE % (0, 0)) > 3 * policy.total_bytes
        assert largest < policy.total_bytes + policy.max_bytes  # and one that is compressed
        assert len(engine.sizes()) <= policy.max_files


async def test_a_rotation_that_the_engine_refuses_is_undone_and_tried_again(
    tmp_path: Path,
) -> None:
    async with rotating(tmp_path, LogPolicy(1000, 3)) as (engine, _):
        engine.failure = EngineUnavailable("it is away")
        engine.write(20)
        await engine.refused.wait()
        while not engine.path.exists():
            await asyncio.sleep(0.001)
        assert engine.sizes() == {"0.log": 20 * len(LINE % (0, 0))}
        engine.failure = None
        await engine.reopened.wait()
        assert engine.sizes()["0.log"] == 0


async def test_a_rotation_that_a_restart_has_cut_short_is_finished(tmp_path: Path) -> None:
    engine = WritingEngine(tmp_path)
    engine.write(5)
    engine.path.rename(engine.path.with_name("0.log.20260501-000000"))
    engine.file.close()
    notices = Inotify()
    logs = RotatedLogs(
        tmp_path, cast(ContainerRuntime, engine), LogPolicy(), SystemClock(), notices
    )
    await logs.add([engine.record])
    await engine.reopened.wait()
    assert engine.sizes()["0.log"] == 0
    await logs.close()
    notices.close()
    engine.file.close()


async def test_the_log_of_a_container_that_has_ended_is_left_alone(tmp_path: Path) -> None:
    async with rotating(tmp_path, LogPolicy(1000, 3)) as (engine, logs):
        engine.record = msgspec.structs.replace(engine.record, phase="exited")
        engine.write(20)
        (_, keeper), *_ = logs._keepers.values()
        await keeper
        assert set(engine.sizes()) == {"0.log"}


async def test_a_container_and_its_pod_take_their_files_along(tmp_path: Path) -> None:
    async with rotating(tmp_path, LogPolicy(1000, 3)) as (engine, logs):
        engine.write(20)
        await engine.reopened.wait()
        other = engine.path.with_name("1.log")
        other.touch()
        link = tmp_path / "containers" / f"web_d_app-{'c' * 64}.log"
        assert link.readlink() == engine.path
        await logs.remove(engine.record)
        assert set(engine.sizes()) == {"1.log"}
        assert not link.is_symlink()
        await logs.remove_pod("u")
        assert list((tmp_path / "pods").iterdir()) == []


async def test_files_of_an_engine_that_rotates_them_itself_are_not_watched(
    tmp_path: Path,
) -> None:
    async with rotating(tmp_path, LogPolicy(1000, 3)) as (engine, logs):
        theirs = msgspec.structs.replace(engine.record, id="d" * 64, log_path="/engine/d-json.log")
        ended = msgspec.structs.replace(engine.record, id="e" * 64, phase="exited")
        await logs.add([theirs, ended])
        assert list(logs._keepers) == [engine.record.id]


async def test_without_a_size_nothing_is_rotated(tmp_path: Path) -> None:
    async with rotating(tmp_path, LogPolicy(0, 3)) as (_, logs):
        assert not logs._keepers
