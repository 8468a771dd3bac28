"""Label selectors."""

import pytest

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement
from kubelite.api.machinery.selectors import (
    EVERYTHING,
    GREATER,
    LESS,
    NOTHING,
    Requirement,
    Selector,
    label_selector,
    labels_selector,
    parse_selector,
)
from kubelite.limits import SELECTOR_REQUIREMENTS


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a", {"a": ""}, True),
        ("a", {}, False),
        ("!a", {}, True),
        ("!a", {"a": ""}, False),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,,y)", {"a": ""}, True),
        ("a notin (x)", {}, True),
        ("a notin (x),b=c", {"a": "x", "b": "c"}, False),
        ("a notin ()", {"a": ""}, False),
        ("n>3", {"n": "4"}, True),
        ("n<3", {"n": "4"}, False),
        ("n>3", {"n": "many"}, False),
        ("in=notin", {"in": "notin"}, True),
        ("a=", {"a": ""}, True),
        (" a = b , c ", {"a": "b", "c": "d"}, True),
        ("a=b,a=c", {"a": "b"}, False),
        ("a in (b,c),a in (c,d)", {"a": "c"}, True),
        ("a in (b,c),a!=c", {"a": "c", "b": ""}, False),
        ("a,!a", {"a": "b"}, False),
        ("a,!a", {}, False),
        ("n>3,n<6,n>4", {"n": "5"}, True),
        ("n>3,n<6,n>4", {"n": "4"}, False),
        ("n>0", {"n": "1_0"}, False),  # what only Python reads as a number
        ("n>0", {"n": "9223372036854775808"}, False),
        ("x!=1,y!=1,a=b", {"a": "b"}, True),
        ("x!=1,y!=1,a=b", {"a": "c"}, False),
        ("!x,!y,!a", {"a": "b"}, False),
    ],
)
def test_matches(text: str, labels: dict[str, str], matches: bool) -> None:
    assert parse_selector(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!", "unable to parse requirement: found '!', expected: identifier"),
        (
            "a b",
            "unable to parse requirement: found 'b', expected: =, !=, ==, in, notin, >, <",
        ),
        ("a=b,", "found '', expected: identifier after ','"),
        (",a", "found ',', expected: !, identifier, or 'end of string'"),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        ("a in x", "unable to parse requirement: found 'x' expected: '('"),
        ("a in (x", "unable to parse requirement: found '', expected: ',', or identifier"),
        (
            "a>x",
            (
                'unable to parse requirement: values[0]: Invalid value: "x": '
                "for 'Gt', 'Lt' operators, the value must be an integer"
            ),
        ),
        (
            "a=-",
            (
                'unable to parse requirement: values[0][a]: Invalid value: "-": a valid label must be an '
                "empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end "
                "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
                "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ),
        ),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse_selector(text)
    assert refused.value.message == message


def test_label_selector_structs_and_dicts_agree() -> None:
    typed = LabelSelector(
        matchLabels={"app": "web"},
        matchExpressions=[LabelSelectorRequirement(key="tier", operator="In", values=["b", "a"])],
    )
    plain = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
    }
    assert label_selector(typed) == label_selector(plain)
    assert str(label_selector(typed)) == "app=web,tier in (a,b)"
    assert label_selector(None) is NOTHING
    assert not NOTHING.matches({"a": "b"})
    assert label_selector({}) == EVERYTHING
    assert labels_selector({"a": "b"}).matches({"a": "b", "c": "d"})


def test_unknown_operator_is_refused() -> None:
    expression = {"key": "a", "operator": "Like"}
    with pytest.raises(BadRequest, match='"Like" is not a valid label selector operator'):
        label_selector({"matchExpressions": [expression]})


def test_selectors_of_many_requirements_are_refused() -> None:
    text = ",".join(["metadata.name=b"] * (SELECTOR_REQUIREMENTS.value + 1))
    with pytest.raises(BadRequest, match="more than 1000"):
        parse_selector(text)


@pytest.mark.parametrize("value", ["1_0", "٣", "9" * 5000, " 7", "x"])
def test_labels_that_are_no_numbers_are_not_compared(value: str) -> None:
    for operator in (GREATER, LESS):
        requirement = Requirement("cores", operator, ("4",))
        assert not requirement.matches({"cores": value})
        assert not Selector([requirement]).matches({"cores": value})
    assert Requirement("cores", GREATER, (value,)).causes()
