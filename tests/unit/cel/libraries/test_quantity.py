"""Amounts of resources."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.cel.frame import CostExceeded
from kubelite.cel.libraries import quantity
from kubelite.cel.libraries.quantity import Quantity, Small, parse
from kubelite.cel.values import INT_MAX, EvaluationFailed
from kubelite.limits import CEL_DIGITS


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", "0"),
        ("-", "0"),
        ("Mi", "0"),
        ("+1", "1"),
        ("5.", "5"),
        (".5", "0.5"),
        ("1.5G", "1500000000"),
        ("1Ki", "1024"),
        ("0.5Gi", "536870912"),
        ("-1.5", "-1.5"),
        ("0.1u", "1e-7"),
        ("0.0000000001", "1e-9"),
        ("-0.0000000001", "-1e-9"),
        ("12345678901234567890", "12345678901234567890"),
        ("99999999999Ei", str(INT_MAX)),
        ("1E3", "1000"),
        ("1e+3", "1000"),
        ("1E", "1e18"),
        ("1e1000", "1e1000"),
        ("1e4294967296", "1"),
        ("1e-400", "1e-9"),
        ("1.5n", "2e-9"),
    ],
)
def test_what_is_read(text: str, number: str) -> None:
    assert parse(text).number == Decimal(number)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", quantity.FORMAT_WRONG),
        ("1Zi", quantity.FORMAT_WRONG),
        ("1 Gi", quantity.FORMAT_WRONG),
        ("0x1", quantity.FORMAT_WRONG),
        ("1,3G", quantity.FORMAT_WRONG),
        ("Three", quantity.FORMAT_WRONG),
        ("1K", quantity.SUFFIX_WRONG),
        ("1e", quantity.SUFFIX_WRONG),
        ("1e+", quantity.SUFFIX_WRONG),
        ("1ei5", quantity.SUFFIX_WRONG),
        ("1e99999999999999999999", quantity.SUFFIX_WRONG),
        (".e-20", quantity.NUMBER_WRONG),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    assert not quantity.is_quantity(text)
    with pytest.raises(EvaluationFailed) as failure:
        parse(text)
    assert failure.value.text == message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("50k", 50_000),
        ("50000000G", 50_000_000 * 10**9),
        ("1Gi", 1 << 30),
        ("1.5", None),
        ("1.0", None),
        ("9999999999999999999999999999999999999G", None),
        ("100000000000000000000", None),
        ("1e1000", None),
        ("0e2000000000", 0),
    ],
)
def test_integers(text: str, value: int | None) -> None:
    if value is not None:
        assert quantity.as_integer(parse(text)) == value
        return
    with pytest.raises(EvaluationFailed, match="cannot convert value to integer"):
        quantity.as_integer(parse(text))


def test_sums_and_differences() -> None:
    total = quantity.add(parse("50k"), Quantity(Small(20, 0)))
    total = quantity.subtract(quantity.subtract(total, parse("100k")), Quantity(Small(-50_000, 0)))
    assert total == parse("20")
    assert quantity.as_integer(total) == 20
    assert quantity.add(parse("50Mi"), parse("0.5Gi")) == parse("562Mi")
    assert quantity.subtract(parse("1"), parse("1e20")).number == 1 - Decimal(10) ** 20
    assert quantity.subtract(parse("1e20"), parse("12345678901234567890")).number > 0


@given(st.integers(-(10**17), 10**17), st.integers(-(10**17), 10**17), st.integers(-9, 9))
def test_arithmetic_is_exact(left: int, right: int, scale: int) -> None:
    first, second = parse(f"{left}e{scale}"), parse(f"{right}")
    exact = Decimal(f"{left}e{scale}"), Decimal(right)
    assert quantity.add(first, second).number == sum(exact)
    assert quantity.subtract(first, second).number == exact[0] - exact[1]
    assert quantity.compare(first, second) == (exact[0] > exact[1]) - (exact[0] < exact[1])
    assert quantity.sign(first) == (exact[0] > 0) - (exact[0] < 0)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.5", 1.5),
        ("1Gi", 1073741824.0),
        ("100000000000000000000", 1e20),
        ("1e400", float("inf")),
        ("-100m", -0.1),
        ("1n", 1e-9),
    ],
)
def test_floats(text: str, number: float) -> None:
    assert quantity.as_float(parse(text)) == pytest.approx(number)


def test_equality_ignores_how_it_is_written() -> None:
    assert len({parse("1000m"), parse("1"), parse("1.0"), parse("1e0")}) == 1
    assert parse("1024") == parse("1Ki")
    assert parse("1") != parse("2")


def test_sums_of_amounts_far_apart_end() -> None:
    before = CEL_DIGITS.times_reached
    with pytest.raises(CostExceeded):
        quantity.add(parse("1e2000000000"), parse("1"))
    assert CEL_DIGITS.times_reached == before + 1


def test_long_numbers_are_read_compared_and_not_added() -> None:
    long = parse("8" * 100_000)
    assert quantity.compare(long, parse("1234567890123456789e2000000000")) == -1
    with pytest.raises(CostExceeded):
        quantity.add(long, parse("1"))


@pytest.mark.parametrize(
    "text", ["0" * 500_000 + "x", "1." + "0" * 500_000 + "x", "K" * 500_000 + "x"]
)
def test_long_texts_are_refused_in_one_pass(text: str) -> None:
    assert not quantity.is_quantity(text)
