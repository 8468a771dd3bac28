"""Values that are a number or a percentage of a total."""

from kubelite.api.machinery.names import percent

_LENGTH_MAX = 20  # of a percentage: more digits are no integer of Go


def percent_of(value: str) -> int:
    """Return the number of a percentage such as ``25%``, at most the largest of Go's integers."""
    digits = value[:-1].lstrip("0")
    return min(int(digits[:_LENGTH_MAX] or 0), 2**63 - 1)


def is_percent(value: int | str) -> bool:
    """Tell whether the value is a percentage such as ``25%``."""
    return isinstance(value, str) and not percent(value)


def scaled_value(value: int | str, total: int, *, round_up: bool) -> int:
    """Return the number itself, or the percentage of `total` rounded as asked.

    Raises:
        ValueError: The text is no percentage.
    """
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError("invalid value for IntOrString: invalid type: string is not a percentage")
    try:
        if len(value) > _LENGTH_MAX:
            raise ValueError("out of range")
        share = int(value[:-1])
    except ValueError as error:
        raise ValueError(f'invalid value for IntOrString: invalid value "{value}"') from error
    return -(-share * total // 100) if round_up else share * total // 100
