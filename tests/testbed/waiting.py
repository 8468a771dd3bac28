"""The one way to wait for what no event tells; a timeout says what was found instead."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_SECONDS = 0.05


def wait_for(
    look: Callable[[], T | None],
    what: str,
    timeout_seconds: float = 60,
    explain: Callable[[], str] | None = None,
) -> T:
    """Return the first true answer of `look`; a test's only way to wait for another process.

    Raises TimeoutError with what `explain` returns.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            details = f":\n{explain()}" if explain else ""
            raise TimeoutError(f"no {what} within {timeout_seconds} s{details}")
        time.sleep(LOOK_SECONDS)
