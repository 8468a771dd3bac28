"""Which objects select given labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from kubelite.api.kinds.policy import PodDisruptionBudget, PodDisruptionBudgetSpec
from kubelite.control.runtime import Key
from kubelite.control.selection import matcher
from kubelite.control.selector_index import SelectorIndex

keys = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["x", "y"])
labels = st.dictionaries(keys, values, max_size=3)
requirements = st.builds(
    lambda key, operator, asked: LabelSelectorRequirement(
        key=key, operator=operator, values=asked if operator in {"In", "NotIn"} else []
    ),
    keys,
    st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist"]),
    st.lists(values, min_size=1, max_size=2, unique=True),
)
selectors = st.one_of(
    st.none(),
    st.builds(
        lambda pairs, asked: LabelSelector(matchLabels=pairs, matchExpressions=asked),
        st.dictionaries(keys, values, max_size=2),
        st.lists(requirements, max_size=3),
    ),
)


def budget(name: str, selector: LabelSelector | None, namespace: str = "d") -> PodDisruptionBudget:
    return PodDisruptionBudget(
        metadata=ObjectMeta(name=name, namespace=namespace),
        spec=PodDisruptionBudgetSpec(selector=selector),
    )


def index_of(*budgets: PodDisruptionBudget) -> SelectorIndex[PodDisruptionBudget]:
    index: SelectorIndex[PodDisruptionBudget] = SelectorIndex(lambda one: one.spec.selector)
    for one in budgets:
        index.changed(None, one)
    return index


def found(index: SelectorIndex[PodDisruptionBudget], pairs: dict[str, str]) -> set[str]:
    return {key.name for key in index.keys("d", pairs) if key is not None}


@given(st.lists(st.tuples(selectors, selectors), max_size=6), labels)
def test_it_finds_what_asking_each_finds(
    changes: list[tuple[LabelSelector | None, LabelSelector | None]], pairs: dict[str, str]
) -> None:
    index = index_of()
    for number, (old, new) in enumerate(changes):
        before, after = budget(f"b{number}", old), budget(f"b{number}", new)
        index.changed(None, before)
        index.changed(before, after)
    expected = {f"b{n}" for n, (_, new) in enumerate(changes) if matcher(new)(pairs)}
    assert found(index, pairs) == expected
    for number, (_, new) in enumerate(changes):
        index.changed(budget(f"b{number}", new), None)
    assert found(index, pairs) == set()


@pytest.mark.parametrize("count", [500, 1000])
def test_objects_that_ask_for_other_labels_cost_nothing(count: int) -> None:
    others = [budget(f"o{n}", LabelSelector(matchLabels={"app": f"a{n}"})) for n in range(count)]
    index = index_of(*others, budget("mine", LabelSelector(matchLabels={"app": "web"})))
    steps = list(index.keys("d", {"app": "web", "tier": "x"}))
    assert [key for key in steps if key is not None] == [Key("d", "mine")]
    assert len(steps) <= 4
    assert list(index.keys("other", {"app": "web"})) == [None, None]


def test_each_object_that_must_be_asked_is_a_step() -> None:
    absent = LabelSelectorRequirement(key="none", operator="DoesNotExist")
    broad = LabelSelector(matchExpressions=[absent])
    index = index_of(*(budget(f"b{number}", broad) for number in range(300)))
    assert len(list(index.keys("d", {"none": ""}))) == 302


def test_a_large_selector_is_found_like_others() -> None:
    expressions = [
        LabelSelectorRequirement(key=f"k{number}", operator="NotIn", values=["x"])
        for number in range(1000)
    ]
    index = index_of(budget("large", LabelSelector(matchExpressions=expressions)))
    assert found(index, {"app": "web"}) == {"large"}
    assert found(index, {"k7": "x"}) == set()


def test_a_selector_that_cannot_be_read_selects_nothing() -> None:
    wrong = [LabelSelectorRequirement(key=f"k{n}", operator="Like") for n in range(20)]
    assert found(index_of(budget("w", LabelSelector(matchExpressions=wrong))), {}) == set()
