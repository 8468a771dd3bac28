"""The limit on recursion is raised while something deep runs, and no longer."""

import sys
from threading import Barrier, Thread

from kubelite.cel.recursion import deep_recursion


def test_the_limit_is_raised_for_a_block_only_and_only_if_needed() -> None:
    before = sys.getrecursionlimit()
    with deep_recursion(is_needed=False):
        assert sys.getrecursionlimit() == before
    with deep_recursion(is_needed=True):
        assert sys.getrecursionlimit() > before
        with deep_recursion(is_needed=True):
            pass
        assert sys.getrecursionlimit() > before
    assert sys.getrecursionlimit() == before


def test_the_last_thread_lowers_it_again() -> None:
    before = sys.getrecursionlimit()
    entered, leaving = Barrier(2), Barrier(2)
    limits: list[int] = []

    def run() -> None:
        with deep_recursion(is_needed=True):
            entered.wait(10)
            leaving.wait(10)
            limits.append(sys.getrecursionlimit())

    thread = Thread(target=run)
    thread.start()
    with deep_recursion(is_needed=True):
        entered.wait(10)
    assert sys.getrecursionlimit() > before
    leaving.wait(10)
    thread.join()
    assert limits[0] > before
    assert sys.getrecursionlimit() == before
