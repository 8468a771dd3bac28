"""Long decisions in steps: a generator yields what it has done since it last yielded, in steps of about a microsecond.

The scheduler gives the loop a turn between some of them; whoever needs the answer at once runs them in one go.
"""

import asyncio
from collections.abc import Generator
from typing import TypeVar

from kubelite.limits import DECISION_STEPS

R = TypeVar("R")
Steps = Generator[int, None, R]

STEPS_A_TURN = 4000  # a few milliseconds
YIELD_EVERY = 200  # steps that a generator may gather before it yields them


def at_once(steps: Steps[R]) -> R:
    """Return the result of a decision without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result


class TooManySteps(Exception):
    """A decision takes more steps than one pod may delay the others by."""


async def in_turns(steps: Steps[R]) -> tuple[R, bool]:
    """Return the result, and whether the loop had a turn meanwhile.

    Past the limit TooManySteps is raised within `steps`, which may still return what it has found.
    """
    done = total = 0
    has_paused = False
    limit = DECISION_STEPS.value
    while True:
        try:
            if total > limit:
                DECISION_STEPS.reached()
                limit = 2 * total  # for what it still does
                done += steps.throw(TooManySteps)
            else:
                done += next(steps)
        except StopIteration as end:
            return end.value, has_paused
        if done >= STEPS_A_TURN:
            total += done
            done = 0
            has_paused = True
            await asyncio.sleep(0)
