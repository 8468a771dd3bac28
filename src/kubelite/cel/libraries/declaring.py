"""Short forms for the declarations of libraries."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kubelite.cel.declarations import ActualCost, Estimate, Function, Overload, Specialise
from kubelite.cel.types import Type


class Costing(NamedTuple):
    """How a call is charged: estimated, and in fact; None: 1."""

    estimate: Estimate | None = None
    actual: ActualCost | None = None


UNIT = Costing()


def plain(
    id_: str,
    arguments: tuple[Type, ...],
    result: Type,
    call: Callable[..., Any],
    costing: Costing = UNIT,
) -> Overload:
    """Return an overload of a function that has no receiver."""
    return Overload(id_, arguments, result, call, estimate=costing.estimate, cost=costing.actual)


def member(
    id_: str,
    arguments: tuple[Type, ...],
    result: Type,
    call: Callable[..., Any],
    costing: Costing = UNIT,
    specialise: Specialise | None = None,
) -> Overload:
    """Return an overload of a member function; `arguments` begin with its receiver."""
    return Overload(
        id_,
        arguments,
        result,
        call,
        is_member=True,
        estimate=costing.estimate,
        cost=costing.actual,
        specialise=specialise,
    )


def function(name: str, *overloads: Overload) -> Function:
    """Return a function of these overloads."""
    return Function(name, overloads)
