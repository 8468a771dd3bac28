"""Takes the scheduled snapshots of a running server, each in a process of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from kubelite.api.machinery.cron import parse_cron
from kubelite.backup.actions import environment_of
from kubelite.clock import Clock
from kubelite.config import Config
from kubelite.limits import SNAPSHOT_SECONDS
from kubelite.metrics import REGISTRY
from kubelite.own_programs import own_program
from kubelite.spawn import ProgramFailed, run_program

log = logging.getLogger(__name__)

# A clock that is set while we wait must not make us late for long.
WAIT_SECONDS_MAX = 3600.0
PROGRAM = (*own_program("kubelite.__main__"), "snapshot", "save", "--scheduled")
taken = REGISTRY.counter(
    "kubelite_snapshots_total", "Scheduled snapshots, by how they ended.", ("result",)
)
last = REGISTRY.gauge(
    "kubelite_snapshot_last_success_timestamp_seconds",
    "Date of the last scheduled snapshot that succeeded; 0 if none did since the start.",
)

Run = Callable[[Mapping[str, str]], Awaitable[str]]


async def run_program_of_snapshot(environment: Mapping[str, str]) -> str:
    """Take one snapshot in another process; return what went wrong, "" if nothing did."""
    try:
        done = await run_program(
            PROGRAM, timeout_seconds=SNAPSHOT_SECONDS.value, environment=environment
        )
    except ProgramFailed as error:
        return str(error)
    if done.code == 0:
        return ""
    lines = done.errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it ended with {done.code}"


async def keep_schedule(config: Config, clock: Clock, run: Run = run_program_of_snapshot) -> None:
    """Take a snapshot at every time of the schedule, for ever. A failure is logged, and the next time comes."""
    schedule = parse_cron(config.snapshot_schedule_cron)
    environment = environment_of(config)
    since = clock.now()
    while (due := schedule.after(since)) is not None:
        now = clock.now()
        if now >= due:
            await _take(config, clock, run, environment)
            since = clock.now()
        else:
            # The date may have been set back, and then the next time comes sooner.
            since = min(since, now)
            await asyncio.sleep(min((due - now).total_seconds(), WAIT_SECONDS_MAX))


async def _take(config: Config, clock: Clock, run: Run, environment: Mapping[str, str]) -> None:
    if problem := await run(environment):
        taken.labelled("failure").increase()
        log.warning("the scheduled snapshot failed", extra={"reason": problem})
    else:
        taken.labelled("success").increase()
        last.labelled().set(clock.now().timestamp())
        log.info("a scheduled snapshot was taken", extra={"folder": str(config.snapshots_dir)})
