"""Lets Python recurse deeper while a deep expression is at work.

Expressions nest up to 250 levels, each of which is several calls. The limit of the interpreter guards the C stack; the
calls of this package are Python's own, which do not use it. The limit is the process's, so it goes back to what it was
when the last thread at work is done.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

_FRAMES: Final = 20_000
_lock = Lock()
_active = 0
_normal = 0


@contextmanager
def deep_recursion(is_needed: bool) -> Iterator[None]:
    """Raise the limit on recursion for the time of a block, if `is_needed`."""
    if not is_needed:
        yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _active, _normal  # noqa: PLW0603 - the limit is the process's
    with _lock:
        if _active == 0:
            _normal = sys.getrecursionlimit()
            sys.setrecursionlimit(max(_normal, _FRAMES))
        _active += 1


def _leave() -> None:
    global _active  # noqa: PLW0603 - the limit is the process\'s
    with _lock:
        _active -= 1
        if _active == 0:
            sys.setrecursionlimit(_normal)
