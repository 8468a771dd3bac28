"""Operators on values of any type: what the checker could not decide is decided here, by the values themselves.

Integers overflow at 64 bits with an error. Where an operator does not apply, the words are cel-go's.
"""

import math
from typing import Final

from kubelite.cel import operators
from kubelite.cel.times import NANOSECONDS, TIMESTAMP_MAX, TIMESTAMP_MIN
from kubelite.cel.values import (
    INT_MAX,
    INT_MIN,
    UINT_MAX,
    Duration,
    EvaluationFailed,
    MapList,
    SetList,
    Timestamp,
    UInt,
    Value,
)

_RECEIVERS: Final = frozenset({str, Timestamp, Duration})
_LISTS: Final = frozenset({list, MapList, SetList})
_ORDERED: Final = frozenset({bool, bytes, float, Duration, int, str, Timestamp, UInt})
_NUMBERS: Final = frozenset({int, UInt, float})


def no_overload() -> EvaluationFailed:
    """Return the error of an operand that does not go with the other."""
    return EvaluationFailed("no such overload")


def _inapplicable(operator: str, left: Value) -> EvaluationFailed:
    """Return the error of an operator that the type of the left operand does not have."""
    if type(left) in _RECEIVERS:
        return no_overload()
    return EvaluationFailed(f"no such overload: {operator}")


def int_of(number: int) -> int:
    """Return an int; raises EvaluationFailed past 64 bits."""
    if INT_MIN <= number <= INT_MAX:
        return number
    raise EvaluationFailed("integer overflow")


def uint_of(number: int) -> UInt:
    """Return a uint; raises EvaluationFailed past 64 bits and below zero."""
    if 0 <= number <= UINT_MAX:
        return UInt(number)
    raise EvaluationFailed("unsigned integer overflow")


def timestamp_of(nanoseconds: int, offset: int = 0) -> Timestamp:
    """Return an instant; raises EvaluationFailed outside of the years 1 to 9999."""
    if TIMESTAMP_MIN <= nanoseconds // NANOSECONDS <= TIMESTAMP_MAX:
        return Timestamp(nanoseconds, offset)
    raise EvaluationFailed("timestamp overflow")


def duration_of(nanoseconds: int) -> Duration:
    """Return a span of time; raises EvaluationFailed past 64 bits."""
    if INT_MIN <= nanoseconds <= INT_MAX:
        return Duration(nanoseconds)
    raise EvaluationFailed("integer overflow")


def add(left: Value, right: Value) -> Value:
    """Return the sum of two numbers or times, or two strings, bytes or lists joined."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return int_of(left + right)
        if kind is UInt:
            return uint_of(int(left) + int(right))
        if kind is float or kind is str or kind is bytes or kind is list:
            return left + right
    if kind is Duration:
        if other is Duration:
            return duration_of(left.nanoseconds + right.nanoseconds)
        if other is Timestamp:
            return timestamp_of(left.nanoseconds + right.nanoseconds, right.offset)
    if kind is Timestamp and other is Duration:
        return timestamp_of(left.nanoseconds + right.nanoseconds, left.offset)
    if isinstance(left, list) and isinstance(right, list):
        return left.joined(right) if isinstance(left, SetList) else left + right
    if kind in (bool, dict, type(None)) or kind not in (_ORDERED | _LISTS):
        raise _inapplicable(operators.ADD, left)
    raise no_overload()


def subtract(left: Value, right: Value) -> Value:
    """Return the difference of two numbers or times."""
    kind, other = type(left), type(right)
    if kind is other:
        if kind is int:
            return int_of(left - right)
        if kind is UInt:
            return uint_of(int(left) - int(right))
        if kind is float:
            return left - right
        if kind is Duration or kind is Timestamp:
            return duration_of(left.nanoseconds - right.nanoseconds)
    if kind is Timestamp and other is Duration:
        return timestamp_of(
            left.nanoseconds + duration_of(-right.nanoseconds).nanoseconds, left.offset
        )
    if kind in (Duration, Timestamp) or kind in _NUMBERS:
        raise no_overload()
    raise _inapplicable(operators.SUBTRACT, left)


def multiply(left: Value, right: Value) -> Value:
    """Return the product of two numbers of one type."""
    kind = type(left)
    if kind not in _NUMBERS:
        raise _inapplicable(operators.MULTIPLY, left)
    if kind is not type(right):
        raise no_overload()
    if kind is int:
        return int_of(left * right)
    if kind is UInt:
        return uint_of(int(left) * int(right))
    return left * right


def divide(left: Value, right: Value) -> Value:
    """Return the quotient of two numbers of one type; of integers without the rest, towards zero."""
    kind = type(left)
    if kind not in _NUMBERS:
        raise _inapplicable(operators.DIVIDE, left)
    if kind is not type(right):
        raise no_overload()
    if kind is float:
        return divide_doubles(left, right)
    if right == 0:
        raise EvaluationFailed("division by zero")
    if kind is UInt:
        return UInt(int(left) // int(right))
    quotient = abs(left) // abs(right)
    return int_of(quotient if (left < 0) is (right < 0) else -quotient)


def divide_doubles(left: float, right: float) -> float:
    """Return the quotient of two doubles; by zero it is infinite or no number."""
    if right != 0:
        return left / right
    if left == 0 or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def modulo(left: Value, right: Value) -> Value:
    """Return the rest of a division of integers, with the sign of the dividend."""
    kind = type(left)
    if kind is not int and kind is not UInt:
        raise _inapplicable(operators.MODULO, left)
    if kind is not type(right):
        raise no_overload()
    if right == 0:
        raise EvaluationFailed("modulus by zero")
    if kind is UInt:
        return UInt(int(left) % int(right))
    if left == INT_MIN and right == -1:
        raise EvaluationFailed("integer overflow")
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def negate(value: Value) -> Value:
    """Return a number or span of time with the other sign."""
    kind = type(value)
    if kind is int:
        return int_of(-value)
    if kind is float:
        return -value
    if kind is Duration:
        return duration_of(-value.nanoseconds)
    if kind is bool:
        raise no_overload()
    raise _inapplicable(operators.NEGATE, value)


def invert(value: Value) -> bool:
    """Return the opposite of a bool."""
    if value is True:
        return False
    if value is False:
        return True
    raise no_overload()


def compare(operator: str, left: Value, right: Value) -> int:
    """Return -1, 0 or 1 as the left value is less than the right, equal or greater; numbers across their types."""
    kind, other = type(left), type(right)
    if kind is other and kind in _ORDERED:
        if kind is float and (math.isnan(left) or math.isnan(right)):
            raise EvaluationFailed("NaN values cannot be ordered")
        return -1 if left < right else int(right < left)
    if kind in _NUMBERS and other in _NUMBERS:
        if kind is float or other is float:
            left, right = float(left), float(right)
            if math.isnan(left) or math.isnan(right):
                raise EvaluationFailed("NaN values cannot be ordered")
        return -1 if left < right else int(right < left)
    if kind in _ORDERED:
        raise no_overload()
    raise _inapplicable(operator, left)


def less(left: Value, right: Value) -> bool:
    """Return whether the left value is less than the right."""
    return compare(operators.LESS, left, right) < 0


def less_equals(left: Value, right: Value) -> bool:
    """Return whether the left value is at most the right."""
    return compare(operators.LESS_EQUALS, left, right) <= 0


def greater(left: Value, right: Value) -> bool:
    """Return whether the left value is greater than the right."""
    return compare(operators.GREATER, left, right) > 0


def greater_equals(left: Value, right: Value) -> bool:
    """Return whether the left value is at least the right."""
    return compare(operators.GREATER_EQUALS, left, right) >= 0
