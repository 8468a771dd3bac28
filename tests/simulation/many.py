"""Runs many stories with faults and prints the seeds that fail: `python -m simulation.many FIRST NUMBER`."""

import logging
import multiprocessing
import sys
import traceback

from simulation.simulated_loop import run_simulated
from simulation.stories import tell


def outcome(seed: int) -> tuple[int, str]:
    """Run a seed; return it and what went wrong."""
    logging.disable(logging.CRITICAL)
    try:
        run_simulated(seed, lambda: tell(seed))
    except Exception:  # noqa: BLE001 - whatever goes wrong is what a seed is for
        return seed, traceback.format_exc(limit=-3)
    return seed, ""


def main(first: int, number: int) -> int:
    """Run `number` seeds from `first` on all cores; return how many fail."""
    failed = 0
    # The workers import this module by its name, which it does not have when it is run.
    from simulation.many import outcome as work

    with multiprocessing.get_context("spawn").Pool() as pool:
        for seed, trouble in pool.imap_unordered(work, range(first, first + number)):
            if trouble:
                failed += 1
                sys.stdout.write(f"seed {seed} failed:\n{trouble}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{number - failed} of {number} seeds passed\n")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]), int(sys.argv[2])) else 0)
