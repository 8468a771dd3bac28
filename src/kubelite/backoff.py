"""Exponential back-off."""

EXPONENT_MAX = 60  # a float takes 2 ** 1023; `first` may be anything in seconds


def backoff_seconds(failures: int, first: float, maximum: float) -> float:
    """Return the pause in seconds after `failures` failures in a row: `first`, doubled for each, `maximum` at most.

    The pause after the first failure is `first` with `failures` 0.
    """
    return min(first * 2.0 ** min(max(failures, 0), EXPONENT_MAX), maximum)
