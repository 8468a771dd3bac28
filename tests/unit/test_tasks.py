import asyncio
import logging

import pytest

from kubelite import tasks
from kubelite.tasks import TaskSet, in_slices, together


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "RESTART_DELAY_SECONDS", 0.0)


async def test_what_fails_is_started_again() -> None:
    runs: list[int] = []
    done = asyncio.Event()

    async def run() -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("broken")
        done.set()

    owner = TaskSet()
    owner.supervise(run, name="broken")
    await asyncio.wait_for(done.wait(), 5)
    await owner.stop()
    assert len(runs) == 3


async def test_what_ends_by_somebody_elses_cancellation_is_started_again() -> None:
    runs: list[int] = []
    done = asyncio.Event()

    async def run() -> None:
        runs.append(1)
        if len(runs) == 1:
            given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            given_up.cancel()
            await given_up
        done.set()

    owner = TaskSet()
    owner.supervise(run, name="waits for others")
    await asyncio.wait_for(done.wait(), 5)
    await owner.stop()
    assert len(runs) == 2


async def test_stop_ends_also_what_others_start_while_they_end() -> None:
    owner = TaskSet()
    started: list[asyncio.Task[None]] = []

    async def ends_with_more() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            started.append(owner.start(for_ever(), name="late"))

    async def for_ever() -> None:
        await asyncio.Event().wait()

    owner.start(ends_with_more(), name="early")
    await asyncio.sleep(0)
    await owner.stop()
    assert [task.cancelled() for task in started] == [True]


async def test_what_fails_while_it_is_stopped_is_not_started_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("cannot clean up")

    owner = TaskSet()
    owner.supervise(run, name="broken")
    await asyncio.sleep(0)
    await asyncio.wait_for(owner.stop(), 5)
    assert len(runs) == 1
    assert [record.getMessage() for record in caplog.records] == ["task failed"]


async def test_a_task_may_stop_the_set_it_is_in() -> None:
    owner = TaskSet()

    async def stop() -> str:
        await owner.stop()
        return "stopped"

    assert await asyncio.wait_for(owner.start(stop(), name="stops"), 5) == "stopped"


async def test_an_unexpected_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    owner = TaskSet()
    with caplog.at_level(logging.ERROR):
        await asyncio.gather(owner.start(fail(), name="fails"), return_exceptions=True)
        await asyncio.sleep(0)
    assert [record.getMessage() for record in caplog.records] == ["task failed"]


async def test_together_cancels_the_rest_and_raises_the_first_error() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("slow")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await together(slow(), fail())
    assert ended == ["slow"]


async def test_slices_give_the_loop_a_turn_between_them() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    items = list(range(10))
    seen: list[tuple[list[int], int]] = []
    async for some in in_slices(items, 4):
        items.clear()  # who gave them may change them meanwhile
        seen.append((some, turns))
    counting.cancel()
    assert [some for some, _ in seen] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [turn - seen[0][1] for _, turn in seen] == [0, 1, 2]
    nothing: list[int] = []
    assert [one async for one in in_slices(nothing)] == []
