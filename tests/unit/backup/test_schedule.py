"""When the scheduled snapshots of a server are taken, in virtual time."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from simulation.simulated_loop import SimulatedClock, run_simulated

from kubelite.backup import schedule
from kubelite.backup.schedule import keep_schedule, last, run_program_of_snapshot, taken
from kubelite.config import Config, load

HOUR = 3600.0


class Story:
    """A schedule that runs; `at` has the dates at which snapshots were taken."""

    def __init__(self, cron: str) -> None:
        flags = {"data_dir": "/d", "snapshot_schedule_cron": cron}
        self.config: Config = load(flags, {}, Path("/none.yaml"))
        self.clock = SimulatedClock(asyncio.get_running_loop())
        self.at: list[datetime] = []
        self.environments: list[Mapping[str, str]] = []
        self.problem = ""
        self.takes_seconds = 0.0
        self.task = asyncio.ensure_future(keep_schedule(self.config, self.clock, self._run))

    async def _run(self, environment: Mapping[str, str]) -> str:
        self.at.append(self.clock.now())
        self.environments.append(environment)
        await asyncio.sleep(self.takes_seconds)
        return self.problem

    @property
    def hours(self) -> list[str]:
        return [f"{date:%d %H:%M:%S}" for date in self.at]


def test_snapshots_are_taken_at_their_times() -> None:
    async def story() -> None:
        told = Story("30 */12 * * *")
        await asyncio.sleep(40 * HOUR)
        assert told.hours == ["01 00:30:00", "01 12:30:00", "02 00:30:00", "02 12:30:00"]
        assert told.environments[0]["KUBELITE_DATA_DIR"] == "/d"

    run_simulated(0, story)


def test_one_that_takes_longer_than_the_interval_is_not_joined_by_another() -> None:
    async def story() -> None:
        told = Story("@every 1h")
        told.takes_seconds = 2.5 * HOUR
        await asyncio.sleep(9 * HOUR)
        assert told.hours == ["01 01:00:00", "01 04:30:00", "01 08:00:00"]

    run_simulated(0, story)


def test_a_failure_is_counted_and_the_next_time_comes() -> None:
    async def story() -> None:
        success, failure = (taken.labelled(name) for name in ("success", "failure"))
        before = success.value, failure.value
        told = Story("@every 1h")
        told.problem = "no room"
        await asyncio.sleep(1.5 * HOUR)
        told.problem = ""
        await asyncio.sleep(1 * HOUR)
        assert (success.value - before[0], failure.value - before[1]) == (1, 1)
        assert last.labelled().value == told.at[1].timestamp()

    run_simulated(0, story)


def test_a_date_that_was_far_ahead_does_not_stop_snapshots_once_it_is_right() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        told = Story("0 * * * *")
        told.clock.jump(15 * 365 * 24 * HOUR)
        await asyncio.sleep(1.5 * HOUR)
        told.clock.jump(-15 * 365 * 24 * HOUR)
        begun, before = loop.time(), len(told.at)
        await asyncio.sleep(4 * HOUR)
        assert loop.time() - begun == 4 * HOUR
        assert len(told.at) - before >= 3

    run_simulated(0, story)


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (("true",), ""),
        (("sh", "-c", "echo first >&2; echo kubelite: no room >&2; exit 1"), "kubelite: no room"),
        (("false",), "it ended with 1"),
        (("/nowhere",), "cannot run nowhere: No such file or directory"),
        ((sys.executable, "-c", "import os; assert os.environ['X'] == 'y'"), ""),
    ],
)
async def test_the_last_line_of_the_program_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...], problem: str
) -> None:
    monkeypatch.setattr(schedule, "PROGRAM", program)
    assert await run_program_of_snapshot({"X": "y"}) == problem
