"""Whole expressions: what the libraries declare fits the language, with values and costs as in Kubernetes 1.36."""

from collections import Counter

import pytest

from kubelite.cel.environment import Environment
from kubelite.cel.failures import CompileFailed
from kubelite.cel.frame import CostExceeded
from kubelite.cel.kubernetes import LIBRARIES
from kubelite.cel.types import STRING, list_of
from kubelite.cel.values import EvaluationFailed, Value

BASE = Environment(LIBRARIES)
TEXT = "a" * 1000


@pytest.mark.parametrize(
    ("expression", "value", "cost"),
    [
        ("'a,b,,c'.split(',')", ["a", "b", "", "c"], 2),
        ("'hello hello'.replace('he', 'we', 1)", "wello hello", 3),
        ("'%s is %d years'.format(['Bob', 42])", "Bob is 42 years", 2),
        ("strings.quote('a\"')", '"a\\""', 1),
        ("[1, 2, 3].sum()", 6, 3),
        ("[dyn(1), dyn('a')].isSorted()", True, 1),
        ("[3, 1, 2].sort()", [1, 2, 3], 29),
        ("['bb', 'a'].sortBy(e, e.size())", ["a", "bb"], 50),
        ("[[1, 2], [3]].flatten()", [1, 2, 3], 13),
        ("[1, 2, 2, 1].distinct()", [1, 2], 43),
        ("lists.range(4)", [0, 1, 2, 3], 15),
        ("[1, 2, 3].first().value()", 1, 2),
        ("sets.equivalent([1, 2], [2, 1, 1])", True, 13),
        ("'abc 123 def 456'.findAll('[0-9]+')", ["123", "456"], 4),
        ("url('https://[::1]:8443/a%20b').getHostname()", "::1", 4),
        ("ip.isCanonical('2001:db8::abcd')", True, 3),
        ("string(cidr('10.1.2.3/8').masked())", "10.0.0.0/8", 3),
        ("cidr('10.0.0.0/8').containsCIDR('0.0.0.0/0')", False, 5),
        ("quantity('50k').add(20).isGreaterThan(quantity('50k'))", True, 4),
        ("quantity('1000m') == quantity('1')", True, 3),
        ("semver('v1.2', true).minor()", 2, 2),
        ("format.dns1123Label().validate('a').hasValue()", False, 10),
    ],
)
def test_values_and_costs(expression: str, value: Value, cost: int) -> None:
    evaluation = BASE.compile(expression).evaluate({})
    assert (evaluation.value, evaluation.cost) == (value, cost)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("[].min()", "min called on empty list"),
        ("[1, 2].slice(0, 9)", "cannot slice(0, 9), list is length 2"),
        ("'abc'.substring(4)", "index out of range: 4"),
        ("quantity('1K')", "unable to parse quantity's suffix"),
        ("semver('1.2')", "No Major.Minor.Patch elements found"),
    ],
)
def test_failures(expression: str, message: str) -> None:
    value = BASE.compile(expression).evaluate({}).value
    assert isinstance(value, EvaluationFailed)
    assert value.text == message


def test_calls_of_format_are_checked_when_they_are_written() -> None:
    with pytest.raises(CompileFailed, match="decimal clause can only be used on integers"):
        BASE.compile("'%d'.format(['a'])")


def test_no_overload_is_declared_twice() -> None:
    ids = Counter(
        overload.id
        for library in LIBRARIES
        for function in library.functions
        for overload in function.overloads
    )
    assert [id_ for id_, count in ids.items() if count > 1] == []


@pytest.mark.parametrize(
    "expression",
    [
        "s.replace('', s).replace('', s)",
        "lists.range(20000).map(i, 'x'.replace('x', s + s)).size() > 0",
        "lists.range(20000).map(i, '%s'.format([s + s])).size() > 0",
        "l.map(x, s.replace('', s)).size() > 0",
        "[l, l, l].map(x, l.map(y, l)).flatten().flatten().size() > 0",
        "lists.range(1000000000).size() > 0",
        "lists.range(1000000000).size() > 0 || true",
        "l.map(x, l).indexOf(['b']) == -1",
        "quantity('1e2000000000').add(1).isInteger() || true",
        "l.join(s).size() > 0 && l.map(x, l.join(s)).size() > 0",
    ],
)
def test_what_would_fill_the_memory_ends(expression: str) -> None:
    environment = BASE.extended(variables={"s": STRING, "l": list_of(STRING)})
    program = environment.compile(expression)
    with pytest.raises(CostExceeded):
        program.evaluate({"s": TEXT, "l": [TEXT] * 1000})


def test_many_matches_are_charged_for() -> None:
    program = BASE.compile("'" + "a" * 300 + "'.findAll('a').size()")
    assert program.evaluate({}).cost == 300 + 1
