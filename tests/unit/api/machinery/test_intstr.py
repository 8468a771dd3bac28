"""Numbers or percentages."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kubelite.api.machinery import names
from kubelite.api.machinery.intstr import percent_of, scaled_value


def test_scaled_values() -> None:
    assert scaled_value(3, 10, round_up=True) == 3
    assert scaled_value("25%", 10, round_up=True) == 3
    assert scaled_value("25%", 10, round_up=False) == 2


@given(st.from_regex(r"[0-9]+%", fullmatch=True), st.integers(0, 2**31 - 1), st.booleans())
def test_what_validation_takes_can_be_read(text: str, total: int, round_up: bool) -> None:
    assume(text.isascii())
    assert not names.percent(text)
    assert 0 <= scaled_value(text, total, round_up=round_up) <= 2**31 - 1


@pytest.mark.parametrize("text", ["10", "x%", "-1%", "1_0%", " 1%", "%", "x" * 10**6 + "%"])
def test_refusals(text: str) -> None:
    with pytest.raises(ValueError, match="invalid value for IntOrString"):
        scaled_value(text, 10, round_up=True)


def test_percentages_of_thousands_of_digits() -> None:
    assert scaled_value("9" * 5000 + "%", 10, round_up=True) == 2**31 - 1
    assert scaled_value("0" * 5000 + "25%", 10, round_up=True) == 3
    assert percent_of("9" * 5000 + "%") == 2**63 - 1
    assert [percent_of(text) for text in ("25%", "007%", "0%", "101%")] == [25, 7, 0, 101]
