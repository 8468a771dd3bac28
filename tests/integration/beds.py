"""What the tests with several hosts share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from testbed.bed import MISSING, Bed
from testbed.topology import one_link

from integration.runtime_engines import CRIO, needs_crio, programs_first

needs_bed = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]
with_crio = pytest.param("crio", marks=needs_crio)


def no_traceback(bed: Bed) -> None:
    """Fail if a kubelite process of a bed ended a task with a traceback."""
    for name, text in bed.logs().items():
        if name.endswith("/kubelite"):
            assert "Traceback" not in text, (
                f"{name}: {text[text.index('Traceback') - 1000 :][:5000]}"
            )


@contextmanager
def bed_of_one(engine: str) -> Iterator[Bed]:
    """Make a bed with one host, alpha, and find the programs of CRI-O for it."""
    folder = os.environ.get(CRIO, "") if engine == "crio" else ""
    with programs_first(folder), Bed(one_link("alpha"), engine=engine) as bed:
        yield bed
