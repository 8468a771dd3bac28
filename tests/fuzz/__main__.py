"""Runs the fuzz targets for a while: `python -m fuzz SECONDS [TARGET …]`; prints and keeps what breaks a promise.

Each target gets an equal share of the time and goes on from the case that FIRST names, so that further runs see
further cases. A failing input is written into the target's corpus, where `pytest tests/fuzz` finds it from then on.
"""

import hashlib
import os
import sys
import time
import traceback

from fuzz import targets
from fuzz.target import CORPUS, Target

FAILURES_MAX = 5  # of one target; more are mostly the same one again
LINE_MAX = 300  # characters of a traceback's line: errors repeat their input


def main(arguments: list[str]) -> int:
    """Run; return the exit code."""
    seconds = float(arguments[0]) if arguments else 60.0
    named = arguments[1:] or [target.name for target in targets.TARGETS]
    chosen = [target for target in targets.TARGETS if target.name in named]
    first = int(os.environ.get("FIRST", "0"))
    failures = 0
    for target in chosen:
        failures += _run(target, first, seconds / len(chosen))
    return 1 if failures else 0


def _run(target: Target, first: int, seconds: float) -> int:
    mutator = target.mutator()
    number, failures, slowest = first, 0, (0.0, first)
    seen: set[str] = set()
    ends = time.monotonic() + seconds
    with target.open() as check:
        while time.monotonic() < ends and failures < FAILURES_MAX:
            data = mutator.case(number)
            started = time.monotonic()
            try:
                check(data)
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                place = _place(error)
                if place not in seen:
                    seen.add(place)
                    failures += 1
                    _keep(target, number, data)
            slowest = max(slowest, (time.monotonic() - started, number))
            number += 1
    _say(
        f"{target.name:16} {number - first:8} cases to {number}, {failures} failures, "
        f"slowest {slowest[0] * 1000:.0f} ms (case {slowest[1]})"
    )
    return failures


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" + (
        str(error)[:80] if isinstance(error, AssertionError) else ""
    )


def _keep(target: Target, number: int, data: bytes) -> None:
    path = CORPUS / target.name / f"failed-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    _say(f"{target.name}: case {number} breaks its promise, kept as {path}")
    _say(*(line[:LINE_MAX] for line in traceback.format_exc().splitlines()))


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join((*lines, "")))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
