"""Runs a composition root until a signal: start, greet, wait, stop in reverse order.

A start that fails ends with one line for the user, and a stop that hangs is cut off.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from kubelite import collector
from kubelite.prerequisites import CannotStart, ServerFailed
from kubelite.service_manager import service_manager

log = logging.getLogger(__name__)

STOP_SECONDS = 5.0

Fail = Callable[[str], None]  # ends the process with one line for the user


async def until_stopped(
    start: Callable[[AsyncExitStack, Fail], Awaitable[None]], greet: Callable[[], None]
) -> None:
    """Run `start`, then `greet`, then wait for SIGTERM or SIGINT and close what `start` put on the stack.

    Raises CannotStart if the start fails, and ServerFailed if a started part calls `Fail`.
    """
    told_to_stop = asyncio.Event()
    failures: list[str] = []
    manager = service_manager(os.environ)
    loop = asyncio.get_running_loop()

    def fail(reason: str) -> None:
        failures.append(reason)
        told_to_stop.set()

    loop.set_exception_handler(report)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    async with AsyncExitStack() as running:
        starting = loop.create_task(_started(start(running, fail)), name="start")
        stopping = loop.create_task(told_to_stop.wait(), name="wait for the signal to stop")
        stopping.add_done_callback(lambda _: starting.cancel())
        with suppress(
            asyncio.CancelledError
        ):  # a signal can cancel the start, which may wait for the clock
            await starting
            collector.resume()
            greet()
            manager.ready()
            collector.give_back_soon()
        await stopping
        log.info("stopping")
        manager.stopping()
        loop.call_later(STOP_SECONDS, _give_up)
    if failures:
        raise ServerFailed(failures[0])


async def _started(start: Awaitable[None]) -> None:
    """Wait for the start; any error becomes a CannotStart with one line for the user."""
    try:
        await start
    except CannotStart:
        raise
    except Exception as error:
        log.debug("start failed", exc_info=error)
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise CannotStart(f"cannot start: {what}; --debug shows where") from error


def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that no task awaits, as the loop does, but for one of uvloop's own that means nothing.

    When a TLS connection is aborted while bytes of the peer wait to be read, uvloop still answers them, on a transport
    that is closed by then. It happens at a stop, and when a renewal closes the connections of the old certificate.
    """
    error = context.get("exception")
    if isinstance(error, RuntimeError) and str(error).endswith("the handler is closed"):
        log.debug("a closed connection had unread bytes", extra={"reason": str(error)})
        return
    loop.default_exception_handler(context)


def _give_up() -> None:
    log.error("did not stop in time")
    os._exit(1)
