"""Numbers or percentages."""

import pytest

from kubelite.api.machinery.intstr import is_percent, percent_of, scaled_value


def test_scaled_values() -> None:
    assert scaled_value(3, 10, round_up=True) == 3
    assert scaled_value("25%", 10, round_up=True) == 3
    assert scaled_value("25%", 10, round_up=False) == 2
    assert is_percent("10%")
    assert not is_percent(10)


@pytest.mark.parametrize("text", ["10", "x%"])
def test_refusals(text: str) -> None:
    with pytest.raises(ValueError, match="invalid value for IntOrString"):
        scaled_value(text, 10, round_up=True)


def test_percentages_of_thousands_of_digits() -> None:
    with pytest.raises(ValueError, match="invalid value for IntOrString"):
        scaled_value("9" * 5000 + "%", 10, round_up=True)
    assert percent_of("9" * 5000 + "%") == 2**63 - 1
    assert [percent_of(text) for text in ("25%", "007%", "0%", "101%")] == [25, 7, 0, 101]
