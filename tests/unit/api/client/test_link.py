"""Turns to list, and what a client knows of its server's revision."""

import asyncio

from simulation.simulated_loop import simulated

from kubelite.api.client.availability import Availability
from kubelite.api.client.link import Link
from kubelite.limits import CLIENT_LISTS
from kubelite.randomness import SeededRandomness


def made() -> Link:
    return Link(Availability("server", SeededRandomness(1)))


@simulated
async def test_lists_take_turns() -> None:
    link = made()
    most = 0
    of_a_kind: dict[str, int] = {}

    async def list_(kind: str) -> None:
        nonlocal most
        async with link.list_turn(kind):
            of_a_kind[kind] = of_a_kind.get(kind, 0) + 1
            most = max(most, link.lists_in_flight)
            assert of_a_kind[kind] == 1
            await asyncio.sleep(10)
            of_a_kind[kind] -= 1

    times = CLIENT_LISTS.times_reached
    async with asyncio.TaskGroup() as group:
        for kind in ("pods", "services", "nodes", "secrets") * 5:
            group.create_task(list_(kind))
    assert most == CLIENT_LISTS.value
    assert not link.lists_in_flight
    assert not link._turns
    assert CLIENT_LISTS.times_reached > times


@simulated
async def test_a_list_that_waits_for_its_kind_keeps_nobody_elses_turn() -> None:
    link = made()
    done: list[str] = []

    async def list_(kind: str, seconds: float) -> None:
        async with link.list_turn(kind):
            await asyncio.sleep(seconds)
            done.append(kind)

    async with asyncio.TaskGroup() as group:
        for kind in ("slow", "slow", "slow", "quick"):
            group.create_task(list_(kind, 100 if kind == "slow" else 1))
            await asyncio.sleep(0.01)
    assert done[0] == "quick"


def test_what_was_shown_is_forgotten_when_it_is_in_doubt() -> None:
    link = made()
    link.shown("9")
    link.shown("7")
    assert link.has_reached("9")
    assert not link.has_reached("10")
    link.doubt()
    assert not link.has_reached("1")
    assert link.has_reached("opaque")  # not a number, so nothing is known of its order
