"""What dispatching needs besides serving."""

import time
from itertools import islice
from uuid import UUID

import pytest

from kubelite.api.errors import BadRequest
from kubelite.api.http.dispatch import duration_seconds, identifiers
from kubelite.randomness import SeededRandomness


def test_identifiers_are_version_4_and_do_not_repeat() -> None:
    made = list(islice(identifiers(SeededRandomness(1)), 1000))
    assert len(set(made)) == 1000
    assert {(UUID(one).version, UUID(one).variant) for one in made} == {
        (4, "specified in RFC 4122")
    }


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("0", 0), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "-1s", "1s2", "1" * 4000])
def test_wrong_durations(text: str) -> None:
    started = time.process_time()
    with pytest.raises(BadRequest, match="time: invalid duration"):
        duration_seconds(text)
    assert time.process_time() - started < 0.1
