"""What holds for a server and an agent from start to stop."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack

import pytest

from kubelite.prerequisites import CannotStart, ServerFailed
from kubelite.running import Fail, report, until_stopped

CLOSED = "unable to perform operation on <TCPTransport closed=True>; the handler is closed"


@pytest.mark.parametrize(
    ("error", "is_reported"),
    [(RuntimeError(CLOSED), False), (RuntimeError("else"), True), (ValueError(CLOSED), True)],
)
async def test_only_what_means_nothing_is_not_reported(
    caplog: pytest.LogCaptureFixture, error: Exception, is_reported: bool
) -> None:
    report(asyncio.get_running_loop(), {"message": "Fatal error", "exception": error})
    assert bool(caplog.records) is is_reported


async def test_parts_stop_in_reverse_order_after_the_signal() -> None:
    told: list[str] = []

    async def start(running: AsyncExitStack, _: Fail) -> None:
        for name in ("first", "second"):
            running.callback(told.append, name)

    def greet() -> None:
        told.append("ready")
        os.kill(os.getpid(), signal.SIGTERM)

    await until_stopped(start, greet)
    assert told == ["ready", "second", "first"]


async def test_a_signal_ends_a_start_that_waits() -> None:
    told: list[str] = []

    async def start(running: AsyncExitStack, _: Fail) -> None:
        running.callback(told.append, "stopped")
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    await until_stopped(start, lambda: told.append("ready"))
    assert told == ["stopped"]


async def test_failures_are_one_line() -> None:
    async def fails(_: AsyncExitStack, __: Fail) -> None:
        raise KeyError("a\nb")

    with pytest.raises(CannotStart, match=r"^cannot start: KeyError: .*; --debug shows where$"):
        # Nobody would stop it, so the failure has to end it.
        await asyncio.wait_for(until_stopped(fails, lambda: None), 5)

    async def breaks(_: AsyncExitStack, fail: Fail) -> None:
        asyncio.get_running_loop().call_soon(fail, "the disk is gone")

    with pytest.raises(ServerFailed, match=r"^the disk is gone$"):
        await until_stopped(breaks, lambda: None)
