"""Exponential back-off has one formula."""

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "kubelite"
FORMULA = re.compile(r"\*\s*2(\.0)?\s*\*\*|min\(\w*delay\w* \* 2")


def test_back_off_is_written_out_in_its_leaf_alone() -> None:
    """Each copy had a cap of its own for the exponent, and most had none that a test saw."""
    places = [path.name for path in SOURCE.rglob("*.py") if FORMULA.search(path.read_text("utf-8"))]
    assert places == ["backoff.py"]
