from kubelite.budget import Budget
from kubelite.limits import LIMITS, Limit


def limit(name: str, value: int) -> Limit:
    LIMITS.pop(name, None)
    made = Limit(name, value, "bytes", bounds="b", beyond="b", reason="r")
    del LIMITS[name]
    return made


def test_each_owner_and_all_together_are_bounded() -> None:
    each, total = limit("each", 10), limit("total", 15)
    budget = Budget(each, total)
    assert budget.take("a", 10)
    assert not budget.take("a", 1)
    assert each.times_reached == 1
    assert not budget.take("b", 6)
    assert total.times_reached == 1
    assert budget.take("b", 5)
    budget.give("a", 10)
    assert (budget.held, budget.held_for("a"), budget.held_for("b")) == (5, 0, 5)
    assert budget.take("b", 5)


def test_who_holds_nothing_is_forgotten() -> None:
    budget = Budget(limit("each", 10), limit("total", 15))
    for number in range(100):
        budget.take(f"owner {number}", 1)
        budget.give(f"owner {number}", 1)
    assert budget.held == 0
    assert not budget._held
