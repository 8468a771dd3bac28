"""Bounds on what one call of a function makes or walks over; beyond them the whole evaluation ends.

It ends as one that costs too much, not as one that fails: a failure may be absorbed, and the call made again.
"""

from kubelite.cel.frame import CostExceeded
from kubelite.limits import CEL_LIST, CEL_TEXT, CEL_VALUES, Limit


def _check(limit: Limit, amount: int) -> None:
    if amount > limit.value:
        limit.reached()
        raise CostExceeded


def check_text(length: int) -> None:
    """Raise CostExceeded if a text of `length` characters may not be made."""
    _check(CEL_TEXT, length)


def check_list(length: int) -> None:
    """Raise CostExceeded if a list of `length` elements may not be made."""
    _check(CEL_LIST, length)


def check_values(count: int) -> None:
    """Raise CostExceeded if so many values may not be walked over."""
    _check(CEL_VALUES, count)
