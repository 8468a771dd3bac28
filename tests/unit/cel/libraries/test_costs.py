"""What calls cost, where it is more than a size times a factor."""

from kubelite.cel.libraries import costs
from kubelite.cel.values import Value
from kubelite.limits import CEL_TEXT_FREE, CEL_VALUES


def test_traversal_counts_scalars_and_tenths_of_texts() -> None:
    assert costs.traversal([1, 2.5, True, None]) == 4
    assert costs.traversal(["a" * 9, "é" * 5, b"x" * 25]) == 0 + 1 + 2
    assert costs.traversal({"a" * 10: [1]}) == 2


def test_traversal_of_values_that_contain_each_other_ends() -> None:
    value: Value = [1]
    for _ in range(40):
        value = [value] * 10
    before = CEL_VALUES.times_reached
    assert costs.traversal(value) == CEL_VALUES.value
    assert CEL_VALUES.times_reached == before + 1


def test_long_results_are_charged_where_arguments_are_short() -> None:
    assert costs.with_growth(3, "a" * CEL_TEXT_FREE.value) == 3
    assert costs.with_growth(3, "a" * 10_000) == 1_000
    assert costs.with_growth(2_000, "a" * 10_000) == 2_000
