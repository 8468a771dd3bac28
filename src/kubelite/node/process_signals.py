"""Signals the main process of a container through a descriptor. Blocking: call it in a thread."""

import os
import signal as signals
from collections.abc import Awaitable, Callable
from contextlib import suppress


def signal_number(name: str) -> int:
    """Return the number of a signal that is given as a name, with or without SIG, or as a number; raises ValueError."""
    if name.isdecimal():
        return int(name)
    full = name if name.startswith("SIG") else f"SIG{name}"
    if full.startswith(("SIGRTMIN", "SIGRTMAX")):
        base, sign, distance = full[:8], full[8:9], full[9:]
        start = signals.SIGRTMIN if base == "SIGRTMIN" else signals.SIGRTMAX
        return start + int(f"{sign or '+'}{distance or 0}")
    try:
        return signals.Signals[full]
    except KeyError:
        raise ValueError(f"Invalid signal: {name}") from None


async def signal_process(pid: int, number: int, is_current: Callable[[], Awaitable[bool]]) -> None:
    """Send a signal to a process; does nothing when it has ended.

    `is_current` is asked, with the process held, whether its number is still that of the container's process: after its
    end another process may have it.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if await is_current():
            with suppress(ProcessLookupError):
                signals.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
