"""Compiles and evaluates off the event loop where it takes long.

An evaluation has no side effects, so it begins on the loop with a limit that is passed within a few milliseconds, and
only if it passes that it is repeated off the loop with the limit that it really has. A long expression never runs on
the loop, since an evaluation that fails compiles it once more.
"""

from collections.abc import Mapping
from typing import Final

from kubelite.cel.environment import COST_LIMIT, Environment, Evaluation, Program
from kubelite.cel.frame import CostExceeded, WorkExceeded
from kubelite.cel.values import Value
from kubelite.limits import EXPRESSION_COST, EXPRESSION_INLINE, EXPRESSION_WORK, INLINE_WORK
from kubelite.offload import Offload

_COMPILE_WORK: Final = 16  # as bytes: what a character costs to compile
_COST_WORK: Final = 10  # as bytes: what a unit of cost takes


async def compile_expression(environment: Environment, text: str, offload: Offload) -> Program:
    """Return the program of an expression, compiled off the loop if it is long; raises as `Environment.compile`."""
    return await offload.run(len(text) * _COMPILE_WORK, lambda: environment.compile(text))


async def evaluate(
    program: Program, variables: Mapping[str, Value], offload: Offload, limit: int = COST_LIMIT
) -> Evaluation:
    """Return the outcome of an evaluation; raises CostExceeded past the limit.

    The values of the variables must not change before it returns.
    """
    inline = EXPRESSION_INLINE.value
    if program.length * _COMPILE_WORK <= INLINE_WORK.value:
        try:
            return program.evaluate(variables, min(limit, inline), work=inline)
        except CostExceeded:
            EXPRESSION_INLINE.reached()
    cost = (limit + EXPRESSION_WORK.value) * _COST_WORK
    try:
        return await offload.run(cost, lambda: program.evaluate(variables, limit))
    except CostExceeded as error:
        (EXPRESSION_WORK if isinstance(error, WorkExceeded) else EXPRESSION_COST).reached()
        raise
