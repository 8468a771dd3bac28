import asyncio

import pytest

from simulation.simulated_loop import START, Deadlock, SimulatedClock, run_simulated


async def trace() -> list[tuple[float, int]]:
    order: list[tuple[float, int]] = []
    loop = asyncio.get_running_loop()

    async def worker(number: int) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            order.append((loop.time(), number))
        await asyncio.sleep(3600 * number)
        order.append((loop.time(), number))

    await asyncio.gather(*(worker(n) for n in range(5)))
    return order


def test_a_seed_repeats_and_seeds_differ() -> None:
    assert run_simulated(1, trace) == run_simulated(1, trace)
    assert len({tuple(run_simulated(seed, trace)) for seed in range(5)}) > 1
    assert run_simulated(1, trace)[-1] == (4 * 3600.0, 4)


def test_what_can_never_end_is_told() -> None:
    async def wait_for_ever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run_simulated(1, wait_for_ever)


def test_the_clock_follows_virtual_time() -> None:
    async def later() -> float:
        clock = SimulatedClock(asyncio.get_running_loop())
        await asyncio.sleep(86400)
        return (clock.now() - START).total_seconds()

    assert run_simulated(1, later) == 86400
