"""Quantities."""

import pytest

from kubelite.api.machinery.quantity import ZERO, canonical_quantity, parse_quantity, total


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0Mi", "0"),
        ("100m", "100m"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        ("128Mi", "128Mi"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1025", "1025"),
        ("1Ki", "1Ki"),
        ("1.0001Ki", "1024102400u"),
        ("1000k", "1M"),
        ("12e6", "12e6"),
        ("1e3", "1e3"),
        ("10e2", "1e3"),
        ("1E", "1E"),
        ("-5Gi", "-5Gi"),
        ("+5", "5"),
        ("0.0000000001", "1n"),
        ("100E", "9223372036854775807"),
        (".5", "500m"),
        ("5.", "5"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert canonical_quantity(text) == canonical
    assert canonical_quantity(canonical) == canonical


def test_numbers_are_quantities() -> None:
    assert canonical_quantity(2) == "2"
    assert canonical_quantity(0.1) == "100m"


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "1 Gi", "0x1", "1Gi1", "--1", "9" * 300])
def test_refusals(text: str) -> None:
    with pytest.raises(ValueError, match="quantit"):
        parse_quantity(text)


def test_arithmetic_and_values() -> None:
    assert str(parse_quantity("1Gi") + parse_quantity("512Mi")) == "1536Mi"
    assert str(parse_quantity("1") - parse_quantity("100m")) == "900m"
    assert total("100m", "0.9", "1") == "2"
    assert total() == "0"
    assert parse_quantity("1001m").value() == 2
    assert parse_quantity("0.1").milli_value() == 100
    assert parse_quantity("1Gi") > parse_quantity("1G")
    assert parse_quantity("1000m") == parse_quantity("1")
    assert not ZERO
    assert str(ZERO + parse_quantity("2Ki")) == "2Ki"


def test_huge_exponents_stay_cheap() -> None:
    assert canonical_quantity("1e999999999") == "9223372036854775807"
    assert canonical_quantity("1e-999999999") == "1e-9"
