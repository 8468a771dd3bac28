"""Formats of texts that objects and expressions share; those of names are tried with the API's."""

import pytest

from kubelite.text_formats import is_base64, is_date, is_datetime, is_uuid


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("2024-02-29", True),
        ("2023-02-29", False),
        ("2024-1-1", False),
        ("0000-02-29", True),
        ("2024-13-01", False),
    ],
)
def test_dates(text: str, is_valid: bool) -> None:
    assert is_date(text) is is_valid


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("2024-01-01T00:00:00Z", True),
        ("2024-01-01t23:59:59.5+01:00", True),
        ("2024-01-01T24:00:00Z", False),
        ("2024-01-01", False),
        ("2024-01-01T00:00:00", False),
    ],
)
def test_dates_with_times(text: str, is_valid: bool) -> None:
    assert is_datetime(text) is is_valid


@pytest.mark.parametrize(
    ("text", "is_valid"), [("YWI=", True), ("YWI", False), ("", False), ("Y*==", False)]
)
def test_base64(text: str, is_valid: bool) -> None:
    assert is_base64(text) is is_valid


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        ("123e4567-e89b-12d3-a456-426614174000", True),
        ("123E4567e89b12d3a456426614174000", True),
        ("123e4567-e89b-12d3-a456-42661417400", False),
        ("123e4567--e89b-12d3-a456-426614174000", False),
    ],
)
def test_uuids(text: str, is_valid: bool) -> None:
    assert is_uuid(text) is is_valid
