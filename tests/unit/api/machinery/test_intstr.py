"""Numbers or percentages."""

import pytest

from kubelite.api.machinery.intstr import is_percent, scaled_value


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
