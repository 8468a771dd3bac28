import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from kubelite import collector


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    gc.enable()


def test_nothing_is_collected_while_a_process_starts() -> None:
    collector.pause()
    assert not gc.isenabled()


def test_what_lived_at_the_start_is_not_looked_at_again() -> None:
    kept: list[list[int]] = [[] for _ in range(10)]
    collector.pause()
    collector.resume()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 10
    assert not any(one is kept for one in gc.get_objects())


def test_cycles_made_later_are_collected() -> None:
    collector.pause()
    collector.resume()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


async def given_back(calls: list[int], count: int) -> None:
    async with asyncio.timeout(5):
        while len(calls) < count:
            await asyncio.sleep(0.001)


async def test_memory_is_given_back_once_a_burst_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "QUIET_SECONDS", 0.01)
    calls: list[int] = []
    memory = collector.FreedMemory(lambda: calls.append(threading.get_ident()))
    for _ in range(10):
        memory.freed(collector.GIVEN_BACK_BYTES_MIN // 2)
    assert calls == []
    await given_back(calls, 1)
    assert calls[0] != threading.get_ident()  # it takes some ms
    assert memory._timer is None  # and nothing looks again without another burst
    memory.freed(collector.GIVEN_BACK_BYTES_MIN)
    await given_back(calls, 2)


async def test_a_burst_that_does_not_end_is_no_reason_to_keep_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(collector, "BURST_SECONDS_MAX", 0.05)
    calls: list[int] = []
    memory = collector.FreedMemory(lambda: calls.append(0))
    async with asyncio.timeout(5):
        while not calls:
            memory.freed(collector.GIVEN_BACK_BYTES_MIN)
            await asyncio.sleep(0)


async def test_little_is_not_worth_a_look() -> None:
    memory = collector.FreedMemory()
    memory.freed(collector.GIVEN_BACK_BYTES_MIN - 1)
    assert memory._timer is None


def test_the_library_can_give_back() -> None:
    collector.trim()


async def test_what_the_start_has_freed_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "STARTED_SECONDS", 0.0)
    calls: list[int] = []
    collector.give_back_soon(lambda: calls.append(threading.get_ident()))
    await given_back(calls, 1)
    assert calls != [threading.get_ident()]


def test_threads_share_one_heap() -> None:
    program = (
        "import ctypes, threading; from kubelite import collector; collector.share_one_heap(); "
        "libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; "
        "jobs = [threading.Thread(target=libc.malloc, args=(1000,)) for _ in range(8)]; "
        "[job.start() for job in jobs]; [job.join() for job in jobs]; libc.malloc_stats()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.count("Arena ") == 1
