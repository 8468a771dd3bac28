"""What counts as the zero of a type."""

import pytest

from kubelite.cel.kubernetes import BASE
from kubelite.cel.values import NONE


@pytest.mark.parametrize(
    "text",
    ["0", "0u", "0.0", "''", "b''", "false", "null", "[]", "{}", "duration('0s')", "optional.none()",
     "timestamp('0001-01-01T00:00:00Z')"],
)  # fmt: skip
def test_zeros_make_no_optional(text: str) -> None:
    assert BASE.compile(f"optional.ofNonZeroValue({text})").evaluate({}).value == NONE


@pytest.mark.parametrize(
    "text", ["1", "'a'", "true", "[0]", "timestamp('1970-01-01T00:00:00Z')", "int"]
)
def test_other_values_do(text: str) -> None:
    assert BASE.compile(f"optional.ofNonZeroValue({text}).hasValue()").evaluate({}).value is True
