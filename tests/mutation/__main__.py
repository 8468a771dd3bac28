"""Breaks a module in small ways and prints the breaks that no test noticed: `python -m mutation MODULE`.

MODULE is a path such as ``src/kubelite/api/auth/rbac.py`` or what follows ``src/kubelite/``. SECONDS and COUNT bound
the run; beyond COUNT the mutants tried are spread evenly over the module. A survivor is a missing test, or a change
that makes no difference: which of the two, a reader has to say.
"""

import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mutation import trials
from mutation.mutants import Mutant, mutants

TRIAL_SECONDS_MIN = 10.0
TRIAL_FACTOR = 5.0  # a mutant may take this many times what the tests take without it


def main(arguments: list[str]) -> int:
    """Run; return the exit code: 1 when the tests fail without a mutant, 2 when there is nothing to run."""
    if len(arguments) != 1:
        _say("say which module to break: make mutate MODULE=api/auth/rbac.py")
        return 2
    path = Path(arguments[0].removeprefix("src/kubelite/"))
    path = trials.SOURCE / "kubelite" / path
    tests = trials.tests_of(path)
    if not tests:
        _say(f"no test imports {path}")
        return 2
    trials.preload(trials.name_of(path))
    with tempfile.TemporaryDirectory() as folder:
        return _run(path, tests, Path(folder) / "output")


def _run(path: Path, tests: list[Path], output: Path) -> int:
    original = path.read_text()
    ends = time.monotonic() + float(os.environ.get("SECONDS", "300"))
    outcome, seconds = trials.attempt(path, original, tests, 600.0, output)
    if outcome != trials.PASSED:
        _say(output.read_text(), f"the tests fail as it is: {' '.join(map(str, tests))}")
        return 1
    every = mutants(original)
    limit = max(TRIAL_SECONDS_MIN, TRIAL_FACTOR * seconds)
    tried: list[tuple[Mutant, str]] = []
    for place in trials.spread(len(every), int(os.environ.get("COUNT", "200"))):
        if time.monotonic() > ends:
            break
        outcome, _ = trials.attempt(path, every[place].source, tests, limit, output)
        tried.append((every[place], outcome))
        if outcome == trials.PASSED:
            _say(f"SURVIVED, line {every[place].line}", every[place].diff(original, str(path)), "")
    counts = Counter(outcome for _, outcome in tried)
    _say(
        f"{path}: {len(tried)} of {len(every)} mutants tried, {counts[trials.FAILED]} killed, "
        f"{counts[trials.TIMED_OUT]} timed out, {counts[trials.PASSED]} survived"
    )
    return 0


def _say(*lines: str) -> None:
    sys.stdout.write("\n".join((*lines, "")))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
