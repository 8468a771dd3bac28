"""What the tests with several hosts share."""

import os

import pytest
from testbed.bed import MISSING, Bed

needs_bed = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


def no_traceback(bed: Bed) -> None:
    """Fail if a kubelite process of a bed ended a task with a traceback."""
    for name, text in bed.logs().items():
        if name.endswith("/kubelite"):
            assert "Traceback" not in text, (
                f"{name}: {text[text.index('Traceback') - 1000 :][:5000]}"
            )
