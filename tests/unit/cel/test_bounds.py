"""Hostile expressions: what they may cost is counted, and nothing they build is larger than it."""

from typing import Any

import pytest

from kubelite.cel.frame import CostExceeded
from kubelite.cel.kubernetes import BASE
from kubelite.cel.types import DYN, INT, STRING, list_of
from kubelite.cel.values import EvaluationFailed
from kubelite.limits import EXPRESSION_INLINE

ENVIRONMENT = BASE.extended(
    variables={"l": list_of(INT), "big": list_of(DYN), "s": STRING, "left": DYN, "right": DYN}
)
VALUES: dict[str, Any] = {
    "l": list(range(2000)),
    "big": [[1] * 1000] * 100,
    "s": "a" * 100_000,
}


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "text",
    [
        "l.all(x, l.all(y, x + y >= 0))",
        "l.map(x, l.map(y, l.map(z, z))).size() > 0",
        "l.map(x, s + s).size() > 0",
        "l.map(x, l + l).size() > 0",
        "l.all(x, big == big)",
        "l.filter(x, [big] != [[x]] && [big] == [big]).size() > 0",
        "l.transformMap(i, x, l.transformMap(j, y, y)).size() > 0",
        "l.exists_one(x, l.exists_one(y, x == y))",
        "[[1]]" + ".map(x, [x, x])" * 40 + " == [[1]]" + ".map(x, [x, x])" * 40,
    ],
)
def test_bombs_stop_at_their_limit(text: str) -> None:
    with pytest.raises(CostExceeded):
        ENVIRONMENT.compile(text).evaluate(VALUES)


def test_comparing_counts_what_is_compared() -> None:
    program = ENVIRONMENT.compile("left == right")
    value = {"left": [[1] * 100] * 9, "right": [[1] * 100] * 9}
    assert program.evaluate(value, work=909).value is True
    with pytest.raises(CostExceeded):
        program.evaluate(value, work=908)


def test_adding_lists_counts_what_is_copied() -> None:
    program = ENVIRONMENT.compile("(l + l).size()")
    assert program.evaluate(VALUES, work=4000).value == 4000
    with pytest.raises(CostExceeded):
        program.evaluate(VALUES, work=3999)


@pytest.mark.parametrize("function", ["matches", "find", "findAll"])
def test_compiling_patterns_counts_their_length(function: str) -> None:
    program = ENVIRONMENT.compile(f"l.map(x, 'a'.{function}('(a|b)' + string(x))).size()")
    with pytest.raises(CostExceeded):
        program.evaluate(VALUES)
    literal = ENVIRONMENT.compile(f"l.map(x, 'a'.{function}('(a|b)')).size()")
    assert literal.evaluate(VALUES, work=0).value == 2000


def test_building_a_list_copies_nothing() -> None:
    program = ENVIRONMENT.compile("l.map(x, x).size()")
    assert program.evaluate(VALUES, work=0).value == 2000


def test_errors_in_a_loop_do_not_pile_up() -> None:
    evaluation = ENVIRONMENT.compile("l.map(x, x / 0)").evaluate(VALUES)
    assert evaluation.cost == 2 + 2000 * 14
    length, trace = 0, evaluation.value.__traceback__
    while trace is not None:
        length, trace = length + 1, trace.tb_next
    assert length < 10  # it grew with each iteration once


@pytest.mark.parametrize(
    "text",
    [
        "[" * 249 + "]" * 249,
        "[1].all(x, " * 120 + "true" + ")" * 120,
        "true ? 1 : " * 240 + "1",
        "1" + " + 1" * 249,
        "[0]" + ".map(x, [x])" * 120,
        "{1: " * 200 + "1" + "}" * 200,
        "!(" * 200 + "true" + ")" * 200,
        "true" + " && true" * 5000,
    ],
)
def test_deep_expressions_do_not_meet_the_limit_on_recursion(text: str) -> None:
    program = ENVIRONMENT.compile(text)
    assert program.cost.max >= 0
    assert program.evaluate({}).cost >= 0


def test_deep_values_do_not_meet_it_either() -> None:
    program = ENVIRONMENT.compile("left == right")
    value = {"left": nested(900), "right": nested(900)}
    assert program.evaluate(value).value is True


def test_a_long_expression_that_fails_is_not_compiled_again_with_a_small_allowance() -> None:
    program = ENVIRONMENT.compile("l[9999] == 1 && " + " && ".join(["l.size() == 0"] * 100))
    values: dict[str, Any] = {"l": []}
    with pytest.raises(CostExceeded):
        program.evaluate(values, limit=EXPRESSION_INLINE.value)
    found = program.evaluate(values)
    assert isinstance(found.value, EvaluationFailed)
    assert program.evaluate(values, limit=EXPRESSION_INLINE.value).cost == found.cost
