"""Shows, when a test with a bed fails, what the processes of its hosts have written."""

from collections.abc import Generator

import pytest
from testbed.bed import LIVE

SHOWN_CHARACTERS = 6000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for bed in LIVE:
            report.sections.extend(
                (f"log of {name}", text[-SHOWN_CHARACTERS:]) for name, text in bed.logs().items()
            )
    return report
