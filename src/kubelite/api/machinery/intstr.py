"""Values that are a number or a percentage of a total."""

from kubelite.api.machinery.causes import cut
from kubelite.api.machinery.names import percent

COUNT_MAX = 2**31 - 1  # of replicas
_LENGTH_MAX = 20  # characters of a percentage: more digits do not fit Go's int


def percent_of(value: str) -> int:
    """Return the number of a percentage such as ``25%``, at most Go's largest int."""
    digits = value[:-1].lstrip("0")
    return min(int(digits[:_LENGTH_MAX] or 0), 2**63 - 1)


def scaled_value(value: int | str, total: int, *, round_up: bool) -> int:
    """Return the number itself, or the percentage of `total`, rounded up or down; at most COUNT_MAX.

    Every percentage that passes validation can be parsed here.

    Raises:
        ValueError: The text is not a percentage.
    """
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError("invalid value for IntOrString: invalid type: string is not a percentage")
    if percent(value):
        raise ValueError(f'invalid value for IntOrString: invalid value "{cut(value)}"')
    share = percent_of(value) * total
    return min(-(-share // 100) if round_up else share // 100, COUNT_MAX)
