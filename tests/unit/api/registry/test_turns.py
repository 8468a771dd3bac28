import asyncio

import pytest

from kubelite.api.registry.turns import Turns


async def test_everybody_gets_a_turn_in_order() -> None:
    turns, seen = Turns(), list[str]()

    async def work(name: str) -> None:
        async with turns.take("k"):
            seen.append(f"{name} begins")
            await asyncio.sleep(0)
            seen.append(f"{name} ends")

    await asyncio.gather(*(work(name) for name in "abc"))
    assert seen == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]
    assert "k" not in turns


async def test_keys_do_not_wait_for_each_other() -> None:
    turns = Turns()
    async with turns.take("a"), turns.take("b"):
        assert "a" in turns


async def test_who_gives_up_leaves_the_queue() -> None:
    turns = Turns()
    done = []

    async def work(name: str) -> None:
        async with turns.take("k"):
            done.append(name)

    async with turns.take("k"):
        first, second = asyncio.ensure_future(work("a")), asyncio.ensure_future(work("b"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
    await second
    assert done == ["b"]
    assert "k" not in turns


async def test_a_turn_that_comes_too_late_is_passed_on() -> None:
    turns = Turns()
    done = []

    async def work(name: str) -> None:
        async with turns.take("k"):
            done.append(name)

    async with turns.take("k"):
        first, second = asyncio.ensure_future(work("a")), asyncio.ensure_future(work("b"))
        await asyncio.sleep(0)
    first.cancel()  # its turn has just come
    await second
    assert done == ["b"]
    assert "k" not in turns


async def test_who_gave_up_just_before_the_turn_came_does_not_pass_it_on() -> None:
    turns = Turns()
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with turns.take("k"):
            inside += 1
            assert inside == 1, "two have the turn"
            await asyncio.sleep(0)
            inside -= 1

    async with turns.take("k"):
        first = asyncio.ensure_future(work())
        await asyncio.sleep(0)
        first.cancel()  # it has not heard of it yet …
    others = [asyncio.ensure_future(work()) for _ in range(2)]  # … when others begin anew
    with pytest.raises(asyncio.CancelledError):
        await first
    await asyncio.gather(*others)
    assert "k" not in turns
