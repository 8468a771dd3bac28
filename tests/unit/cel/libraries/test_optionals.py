"""Optional elements of lists."""

import pytest

from kubelite.cel.libraries import optionals
from kubelite.cel.values import NONE, EvaluationFailed, Optional


def test_first_last_and_unwrap() -> None:
    assert optionals.first([1, 2]) == Optional(1)
    assert optionals.last([1, 2]) == Optional(2)
    assert optionals.first([]) is NONE
    assert optionals.last([]) is NONE
    assert optionals.unwrap([Optional(1), NONE]) == [1]
    with pytest.raises(EvaluationFailed, match="value 1 is not optional"):
        optionals.unwrap([1])
