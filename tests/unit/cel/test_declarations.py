"""Ranges of sizes and costs, which stop at their greatest value."""

from kubelite.cel.declarations import COST_MAX, UNKNOWN, Range, traversal_cost


def test_sums_and_products_stop_at_the_greatest_cost() -> None:
    assert Range(1, 2) + Range(3, 4) == Range(4, 6)
    assert Range(1, 2) + UNKNOWN == Range(1, COST_MAX)
    assert Range(2, 3) * UNKNOWN == Range(0, COST_MAX)
    assert Range(0, 0) * UNKNOWN == Range(0, 0)


def test_a_range_times_a_cost_per_unit_is_rounded_up() -> None:
    assert Range(1, 11).scaled(0.1) == Range(1, 2)
    assert Range(0, COST_MAX).scaled(2) == Range(0, COST_MAX)
    assert Range(0, COST_MAX).scaled(0.1) == Range(0, 1844674407370955264)


def test_a_union_covers_both() -> None:
    assert Range(1, 5).union(Range(3, 9)) == Range(1, 9)


def test_walking_through_a_text_costs_a_tenth_of_its_length() -> None:
    assert [traversal_cost(size) for size in (0, 1, 10, 11, 30)] == [0, 1, 1, 2, 3]
