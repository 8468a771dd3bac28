"""Properties of quantities and selectors."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.machinery.quantity import canonical_quantity, parse_quantity
from kubelite.api.machinery.selectors import Requirement, Selector, parse_selector

SUFFIXES = ["", "m", "u", "n", "k", "M", "G", "Ki", "Mi", "Gi", "e3", "E-2"]
quantities = st.builds(
    lambda number, fraction, suffix: f"{number}{fraction}{suffix}",
    st.integers(-(10**6), 10**6),
    st.sampled_from(["", ".", ".5", ".125"]),
    st.sampled_from(SUFFIXES),
)


@given(quantities)
def test_canonical_forms_are_fixed_points(text: str) -> None:
    canonical = canonical_quantity(text)
    # A binary amount that no binary suffix divides loses its suffix, as in Kubernetes, and is decimal when read again.
    again = canonical_quantity(canonical)
    assert canonical_quantity(again) == again
    assert again == canonical or canonical.lstrip("-").isdecimal()
    assert parse_quantity(canonical) == parse_quantity(text)


@given(quantities, quantities, quantities)
def test_arithmetic_is_exact(first: str, second: str, third: str) -> None:
    one, two, three = (parse_quantity(text) for text in (first, second, third))
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)
    assert (one + two) - two == one
    assert (one < two) == (two - one > parse_quantity("0"))
    assert Decimal(one.value()) - one.amount < 1


label_keys = st.sampled_from(["app", "x.io/tier", "in", "notin", "a-b_c.d"])
label_values = st.sampled_from(["", "a", "b-c", "in", "1"])
requirements = st.one_of(
    st.builds(
        lambda key, sign, value: Requirement(key, sign, (value,)),
        label_keys,
        st.sampled_from(["=", "==", "!="]),
        label_values,
    ),
    st.builds(
        lambda key, sign, values: Requirement(key, sign, tuple(sorted(values))),
        label_keys,
        st.sampled_from(["in", "notin"]),
        st.sets(label_values, min_size=1),
    ),
    st.builds(Requirement, label_keys, st.sampled_from(["exists", "!"])),
    st.builds(
        lambda key, sign, number: Requirement(key, sign, (str(number),)),
        label_keys,
        st.sampled_from(["gt", "lt"]),
        st.integers(0, 5),
    ),
)


@given(st.lists(requirements, max_size=4), st.dictionaries(label_keys, label_values))
def test_selectors_survive_their_text(found: list[Requirement], labels: dict[str, str]) -> None:
    selector = Selector(found)
    again = parse_selector(str(selector))
    assert str(again) == str(selector)
    assert again.matches(labels) == selector.matches(labels)


@given(label_keys, st.sets(label_values, min_size=1), st.dictionaries(label_keys, label_values))
def test_negations_are_opposites(key: str, values: set[str], labels: dict[str, str]) -> None:
    listed = tuple(sorted(values))
    assert Requirement(key, "in", listed).matches(labels) != Requirement(
        key, "notin", listed
    ).matches(labels)
    assert Requirement(key, "exists").matches(labels) != Requirement(key, "!").matches(labels)


@given(st.lists(requirements, max_size=6), st.dictionaries(label_keys, label_values))
def test_a_selector_is_all_of_its_requirements(
    found: list[Requirement], labels: dict[str, str]
) -> None:
    assert Selector(found).matches(labels) is all(each.matches(labels) for each in found)
