import asyncio

import pytest

from kubelite.api.errors import TooManyRequests
from kubelite.api.http import unsent as unsent_module
from kubelite.api.http.unsent import Unsent
from kubelite.limits import UNSENT, UNSENT_OF_CALLER, Limit


def small(monkeypatch: pytest.MonkeyPatch, limit: Limit, value: int) -> None:
    monkeypatch.setattr(limit, "value", value)


@pytest.fixture
def unsent(monkeypatch: pytest.MonkeyPatch) -> Unsent:
    small(monkeypatch, UNSENT_OF_CALLER, 10)
    small(monkeypatch, UNSENT, 15)
    return Unsent()


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def nothing() -> None:
    return


async def test_an_answer_waits_until_those_before_it_are_read(unsent: Unsent) -> None:
    first, second, third, other = (unsent.charge(owner, nothing) for owner in "aaab")
    await first.wait(6)
    waiting = asyncio.create_task(second.wait(6))
    behind = asyncio.create_task(third.wait(1))  # there is room, but it is not its turn
    await settle()
    assert not waiting.done()
    assert not behind.done()
    await other.wait(5)  # another identity is not held up
    first.release()
    await settle()
    assert waiting.done()
    assert behind.done()
    assert unsent.budget.held_for("a") == 7


async def test_an_answer_larger_than_an_identity_may_hold_is_served_alone(unsent: Unsent) -> None:
    huge, small_one = unsent.charge("a", nothing), unsent.charge("a", nothing)
    await huge.wait(1000)
    assert huge.held == 10
    assert not small_one.change(1)
    huge.release()
    assert small_one.change(1)


async def test_who_finds_no_room_in_time_is_told_to_come_again(
    unsent: Unsent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsent_module, "ROOM_SECONDS", 0.0)
    first, second = unsent.charge("a", nothing), unsent.charge("a", nothing)
    await first.wait(10)
    with pytest.raises(TooManyRequests) as refused:
        await second.wait(5)
    assert refused.value.retry_after_seconds == 1
    assert unsent.budget.held == 10
    first.release()
    assert unsent.budget.held == 0


async def test_without_room_those_that_do_not_read_go_first_the_largest_first(
    unsent: Unsent, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[str] = []
    large = unsent.charge("a", lambda: cut.append("large"))
    little = unsent.charge("b", lambda: cut.append("little"))
    assert large.change(9)
    assert little.change(6)
    new = unsent.charge("c", nothing)
    assert not new.change(5)  # both read but a moment ago
    assert cut == []
    monkeypatch.setattr(unsent_module, "STALLED_SECONDS", -1.0)
    assert new.change(5)
    assert cut == ["large"]
    assert not large.change(1)
    assert unsent.budget.held == 11


async def test_one_that_is_cancelled_while_it_waits_holds_nothing(unsent: Unsent) -> None:
    first, second = unsent.charge("a", nothing), unsent.charge("a", nothing)
    await first.wait(10)
    waiting = asyncio.create_task(second.wait(5))
    await settle()
    waiting.cancel()
    await settle()
    first.release()
    assert unsent.budget.held == 0
    assert second.held == 0


async def test_one_cancelled_at_the_moment_it_is_let_in_can_be_released(unsent: Unsent) -> None:
    first, second = unsent.charge("a", nothing), unsent.charge("a", nothing)
    await first.wait(10)
    waiting = asyncio.create_task(second.wait(5))
    await settle()
    first.release()
    waiting.cancel()
    await settle()
    second.release()
    assert unsent.budget.held == 0
