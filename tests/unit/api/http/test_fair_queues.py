"""Seats and queues of priority levels."""

import asyncio
import tracemalloc

import pytest

from kubelite.api.http.fair_queues import HAND_MAX, Level, LevelLimits, Refused, hand
from kubelite.limits import SEAT_WAIT_SECONDS


def levels(*limits: LevelLimits) -> list[Level]:
    made = [Level(one) for one in limits]
    for level in made:
        level.peers = made
    return made


async def waiting(level: Level, flow: str) -> asyncio.Task[None]:
    task = asyncio.create_task(level.take(flow))
    await asyncio.sleep(0)
    return task


async def test_a_level_without_queues_refuses() -> None:
    (level,) = levels(LevelLimits(seats=1))
    await level.take("a")
    with pytest.raises(Refused) as refused:
        await level.take("a")
    assert refused.value.cause == "concurrency-limit"
    assert refused.value.retry_after_seconds == 1
    level.give_back()
    await level.take("a")


async def test_flows_are_served_in_turn() -> None:
    (level,) = levels(LevelLimits(seats=1, queues=8, hand_size=1))
    flows = ["a", "b"]
    assert len({next(hand(flow, 8, 1)) for flow in flows}) == 2
    await level.take("x")
    order: list[str] = []

    async def work(flow: str) -> None:
        await level.take(flow)
        order.append(flow)
        level.give_back()

    tasks = [asyncio.create_task(work("a")) for _ in range(3)]
    await asyncio.sleep(0)
    tasks.append(asyncio.create_task(work("b")))
    await asyncio.sleep(0)
    assert level.waiting == 4
    level.give_back()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "a", "a"]
    assert (level.in_use, level.waiting) == (0, 0)


async def test_a_full_queue_refuses_its_flow_only() -> None:
    (level,) = levels(LevelLimits(seats=1, queues=8, hand_size=1, queue_length=2))
    await level.take("x")
    tasks = [await waiting(level, "a") for _ in range(2)]
    with pytest.raises(Refused) as refused:
        await level.take("a")
    assert refused.value.cause == "queue-full"
    tasks.append(await waiting(level, "b"))
    assert level.waiting == 3
    for _ in range(4):
        level.give_back()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def test_who_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SEAT_WAIT_SECONDS, "value", 0)
    (level,) = levels(LevelLimits(seats=1, queues=1))
    await level.take("x")
    with pytest.raises(Refused) as refused:
        await level.take("a")
    assert refused.value.cause == "time-out"
    assert level.waiting == 0
    level.give_back()
    assert level.in_use == 0


async def test_who_leaves_the_queue_loses_no_seat() -> None:
    (level,) = levels(LevelLimits(seats=1, queues=1))
    await level.take("x")
    left, stayed = await waiting(level, "a"), await waiting(level, "b")
    left.cancel()
    await asyncio.sleep(0)
    level.give_back()
    await stayed
    late = await waiting(level, "c")
    level.give_back()
    late.cancel()  # the seat is on its way already
    await asyncio.gather(late, return_exceptions=True)
    assert (level.in_use, level.waiting) == (0, 0)


async def test_idle_seats_are_lent_and_come_back() -> None:
    busy, idle = levels(LevelLimits(seats=1, queues=1), LevelLimits(seats=4, lendable=2, queues=1))
    for _ in range(3):
        await busy.take("a")
    fourth = await waiting(busy, "a")
    assert not fourth.done()
    for _ in range(2):
        await idle.take("b")  # its own part is never lent
    wanting = await waiting(idle, "b")
    assert not wanting.done()
    busy.give_back()
    await wanting
    assert not fourth.done()
    busy.give_back()
    busy.give_back()
    await fourth
    assert busy.in_use + idle.in_use <= 5


async def test_borrowing_has_a_limit() -> None:
    busy, _ = levels(LevelLimits(seats=1, borrowable=1), LevelLimits(seats=4, lendable=4))
    await busy.take("a")
    await busy.take("a")
    with pytest.raises(Refused):
        await busy.take("a")


async def test_exempt_levels_know_no_limit() -> None:
    (level,) = levels(LevelLimits(seats=0, is_exempt=True))
    for _ in range(1000):
        await level.take("a")


def test_a_hand_is_always_the_same_and_without_doubles() -> None:
    for flow in map(str, range(200)):
        dealt = list(hand(flow, 16, 6))
        assert dealt == list(hand(flow, 16, 6))
        assert len(set(dealt)) == 6
        assert all(0 <= index < 16 for index in dealt)
    assert len({tuple(hand(str(flow), 64, 6)) for flow in range(200)}) > 190


async def test_queues_without_requests_are_not_kept() -> None:
    queues = 10_000_000
    (level,) = levels(LevelLimits(seats=1, queues=queues, hand_size=2, queue_length=5))
    assert len(level.queues) == 0
    await level.take("x")
    tasks = [await waiting(level, str(flow)) for flow in range(20)]
    assert level.waiting == 20
    assert 1 < len(level.queues) <= 20
    for task in tasks[:5]:
        task.cancel()
    await asyncio.gather(*tasks[:5], return_exceptions=True)
    assert level.waiting == 15
    for _ in range(16):
        level.give_back()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks[5:])
    assert (level.in_use, level.waiting, len(level.queues)) == (0, 0, 0)
    level.reconfigure(LevelLimits(seats=1, queues=queues + 1))
    assert len(level.queues) == 0


async def test_the_cost_of_a_request_does_not_grow_with_the_queues() -> None:
    tracemalloc.start()
    try:
        (level,) = levels(LevelLimits(seats=1, queues=10_000_000, hand_size=2))
        await level.take("x")
        task = await waiting(level, "a")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 200_000
    level.give_back()
    await task


def test_a_hand_is_bounded_whatever_the_configuration_says() -> None:
    assert len(set(hand("flow", 10_000_000, 10_000_000))) == HAND_MAX
    assert set(hand("flow", 3, 10_000_000)) == {0, 1, 2}


async def test_a_request_joins_the_shortest_queue_of_its_hand() -> None:
    (level,) = levels(LevelLimits(seats=1, queues=3, hand_size=3, queue_length=2))
    await level.take("x")
    tasks = [await waiting(level, "a") for _ in range(6)]  # each queue of the hand gets two
    assert (level.waiting, len(level.queues)) == (6, 3)
    with pytest.raises(Refused):
        await level.take("a")
    for _ in range(7):
        level.give_back()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)


async def test_requests_in_removed_queues_are_served() -> None:
    (level,) = levels(LevelLimits(seats=1, queues=64, hand_size=8))
    await level.take("x")
    tasks = [await waiting(level, str(flow)) for flow in range(10)]
    level.reconfigure(LevelLimits(seats=1, queues=1))
    tasks.append(await waiting(level, "late"))
    for _ in range(12):
        level.give_back()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert (level.waiting, len(level.queues)) == (0, 0)
