"""Bounds on what one call of a function makes or walks over; beyond them the call fails."""

from kubelite.cel.values import EvaluationFailed
from kubelite.limits import CEL_LIST, CEL_TEXT, CEL_VALUES, Limit

# What cel-go says of an expression that costs too much, which these are: it makes more than its cost would allow.
TOO_EXPENSIVE = "operation cancelled: actual cost limit exceeded"


def _check(limit: Limit, amount: int) -> None:
    if amount > limit.value:
        limit.reached()
        raise EvaluationFailed(TOO_EXPENSIVE)


def check_text(length: int) -> None:
    """Raise EvaluationFailed if a text of `length` characters may not be made."""
    _check(CEL_TEXT, length)


def check_list(length: int) -> None:
    """Raise EvaluationFailed if a list of `length` elements may not be made."""
    _check(CEL_LIST, length)


def check_values(count: int) -> None:
    """Raise EvaluationFailed if so many values may not be walked over."""
    _check(CEL_VALUES, count)
