"""How often a node asks registries for images."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.node.images.rate import PullRate


def test_a_burst_begins_at_once_and_the_rest_at_the_rate() -> None:
    rate = PullRate(5, 3)
    waits = [rate.reserve(100.0) for _ in range(6)]
    assert waits == pytest.approx([0, 0, 0, 0.2, 0.4, 0.6])
    assert rate.reserve(110.0) == 0


def test_a_burst_is_free_again_little_by_little() -> None:
    rate = PullRate(1, 2)
    assert [rate.reserve(0.0) for _ in range(2)] == [0, 0]
    assert rate.reserve(1.0) == 0
    assert rate.reserve(1.0) == pytest.approx(1)


@given(
    st.integers(1, 20),
    st.integers(0, 20),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_no_second_has_more_than_a_burst_and_the_rate(
    per_second: int, burst: int, pauses: list[float]
) -> None:
    rate, now = PullRate(per_second, burst), 0.0
    begins = []
    for pause in pauses:
        now += pause
        begins.append(now + rate.reserve(now))
    for begin in begins:
        inside = [one for one in begins if begin <= one < begin + 1 - 1e-6]
        assert len(inside) <= max(burst, 1) + per_second


async def test_without_a_rate_nothing_waits() -> None:
    rate = PullRate(0, 0)
    async with asyncio.timeout(5):
        for _ in range(1000):
            await rate.take()
