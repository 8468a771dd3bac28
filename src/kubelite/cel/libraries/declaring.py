"""Short forms for the declarations of libraries."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kubelite.cel.declarations import (
    ActualCost,
    ActualWork,
    Estimate,
    Function,
    Overload,
    Specialise,
)
from kubelite.cel.types import Type


class Costing(NamedTuple):
    """How a call is charged: estimated, and in fact; None: 1.

    With `is_by_id` it is charged so only if its overload is known when the expression is compiled.
    """

    estimate: Estimate | None = None
    actual: ActualCost | None = None
    is_by_id: bool = False
    work: ActualWork | None = None


UNIT = Costing()


def plain(
    id_: str,
    arguments: tuple[Type, ...],
    result: Type,
    call: Callable[..., Any],
    costing: Costing = UNIT,
) -> Overload:
    """Return an overload of a function that has no receiver."""
    return _overload(id_, arguments, result, call, costing)


def member(
    id_: str,
    arguments: tuple[Type, ...],
    result: Type,
    call: Callable[..., Any],
    costing: Costing = UNIT,
    specialise: Specialise | None = None,
) -> Overload:
    """Return an overload of a member function; `arguments` begin with its receiver."""
    return _overload(id_, arguments, result, call, costing, specialise, is_member=True)


def _overload(
    id_: str,
    arguments: tuple[Type, ...],
    result: Type,
    call: Callable[..., Any],
    costing: Costing,
    specialise: Specialise | None = None,
    *,
    is_member: bool = False,
) -> Overload:
    return Overload(
        id_,
        arguments,
        result,
        call,
        is_member=is_member,
        estimate=costing.estimate,
        cost=costing.actual,
        specialise=specialise,
        is_charged_if_known=costing.is_by_id,
        work=costing.work,
    )


def function(name: str, *overloads: Overload) -> Function:
    """Return a function of these overloads."""
    return Function(name, overloads)
