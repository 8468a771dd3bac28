import threading
from collections.abc import Iterator

import pytest

from kubelite.limits import INLINE_WORK
from kubelite.offload import AtOnce, WorkerThread


@pytest.fixture
def offload() -> Iterator[WorkerThread]:
    offload = WorkerThread()
    yield offload
    offload.close()


async def test_work_within_the_budget_runs_in_the_thread_of_the_loop(offload: WorkerThread) -> None:
    assert await offload.run(INLINE_WORK.value, threading.get_ident) == threading.get_ident()


async def test_work_past_the_budget_runs_in_another_thread(offload: WorkerThread) -> None:
    before = INLINE_WORK.times_reached
    assert await offload.run(INLINE_WORK.value + 1, threading.get_ident) != threading.get_ident()
    assert INLINE_WORK.times_reached == before + 1


@pytest.mark.parametrize("cost", [0, INLINE_WORK.value + 1])
async def test_an_error_of_the_work_is_the_callers(offload: WorkerThread, cost: int) -> None:
    with pytest.raises(ZeroDivisionError):
        await offload.run(cost, lambda: 1 // 0)


async def test_simulations_run_everything_at_once() -> None:
    assert await AtOnce().run(1 << 30, threading.get_ident) == threading.get_ident()
