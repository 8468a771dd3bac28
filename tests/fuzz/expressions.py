"""Fuzz target of expressions in CEL: from the text to a value."""

from typing import Any

from fuzz.target import Target, pure
from kubelite.cel.failures import CompileFailed, ProgramFailed
from kubelite.cel.frame import CostExceeded
from kubelite.cel.kubernetes import BASE
from kubelite.cel.types import DYN, INT, STRING, list_of, map_of

ENVIRONMENT = BASE.extended(
    variables={
        "self": DYN,
        "i": INT,
        "s": STRING,
        "l": list_of(INT),
        "m": map_of(STRING, DYN),
    }
)
VALUES: dict[str, Any] = {
    "self": {"spec": {"replicas": 3, "names": ["a", "b"]}, "ok": True, "none": None},
    "i": 7,
    "s": "web-1.example",
    "l": [3, 1, 2],
    "m": {"a": 1, "b": {"c": 2.5}},
}
COST = 10_000


def check_expression(data: bytes) -> None:
    """An expression is refused, fails with an error of CEL, or has a value; its cost is within the limit."""
    text = data.decode(errors="replace")
    try:
        program = ENVIRONMENT.compile(text)
    except (CompileFailed, ProgramFailed):
        return
    assert program.cost.min >= 0
    assert program.cost.max < 1 << 64
    try:
        evaluation = program.evaluate(VALUES, COST)
    except CostExceeded:
        return
    assert 0 <= evaluation.cost <= COST


TARGETS = (Target("expression", pure(check_expression), cost=8),)
