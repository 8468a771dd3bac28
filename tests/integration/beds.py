"""What the tests with several hosts share."""

import os

import pytest
from testbed.bed import MISSING

needs_bed = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]
