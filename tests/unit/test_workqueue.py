import asyncio
from itertools import pairwise

import pytest
import uvloop
from simulation.simulated_loop import simulated

from kubelite.limits import IDLE_TURNS
from kubelite.metrics import REGISTRY
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


async def turn(queue: WorkQueue[str]) -> float:
    """Take a key, enqueue it again as a reconcile that goes in circles does; return the loop time of the turn."""
    key = await queue.get()
    queue.again(key)
    queue.done(key)
    return asyncio.get_running_loop().time()


@simulated
async def test_a_key_that_comes_again_and_again_though_nothing_changed_is_slowed_down() -> None:
    queue: WorkQueue[str] = WorkQueue(name="circles")
    queue.add("a")
    before = IDLE_TURNS.times_reached
    times = [await turn(queue) for _ in range(IDLE_TURNS.value + 12)]
    gaps = [round(after - before, 1) for before, after in pairwise(times)]
    assert gaps[: IDLE_TURNS.value] == [0] * IDLE_TURNS.value
    assert gaps[IDLE_TURNS.value :] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60]
    assert IDLE_TURNS.times_reached > before


@simulated
async def test_a_change_brings_a_slowed_key_at_once_and_ends_its_run() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    last = [await turn(queue) for _ in range(IDLE_TURNS.value + 8)][-1]
    queue.add("a")
    assert [await turn(queue) for _ in range(IDLE_TURNS.value)] == [last] * IDLE_TURNS.value


@simulated
async def test_a_key_whose_object_changes_each_time_is_never_slowed_down() -> None:
    queue: WorkQueue[str] = WorkQueue()
    started = asyncio.get_running_loop().time()
    for _ in range(1000):
        queue.add("a")
        queue.done(await queue.get())
    assert asyncio.get_running_loop().time() == started


@simulated
async def test_a_tiny_delay_asked_for_again_and_again_is_slowed_down_too() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    started = asyncio.get_running_loop().time()
    for _ in range(IDLE_TURNS.value + 8):
        key = await queue.get()
        queue.add_after(key, 0.0001)
        queue.done(key)
    assert asyncio.get_running_loop().time() - started > 6


@simulated
async def test_regular_looks_keep_their_interval_however_many_there_are() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    started = asyncio.get_running_loop().time()
    for _ in range(50):
        key = await queue.get()
        queue.add_after(key, 2.0)
        queue.done(key)
    assert asyncio.get_running_loop().time() - started == 49 * 2.0


@simulated
async def test_one_line_tells_of_many_keys_in_circles(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue(name="circles")
    for number in range(50):
        queue.add(f"k{number}")
    for _ in range(50 * (IDLE_TURNS.value + 4)):
        await turn(queue)
    assert [one.message for one in caplog.records if "again and again" in one.message] == [
        "a key is reconciled again and again though nothing changes; slowing it down"
    ]


def counted(name: str) -> dict[str, float]:
    """Return the numbers of a queue by metric, its buckets left out."""
    label = f'{{name="{name}"}} '
    lines = (one.split(label) for one in REGISTRY.exposition().splitlines() if label in one)
    return {metric: float(value) for metric, value in lines}


@simulated
async def test_a_queue_counts_under_the_names_of_client_go() -> None:
    queue: WorkQueue[str] = WorkQueue(name="counted", retry_first_seconds=1.0)
    queue.add("a")
    queue.add("a")
    queue.add("b")
    await asyncio.sleep(2)
    assert counted("counted")["workqueue_depth"] == 2
    key = await queue.get()
    queue.add("a")
    await asyncio.sleep(3)
    await queue.get()
    await asyncio.sleep(1)
    found = counted("counted")
    assert found["workqueue_depth"] == 0
    assert found["workqueue_adds_total"] == 3
    assert found["workqueue_queue_duration_seconds_count"] == 2
    assert found["workqueue_queue_duration_seconds_sum"] == pytest.approx(2 + 5)
    assert found["workqueue_unfinished_work_seconds"] == pytest.approx(4 + 1)
    assert found["workqueue_longest_running_processor_seconds"] == pytest.approx(4)
    queue.done(key)
    queue.retry("b")
    found = counted("counted")
    assert found["workqueue_work_duration_seconds_count"] == 1
    assert found["workqueue_work_duration_seconds_sum"] == pytest.approx(4)
    assert found["workqueue_longest_running_processor_seconds"] == pytest.approx(1)
    assert found["workqueue_retries_total"] == 1
    other: WorkQueue[str] = WorkQueue(name="counted")
    other.add("c")
    assert counted("counted")["workqueue_depth"] == 2, "queues of one name are one"


async def test_queues_without_a_name_are_not_shown() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert counted("") == {}
