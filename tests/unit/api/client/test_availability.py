"""A server that is away for hours, in virtual time."""

import asyncio
import logging
from itertools import pairwise

import pytest
from simulation.simulated_loop import simulated

from kubelite.api.client.availability import (
    BROKEN_MAX,
    PATIENCE_SECONDS,
    RETURN_SPREAD_SECONDS,
    TRY_MAX_SECONDS,
    Availability,
)
from kubelite.api.errors import ServiceUnavailable
from kubelite.randomness import SeededRandomness


def made() -> Availability:
    return Availability("https://server", SeededRandomness(4))


def try_once(availability: Availability) -> bool:
    """Ask a server that refuses; return whether the request went out."""
    try:
        with availability.attempt() as attempt:
            attempt.failed("refused")
            return True
    except ServiceUnavailable:
        return False


def answer(availability: Availability) -> None:
    with availability.attempt() as attempt:
        attempt.answered()


@simulated
async def test_a_server_that_is_away_is_tried_ever_less_often_however_many_ask() -> None:
    availability = made()
    loop = asyncio.get_running_loop()
    went_out: list[float] = []
    while loop.time() < 1200:
        went_out += [loop.time() for _ in range(20) if try_once(availability)]
        await asyncio.sleep(0.1)
    assert went_out[1] - went_out[0] < 1.0
    pauses = [after - before for before, after in pairwise(went_out[10:])]
    assert min(pauses) >= TRY_MAX_SECONDS / 2
    assert max(pauses) <= TRY_MAX_SECONDS * 1.5 + 0.2  # so a return is noticed soon
    assert len({round(pause, 1) for pause in pauses}) > 20  # jitter


@simulated
async def test_the_absence_and_the_return_are_one_line_each() -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("kubelite.api.client.availability")
    handler, level = Lines(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        availability = made()
        answer(availability)
        for _ in range(2000):
            try_once(availability)
            await asyncio.sleep(10)
        assert lines == ["API server does not answer"]
        await asyncio.sleep(60)
        answer(availability)
        answer(availability)
        assert lines == ["API server does not answer", "API server answers again"]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@simulated
async def test_the_first_answer_wakes_those_that_pause_each_at_a_time_of_its_own() -> None:
    availability = made()
    loop = asyncio.get_running_loop()
    try_once(availability)
    woken: list[float] = []
    told: list[float] = []

    async def wait() -> None:
        await availability.pause(3600)
        woken.append(loop.time())

    end = availability.subscribe(lambda: told.append(loop.time()))
    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(wait())
        await asyncio.sleep(1000)
        answer(availability)
    assert told == [1000.0]  # listeners at once
    assert 1000 < min(woken) < max(woken) < 1000 + RETURN_SPREAD_SECONDS
    assert len(set(woken)) == 50
    end()
    try_once(availability)
    await asyncio.sleep(60)
    answer(availability)
    assert len(told) == 1


@simulated
async def test_a_pause_is_no_longer_than_asked() -> None:
    availability = made()
    loop = asyncio.get_running_loop()
    await availability.pause(0.5)
    assert loop.time() == 0.5
    try_once(availability)
    await asyncio.sleep(60)
    waiting = asyncio.create_task(availability.pause(0.01))
    await asyncio.sleep(0)
    answer(availability)
    started = loop.time()
    await waiting
    assert loop.time() - started <= 0.01


@simulated
async def test_one_request_at_a_time_tries_a_server_that_hangs() -> None:
    availability = made()
    try_once(availability)
    await asyncio.sleep(60)
    in_flight = 0

    async def hang() -> None:
        nonlocal in_flight
        with availability.attempt():
            in_flight += 1
            await asyncio.sleep(3600)

    hanging = [asyncio.create_task(hang()) for _ in range(10)]
    await asyncio.sleep(1)
    assert in_flight == 1
    first = next(task for task in hanging if not task.done())
    await asyncio.sleep(PATIENCE_SECONDS)
    first.cancel()  # its caller has waited long enough
    await asyncio.gather(*hanging, return_exceptions=True)
    assert availability.is_away
    with pytest.raises(ServiceUnavailable, match="no answer within"):
        availability.attempt()
    await asyncio.sleep(60)
    answer(availability)  # the try that was given up does not keep others out
    assert not availability.is_away


@simulated
async def test_a_request_that_is_given_up_early_says_nothing() -> None:
    availability = made()

    async def hang() -> None:
        with availability.attempt():
            await asyncio.sleep(3600)

    task = asyncio.create_task(hang())
    await asyncio.sleep(PATIENCE_SECONDS / 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not availability.is_away


@simulated
async def test_connections_that_break_off_again_and_again_are_an_absence() -> None:
    availability = made()
    for _ in range(5):
        for _ in range(BROKEN_MAX - 1):  # each was idle too long
            with availability.attempt() as attempt:
                attempt.broke("disconnected")
        answer(availability)
    assert not availability.is_away
    for _ in range(BROKEN_MAX):  # what stands in front of the server accepts, and closes
        with availability.attempt() as attempt:
            attempt.broke("disconnected")
    assert availability.is_away
    with pytest.raises(ServiceUnavailable, match="disconnected"):
        availability.attempt()
    await asyncio.sleep(60)
    with availability.attempt() as attempt:
        attempt.broke("disconnected")
    assert availability.is_away
    await asyncio.sleep(60)
    answer(availability)
    assert not availability.is_away
