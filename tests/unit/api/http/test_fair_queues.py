"""Seats and queues of priority levels."""

import asyncio

import pytest

from kubelite.api.http.fair_queues import Level, Limits, Refused, hand
from kubelite.limits import SEAT_WAIT_SECONDS


def levels(*limits: Limits) -> list[Level]:
    made = [Level(one) for one in limits]
    for level in made:
        level.peers = made
    return made


async def waiting(level: Level, flow: str) -> asyncio.Task[None]:
    task = asyncio.create_task(level.take(flow))
    await asyncio.sleep(0)
    return task


async def test_a_level_without_queues_refuses() -> None:
    (level,) = levels(Limits(seats=1))
    await level.take("a")
    with pytest.raises(Refused) as refused:
        await level.take("a")
    assert refused.value.cause == "concurrency-limit"
    assert refused.value.retry_after_seconds == 1
    level.give_back()
    await level.take("a")


async def test_flows_are_served_in_turn() -> None:
    (level,) = levels(Limits(seats=1, queues=8, hand_size=1))
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
    (level,) = levels(Limits(seats=1, queues=8, hand_size=1, queue_length=2))
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
    (level,) = levels(Limits(seats=1, queues=1))
    await level.take("x")
    with pytest.raises(Refused) as refused:
        await level.take("a")
    assert refused.value.cause == "time-out"
    assert level.waiting == 0
    level.give_back()
    assert level.in_use == 0


async def test_who_leaves_the_queue_loses_no_seat() -> None:
    (level,) = levels(Limits(seats=1, queues=1))
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
    busy, idle = levels(Limits(seats=1, queues=1), Limits(seats=4, lendable=2, queues=1))
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
    busy, _ = levels(Limits(seats=1, borrowable=1), Limits(seats=4, lendable=4))
    await busy.take("a")
    await busy.take("a")
    with pytest.raises(Refused):
        await busy.take("a")


async def test_exempt_levels_know_no_limit() -> None:
    (level,) = levels(Limits(seats=0, is_exempt=True))
    for _ in range(1000):
        await level.take("a")


def test_a_hand_is_always_the_same_and_without_doubles() -> None:
    for flow in map(str, range(200)):
        dealt = list(hand(flow, 16, 6))
        assert dealt == list(hand(flow, 16, 6))
        assert len(set(dealt)) == 6
        assert all(0 <= index < 16 for index in dealt)
    assert len({tuple(hand(str(flow), 64, 6)) for flow in range(200)}) > 190
