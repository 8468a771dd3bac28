"""Labels against many requirements at once."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.machinery.label_matching import matcher_of
from kubelite.api.machinery.selectors import OPERATORS, Requirement

keys = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["", "x", "y", "1", "2", "03"])


def requirement(key: str, operator: str, asked: list[str]) -> Requirement:
    few = {"exists": 0, "!": 0, "in": 3, "notin": 3}.get(operator, 1)
    return Requirement(key, operator, tuple(asked[:few]))


requirements = st.builds(
    requirement, keys, st.sampled_from(OPERATORS), st.lists(values, min_size=1, max_size=3)
)


@given(st.lists(requirements, max_size=6), st.dictionaries(keys, values, max_size=3))
def test_together_they_ask_what_each_asks(asked: list[Requirement], labels: dict[str, str]) -> None:
    assert matcher_of(asked)(labels) == all(each.matches(labels) for each in asked)


@pytest.mark.parametrize("more", [("notin", ("x",)), ("!", ()), ("gt", ("1",)), ("in", ("y",))])
def test_what_contradicts_an_equality_is_not_overlooked(more: tuple[str, tuple[str, ...]]) -> None:
    asked = [Requirement("a", "=", ("x",)), Requirement("a", *more)]
    assert not matcher_of(asked)({"a": "x"})


class CountedLabels(dict[str, str]):
    """Labels that count how often one is read."""

    reads = 0

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]  # narrower is enough
        self.reads += 1
        return super().get(key, default)

    def items(self) -> Any:
        self.reads += len(self)
        return super().items()


@pytest.mark.parametrize("count", [1000, 2000])
@pytest.mark.parametrize("operator", ["notin", "!", "in"])
def test_many_requirements_cost_no_more_than_few_labels(count: int, operator: str) -> None:
    asked = [Requirement(f"k{number}", operator, ("x", "y")) for number in range(count)]
    matches = matcher_of(asked)
    labels = CountedLabels(a="1", b="2", k7="x")
    assert not matches(labels)
    assert labels.reads <= 3


@pytest.mark.parametrize("count", [1000, 2000])
def test_many_labels_cost_no_more_than_few_requirements(count: int) -> None:
    labels = CountedLabels({f"k{number}": "x" for number in range(count)})
    assert matcher_of([Requirement("k7", "exists"), Requirement("k8", "!=", ("y",))])(labels)
    assert labels.reads == 2


@pytest.mark.parametrize(
    ("value", "matches"), [("5", True), ("2", False), ("9", False), ("no", False)]
)
def test_bounds_of_one_key_join(value: str, matches: bool) -> None:
    asked = [Requirement("n", "gt", ("2",)), Requirement("n", "lt", ("9",))]
    assert matcher_of([*asked, Requirement("n", "gt", ("1",))])({"n": value}) is matches
