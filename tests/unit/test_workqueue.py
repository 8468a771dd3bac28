import asyncio

import pytest
import uvloop
from simulation.simulated_loop import simulated

from kubelite.workqueue import QueueClosed, QueueFull, WorkQueue


async def test_a_key_added_twice_comes_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    queue.add("a")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    assert len(queue) == 0
    queue.done(key)
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.done("a")
    assert queue.idle


async def test_waiting_workers_are_served_in_order() -> None:
    queue: WorkQueue[int] = WorkQueue()
    workers = [asyncio.ensure_future(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in range(3):
        queue.add(key)
    assert await asyncio.gather(*workers) == [0, 1, 2]


async def test_a_cancelled_worker_passes_its_wake_up_on() -> None:
    queue: WorkQueue[str] = WorkQueue()
    first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"
    with pytest.raises(asyncio.CancelledError):
        await first


@simulated
async def test_delayed_keys_come_at_the_earliest_time_asked_for() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 20)
    queue.add_after("soon", 4)
    queue.add_after("late", 8)
    queue.add_after("late", 5000)
    started = asyncio.get_running_loop().time()
    assert [await queue.get(), await queue.get()] == ["soon", "late"]
    assert asyncio.get_running_loop().time() - started == 8
    assert queue.delayed == 0


async def test_retries_wait_longer_and_longer_up_to_the_maximum() -> None:
    queue: WorkQueue[str] = WorkQueue(retry_max_seconds=0.05)
    delays = [queue.retry("a") for _ in range(6)]
    assert delays == [0.005, 0.01, 0.02, 0.04, 0.05, 0.05]
    assert queue.failures("a") == 6
    queue.forget("a")
    assert queue.retry("a") == 0.005
    queue.close()


async def test_closing_ends_every_wait() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add_after("x", 100)
    queue.close()
    queue.add("a")
    with pytest.raises(QueueClosed):
        await worker
    assert queue.delayed == 0


async def test_too_many_keys_are_refused() -> None:
    queue: WorkQueue[int] = WorkQueue(limit=2)
    queue.add(1)
    queue.add(2)
    queue.add(2)
    with pytest.raises(QueueFull, match="2 keys wait"):
        queue.add(3)
    queue.add_after(1, 1)
    queue.add_after(2, 1)
    with pytest.raises(QueueFull):
        queue.add_after(3, 1)
    queue.close()


def test_it_runs_on_uvloop() -> None:
    async def main() -> list[str]:
        queue: WorkQueue[str] = WorkQueue()
        queue.retry("a")
        queue.add_after("b", 0.0001)
        queue.add_after("b", 0.00005)
        return [await queue.get(), await queue.get()]

    assert sorted(uvloop.run(main())) == ["a", "b"]


async def test_times_that_no_longer_count_are_not_kept() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for second in range(1000):
        queue.add_after("a", 3600 - second)
    assert queue.delayed == 1
    assert len(queue._heap) < 200
    queue.close()


async def test_keys_that_come_due_in_a_full_queue_are_not_lost() -> None:
    queue: WorkQueue[str] = WorkQueue(limit=2)
    queue.add_after("c", 0.0001)
    queue.add_after("d", 0.0001)
    queue.add("a")
    queue.add("b")
    while queue.delayed:
        await asyncio.sleep(0)
    assert [await queue.get() for _ in range(4)] == ["a", "b", "c", "d"]
