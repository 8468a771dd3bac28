"""Random expressions against another implementation of CEL: `cel-expr-python`."""

import math
from typing import Any

from cel_expr_python import cel
from hypothesis import given, settings

from kubelite.cel.frame import CostExceeded
from kubelite.cel.values import EvaluationFailed
from property.test_expressions import ENVIRONMENT, EXPRESSIONS, LIMIT, VALUES, compiled

OTHERS_ONLY = (".?", "optMap", "transformMap", "existsOne", "(s, d,")  # beyond the other's standard


def other_environment() -> Any:
    kind = cel.Type
    types = {
        "int": kind.INT,
        "double": kind.DOUBLE,
        "string": kind.STRING,
        "bool": kind.BOOL,
        "dyn": kind.DYN,
        "list(int)": kind.List(kind.INT),
        "list(string)": kind.List(kind.STRING),
        "map(string, dyn)": kind.Map(kind.STRING, kind.DYN),
    }
    declared = {name: types[str(field.type)] for name, field in ENVIRONMENT.variables.items()}
    return cel.NewEnv(variables=declared)


def is_same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    return bool(ours == theirs)


@settings(max_examples=300)
@given(EXPRESSIONS, VALUES)
def test_where_both_have_a_value_it_is_the_same(text: str, values: dict[str, Any]) -> None:
    program = compiled(text)
    if program is None or any(part in text for part in OTHERS_ONLY):
        return
    try:
        ours = program.evaluate(values, LIMIT).value
    except CostExceeded:
        return
    theirs = other_environment().compile(text).eval(data=values)
    # Implementations differ in what they refuse: a search for null in a map fails there and finds nothing here.
    if not isinstance(ours, EvaluationFailed) and theirs.type() != cel.Type.ERROR:
        assert is_same(ours, theirs.plain_value())
