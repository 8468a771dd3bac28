"""Signals to the processes of containers."""

import asyncio
import signal
import sys

import pytest

from kubelite.node.process_signals import signal_number, signal_process


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SIGTERM", signal.SIGTERM),
        ("TERM", signal.SIGTERM),
        ("SIGKILL", 9),
        ("15", 15),
        ("SIGRTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
        ("SIGRTMAX-2", signal.SIGRTMAX - 2),
    ],
)
def test_signals_have_the_names_that_images_give(name: str, number: int) -> None:
    assert signal_number(name) == number


@pytest.mark.parametrize("name", ["", "SIGNONE", "SIG", "-9", "SIGRTMIN+x"])
def test_what_is_no_signal_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        signal_number(name)


async def test_a_process_that_took_the_number_of_an_ended_one_is_left_alone() -> None:
    async def is_current() -> bool:
        return False

    async def is_still_current() -> bool:
        return True

    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=-1)
    await signal_process(process.pid, signal.SIGKILL, is_current)
    assert process.returncode is None
    await signal_process(process.pid, signal.SIGKILL, is_still_current)
    assert await process.wait() == -signal.SIGKILL
    await signal_process(process.pid, signal.SIGKILL, is_still_current)  # it has ended
