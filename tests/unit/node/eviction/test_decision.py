"""When thresholds count: grace periods, minimum reclaim, and conditions that do not flap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.node.eviction.decision import Pressure, met_of, next_deadline, step
from kubelite.node.eviction.observations import Observation
from kubelite.node.eviction.thresholds import (
    DISK_PRESSURE,
    MEMORY_PRESSURE,
    PROCESS_PRESSURE,
    Amount,
    Threshold,
)

HARD = Threshold("memory.available", Amount("100"))
SOFT = Threshold("memory.available", Amount("200"), 30.0)
DISK = Threshold("nodefs.available", Amount(percent=10.0), 0.0, Amount("50"))
PIDS = Threshold("pid.available", Amount("5"))
ALL = (DISK, PIDS, HARD, SOFT)
PERIOD = 300.0


def after(before: Pressure, now: float, *, memory: int = 1000, disk: int = 500) -> Pressure:
    observed = {
        "memory.available": Observation(memory, 1000),
        "nodefs.available": Observation(disk, 1000),
        "pid.available": Observation(100, 1000, is_bytes=False),
    }
    return step(before, ALL, observed, now, PERIOD)


def test_plenty_is_no_pressure() -> None:
    assert after(Pressure(), 0.0) == Pressure()


def test_a_hard_threshold_drives_evictions_at_once() -> None:
    found = after(Pressure(), 7.0, memory=99)
    assert found.due == (HARD,)
    assert found.conditions == (MEMORY_PRESSURE,)
    assert found.first_met == {HARD: 7.0, SOFT: 7.0}


def test_a_soft_threshold_drives_evictions_after_its_grace_period() -> None:
    first = after(Pressure(), 0.0, memory=150)
    assert (first.due, first.conditions) == ((), (MEMORY_PRESSURE,))
    assert next_deadline(first, 10.0) == 20.0
    assert after(first, 29.9, memory=150).due == ()
    assert after(first, 30.0, memory=150).due == (SOFT,)


def test_a_break_begins_the_grace_period_anew() -> None:
    first = after(Pressure(), 0.0, memory=150)
    second = after(after(first, 20.0), 25.0, memory=150)
    assert second.first_met == {SOFT: 25.0}
    assert after(second, 40.0, memory=150).due == ()


def test_exactly_the_threshold_is_enough() -> None:
    assert after(Pressure(), 0.0, memory=100).due == ()
    assert after(Pressure(), 0.0, disk=100).due == ()


def test_evictions_go_on_until_the_minimum_reclaim_is_reached() -> None:
    low = after(Pressure(), 0.0, disk=99)
    assert low.due == (DISK,)
    higher = after(low, 10.0, disk=149)
    assert higher.due == (DISK,)
    assert after(higher, 20.0, disk=150).due == ()
    assert after(Pressure(), 0.0, disk=149).due == ()  # it was never met


def test_a_condition_stays_for_the_transition_period() -> None:
    low = after(Pressure(), 0.0, disk=1)
    over = after(low, 10.0)
    assert (over.due, over.conditions) == ((), (DISK_PRESSURE,))
    assert after(over, 299.0).conditions == (DISK_PRESSURE,)
    assert after(over, 300.0).conditions == ()
    again = after(over, 200.0, disk=1)
    assert after(again, 499.0).conditions == (DISK_PRESSURE,)


def test_without_a_transition_period_a_condition_holds_while_it_is_observed() -> None:
    observed = {"memory.available": Observation(1, 1000)}
    assert step(Pressure(), (HARD,), observed, 5.0, 0.0).conditions == (MEMORY_PRESSURE,)


def test_memory_comes_first() -> None:
    assert after(Pressure(), 0.0, memory=1, disk=1).due == (HARD, DISK)


def test_what_cannot_be_measured_is_no_pressure() -> None:
    assert met_of(ALL, {}) == []
    kept = step(after(Pressure(), 0.0, disk=1), ALL, {}, 1.0, PERIOD)
    assert (kept.due, kept.conditions) == ((), (DISK_PRESSURE,))


def test_processes_are_a_condition_of_their_own() -> None:
    found = step(Pressure(), ALL, {"pid.available": Observation(4, 9)}, 0.0, PERIOD)
    assert found.conditions == (PROCESS_PRESSURE,)


@pytest.mark.parametrize("now", [0.0, 1e9])
def test_no_deadline_without_a_grace_period(now: float) -> None:
    assert next_deadline(Pressure({HARD: now}, {}, (HARD,)), now) is None


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(0, 200), st.floats(0, 400)), max_size=30)
)
def test_evictions_only_under_a_condition_that_says_why(
    rounds: list[tuple[int, int, float]],
) -> None:
    state, now = Pressure(), 0.0
    for memory, disk, pause in rounds:
        now += pause
        before, state = state, after(state, now, memory=memory, disk=disk)
        assert set(state.due) <= set(state.first_met)
        if state.due:
            assert state.conditions
        assert all(
            now - since >= one.grace_seconds
            for one, since in state.first_met.items()
            if one in state.due
        )
        assert all(
            before.first_met.get(one, now) == since for one, since in state.first_met.items()
        )
        assert all(at <= now for at in state.last_observed.values())
