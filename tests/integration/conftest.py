"""Shows, when a test with a bed fails, what the processes of its hosts have written."""

from collections.abc import Generator
from pathlib import Path

import pytest
from testbed.bed import LIVE

from kubelite.net import ipv6_host

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


@pytest.fixture(autouse=True)
def note_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the note of how a namespace was set for IPv6 away from that of the machine."""
    monkeypatch.setattr(ipv6_host, "BEFORE", tmp_path / "ipv6.json")
