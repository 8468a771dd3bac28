"""What calls cost, where it is more than a size times a factor."""

import pytest

from kubelite.cel.libraries import costs
from kubelite.cel.values import Value
from kubelite.limits import CEL_TEXT_FREE


def test_traversal_counts_scalars_and_tenths_of_texts() -> None:
    assert costs.traversal([1, 2.5, True, None]) == 4
    assert costs.traversal(["a" * 9, "é" * 5, b"x" * 25]) == 0 + 1 + 2
    assert costs.traversal({"a" * 10: [1]}) == 2


@pytest.mark.parametrize(("leaf", "cost"), [([1], 10**40), ([], 0)])
def test_traversal_walks_over_a_list_once(leaf: Value, cost: int) -> None:
    value = leaf
    for _ in range(40):
        value = [value] * 10
    assert costs.traversal(value) == cost


def test_long_results_are_charged_where_arguments_are_short() -> None:
    assert costs.with_growth(3, "a" * CEL_TEXT_FREE.value) == 3
    assert costs.with_growth(3, "a" * 10_000) == 1_000
    assert costs.with_growth(2_000, "a" * 10_000) == 2_000
