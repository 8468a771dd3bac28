"""The pause after failures."""

import pytest

from kubelite.backoff import backoff_seconds


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(-1, 1.5), (0, 1.5), (1, 3.0), (2, 6.0), (5, 48.0), (6, 60.0), (10**9, 60.0)],
)
def test_each_failure_doubles_the_pause_up_to_the_maximum(failures: int, seconds: float) -> None:
    assert backoff_seconds(failures, 1.5, 60.0) == seconds
