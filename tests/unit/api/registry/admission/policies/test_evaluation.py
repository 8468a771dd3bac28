"""Budgets of expressions, and the variables that are evaluated when they are needed."""

from typing import Any

import pytest

from kubelite.api.machinery.admission_expressions import ANYTHING, CONDITION, Composition
from kubelite.api.registry.admission.policies.environment import Inputs
from kubelite.api.registry.admission.policies.evaluation import (
    ConditionsFailed,
    Meter,
    OutOfBudget,
    Phase,
    conditions_hold,
    size_of_objects,
)
from kubelite.cel.values import EvaluationFailed

INPUTS = Inputs(object={"a": [1, 2, 3], "text": "x" * 640}, old=None, request={})
NO_LIMIT = 10**9


def phase(budget: int = NO_LIMIT, /, **variables: str) -> tuple[Phase, Composition]:
    composition = Composition(has_params=False)
    composition.add_variables(variables.items())
    return Phase(Meter(None), INPUTS, composition.variables, budget), composition


def value(text: str, **variables: str) -> Any:
    made, composition = phase(**variables)
    return made.evaluate(composition.compile(text, ANYTHING))


def test_what_an_expression_costs_is_taken_from_the_budget_with_its_variables() -> None:
    made, composition = phase(n="object.a.size()")
    expression = composition.compile("variables.n == 3", CONDITION)
    made.evaluate(expression)
    first = NO_LIMIT - made.budget
    made.evaluate(expression)
    again = NO_LIMIT - first - made.budget
    assert first > again > 0  # a variable is evaluated once
    made, composition = phase(first - 1, n="object.a.size()")
    with pytest.raises(OutOfBudget):
        made.evaluate(composition.compile("variables.n == 3", CONDITION))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("object.b", "expression 'object.b' resulted in error: no such key: b"),
        ("variables.bad", 'composited variable "bad" fails to evaluate: no such key: b'),
        ("variables.outer", '"outer" fails to evaluate: composited variable "bad" fails to'),
        ("variables.wrong", 'composited variable "wrong" fails to compile: compilation failed:'),
        ("nothing", "compilation error: compilation failed: ERROR: <input>:1:1: undeclared"),
    ],
)
def test_errors(text: str, error: str) -> None:
    found = value(text, bad="object.b", outer="variables.bad", wrong="nothing")
    assert isinstance(found, EvaluationFailed)
    assert error in found.text


def test_variables_are_a_map_of_all_their_names() -> None:
    assert value("has(variables.a)", a="object.b")
    assert value("dyn(variables).size()", a="1", b="object.b") == 2
    assert value("dyn(variables).map(k, k)", a="1", b="object.b") == ["a", "b"]
    assert value("variables.a + variables.a", a="'x'") == "xx"


@pytest.mark.parametrize(
    ("conditions", "outcome"),
    [
        ([], True),
        (["true"], True),
        (["object.b", "false"], False),
        (["object.b == 1", "true"], "expression 'object.b == 1' resulted in error: no such key: b"),
        (
            ["object.b == 1", "object.c == 1"],
            (
                "[expression 'object.b == 1' resulted in error: no such key: b, "
                "expression 'object.c == 1' resulted in error: no such key: c]"
            ),
        ),
        (["namespaceObject == null"], True),
    ],
)
def test_match_conditions(conditions: list[str], outcome: bool | str) -> None:
    composition = Composition(has_params=False)
    compiled = [composition.compile(one, ANYTHING) for one in conditions]
    inputs = Inputs(INPUTS.object, None, {}, {"metadata": {}})
    if isinstance(outcome, str):
        with pytest.raises(ConditionsFailed) as failed:
            conditions_hold(Meter(None), inputs, {}, compiled, is_ignored=False)
        assert str(failed.value) == outcome
        assert not conditions_hold(Meter(None), inputs, {}, compiled, is_ignored=True)
    else:
        assert conditions_hold(Meter(None), inputs, {}, compiled, is_ignored=False) is outcome


def test_sizes_stop_where_they_are_too_large() -> None:
    assert size_of_objects(INPUTS.object, most=1000) == 6 + 10
    assert size_of_objects([[1] * 100] * 100, most=500) < 700
