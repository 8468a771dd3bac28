import gc
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
