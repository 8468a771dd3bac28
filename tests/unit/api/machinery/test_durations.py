"""Spans of time as Go's flags have them."""

import pytest

from kubelite.api.machinery.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1m30.5s", 90.5),
        (".5s", 0.5),
        ("2.h", 7200.0),
        ("300ms", 0.3),
        ("-1s", -1.0),
        ("+1s", 1.0),
        ("1us", 1e-6),
    ],
)
def test_spans(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "1d", "1h 1m", "1s-1s", "٣s", "1e3s", "9" * 40 + "s"]
)
def test_no_spans(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        parse_duration(text)
