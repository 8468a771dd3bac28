"""Label selectors."""

from typing import Any

import pytest

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.meta import LabelSelector, LabelSelectorRequirement
from kubelite.api.machinery.selectors import (
    EVERYTHING,
    NOTHING,
    label_selector,
    labels_selector,
    parse_selector,
)


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


class Counted(dict[str, str]):
    """Labels that count how often they are looked at."""

    looks = 0

    def get(self, key: str, default: object = None) -> Any:
        self.looks += 1
        return super().get(key, default)

    def items(self) -> Any:
        for item in super().items():
            self.looks += 1
            yield item


@pytest.mark.parametrize("one", ["k{}", "!k{}", "k{}=v", "k{}!=v", "k{} in (a,b)", "k{}>3"])
def test_thousands_of_requirements_cost_no_more_than_the_labels_there_are(one: str) -> None:
    selector = parse_selector(",".join(one.format(number) for number in range(5000)))
    labels = Counted({"a": "b", "k7": "v"})
    selector.matches(labels)
    assert labels.looks <= 2


def test_a_bound_of_many_repetitions_is_one_condition() -> None:
    selector = parse_selector(",".join(f"a!=v{number}" for number in range(5000)))
    assert len(selector.conditions) == 1
    assert not selector.matches({"a": "v4999"})
    assert selector.matches({"a": "v5000"})
