"""Questions about a log."""

from datetime import UTC, datetime, timedelta

import pytest

from kubelite.api.errors import BadRequest
from kubelite.node.logs import read_request

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_a_request_is_read() -> None:
    asked = {"tailLines": "5", "limitBytes": "7", "sinceSeconds": "60", "follow": "true"}
    found = read_request(asked, NOW)
    assert (found.query.tail_lines, found.limit_bytes, found.query.follow) == (5, 7, True)
    assert found.query.since == NOW - timedelta(seconds=60)


@pytest.mark.parametrize("name", ["tailLines", "limitBytes", "sinceSeconds"])
@pytest.mark.parametrize("text", ["-1", "x", "1" * 19, "1" * 5000, "1_0", "\u0661", " 1"])
def test_a_number_is_some_digits(name: str, text: str) -> None:
    with pytest.raises(BadRequest, match=f"invalid value of {name}"):
        read_request({name: text}, NOW)


def test_a_date_before_all_dates_is_refused() -> None:
    with pytest.raises(BadRequest):
        read_request({"sinceSeconds": "9" * 18}, NOW)
