"""When usage is measured, and the rates between two measurements."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from simulation.simulated_loop import run_simulated

from kubelite.clock import SystemClock
from kubelite.node.runtime import EngineUnavailable, Usage
from kubelite.node.usage import (
    SHARED_SECONDS,
    WATCHED_SECONDS,
    HostMeasure,
    Measured,
    Measurement,
    PodUsage,
    Sampler,
    rate_between,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Meter:
    """A machine that uses half a core."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def __call__(self) -> Measurement:
        now = asyncio.get_running_loop().time()
        self.times.append(now)
        await asyncio.sleep(0.1)
        return Measurement(AT, usage(round(now * 5e8), now), ())


def usage(nanoseconds: int, moment: float) -> Usage:
    return Usage(at=AT, cpu_core_nanoseconds=nanoseconds, moment_seconds=moment)


@pytest.mark.parametrize(
    ("before", "after", "rate"),
    [
        (usage(0, 1), usage(500, 2), 500),
        (usage(0, 1), usage(15_000, 16), 1000),
        (usage(7, 1), usage(7, 2), 0),
        (usage(9, 1), usage(7, 2), None),  # it began anew
        (usage(7, 1), usage(9, 1), None),
        (usage(7, 2), usage(9, 1), None),
    ],
)
def test_rates(before: Usage, after: Usage, rate: int | None) -> None:
    assert rate_between(before, after) == rate


def test_what_was_measured_once_has_no_rate() -> None:
    old = Measurement(AT, usage(0, 1), (PodUsage("u1", "a", "p", ""),))
    new = Measurement(AT, usage(5, 2), (PodUsage("u2", "a", "q", "", usage=usage(9, 2)),))
    assert Measured(new, old).rates() == {"": 5}
    assert Measured(new).rates() == {}


def test_nothing_is_measured_while_nobody_asks() -> None:
    async def story() -> None:
        meter = Meter()
        sampler = Sampler(meter)
        await asyncio.sleep(1000)
        assert meter.times == []
        first = await sampler.measured()  # waits for the second
        assert first.rates() == {"": 500_000_000}
        assert len(meter.times) == 2
        await asyncio.sleep(WATCHED_SECONDS / 2)
        assert 5 <= len(meter.times) <= 7  # one each 15 s
        await asyncio.sleep(WATCHED_SECONDS)
        assert sampler.is_resting
        count = len(meter.times)
        await asyncio.sleep(1000)
        assert len(meter.times) == count
        assert (await sampler.measured()).rates() == {"": 500_000_000}
        assert not sampler.is_resting
        await sampler.stop()

    run_simulated(1, story)


def test_all_who_ask_share_a_measurement() -> None:
    async def story() -> None:
        meter = Meter()
        sampler = Sampler(meter)
        together = await asyncio.gather(*(sampler.measured() for _ in range(50)))
        assert len(meter.times) == 2
        assert len({id(one.newest) for one in together}) == 1
        await sampler.newest()
        assert len(meter.times) == 2
        await asyncio.sleep(SHARED_SECONDS + 0.1)
        await asyncio.gather(*(sampler.newest() for _ in range(50)))
        assert len(meter.times) == 3
        await sampler.stop()

    run_simulated(1, story)


def test_one_who_leaves_takes_the_measurement_from_nobody() -> None:
    async def story() -> None:
        meter = Meter()
        sampler = Sampler(meter)
        leaving = asyncio.create_task(sampler.newest())
        staying = asyncio.create_task(sampler.newest())
        await asyncio.sleep(0.05)
        leaving.cancel()
        assert (await staying).at == AT
        assert len(meter.times) == 1
        await sampler.stop()

    run_simulated(1, story)


def test_a_failure_is_told_and_the_next_who_asks_measures_again() -> None:
    async def story() -> None:
        failures = [OSError("broken")]
        meter = Meter()

        async def measure() -> Measurement:
            if failures:
                raise failures.pop()
            return await meter()

        sampler = Sampler(measure)
        with pytest.raises(OSError, match="broken"):
            await sampler.newest()
        assert (await sampler.measured()).rates() == {"": 500_000_000}
        await sampler.stop()

    run_simulated(1, story)


def test_a_window_is_at_most_fifteen_seconds_and_a_half() -> None:
    async def story() -> None:
        meter = Meter()
        sampler = Sampler(meter)
        for _ in range(20):
            await asyncio.sleep(7)
            measured = await sampler.measured()
            assert measured.earlier is not None
            assert measured.newest.machine is not None
            assert measured.earlier.machine is not None
            window = (
                measured.newest.machine.moment_seconds - measured.earlier.machine.moment_seconds
            )
            assert 1 <= window <= 15.5
        await sampler.stop()

    run_simulated(1, story)


def test_an_engine_that_hangs_or_is_away_does_not_keep_the_figures_back() -> None:
    async def main() -> None:
        async def hangs() -> Path | None:
            await asyncio.get_running_loop().create_future()
            return None

        async def is_away() -> Path | None:
            raise EngineUnavailable("away")

        async def answers() -> Path | None:
            return Path("/")

        for find, is_known in ((hangs, False), (is_away, False), (answers, True)):
            found = await HostMeasure(SystemClock(), Path("/"), 1, find)(())
            assert found.filesystem is not None
            assert (found.image_filesystem is not None) is is_known

    asyncio.run(main())
