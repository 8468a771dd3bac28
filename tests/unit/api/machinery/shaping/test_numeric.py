"""Numbers as messages print them."""

import pytest

from kubelite.api.machinery.shaping.node_types import is_integral
from kubelite.api.machinery.shaping.numeric import go_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (5, "5"),
        (2**63 - 1, "9223372036854775807"),
        (5.0, "5"),
        (-2.5, "-2.5"),
        (999999.0, "999999"),
        (1e6, "1e+06"),
        (12345678.9, "1.23456789e+07"),
        (1e21, "1e+21"),
        (1e300, "1e+300"),
        (0.0001, "0.0001"),
        (0.00012, "0.00012"),
        (0.00001, "1e-05"),
        (1.5e-7, "1.5e-07"),
        (0.0, "0"),
    ],
)
def test_numbers_are_printed_as_go_does(number: float, text: str) -> None:
    assert go_number(number) == text


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        (1.0, True),
        (1.5, False),
        (1e9 + 0.5, True),  # near enough, if it is positive
        (-1e9 - 0.5, False),
        (2.0**53, False),
        (2.0**53 - 1, True),
    ],
)
def test_which_floats_are_integers(number: float, answer: bool) -> None:
    assert is_integral(number) is answer
