"""What examinations of tests want of a host, and findings in short."""

from collections.abc import Iterable
from pathlib import Path

from kubelite.config import AgentConfig, Config
from kubelite.doctor.findings import Finding, Level
from kubelite.doctor.wanted import Wanted, wanted_of

SERVER = wanted_of(Config(data_dir="/data", node_name="one"))
CONTROL_PLANE = wanted_of(Config(data_dir="/data", node_name="one", disable_agent=True))
AGENT = wanted_of(AgentConfig(data_dir="/data", node_name="one"))


def bad(findings: Iterable[Finding]) -> list[str]:
    """Return level and text of all findings that are not ok; each must say why it matters and what to do."""
    found = [one for one in findings if one.level is not Level.OK]
    for one in found:
        if one.level is not Level.NOTE:
            assert one.why, one
            assert one.do, one
    return [f"{one.level.value}: {one.what}" for one in found]


def in_folder(folder: Path) -> Wanted:
    """Return what a server with this data folder wants."""
    return wanted_of(Config(data_dir=str(folder), node_name="one"))
