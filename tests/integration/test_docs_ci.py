"""docs/ci.md, run line by line as a reader would: on a host without an engine that runs, as in a container."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from testbed.bed import Bed
from testbed.topology import one_link

from integration.beds import needs_bed
from integration.cluster_host import HELLO
from integration.test_docs import ROOT, Reader, steps_of

pytestmark = needs_bed


@pytest.fixture(name="reader")
def make_reader() -> Iterator[Reader]:
    with Bed(one_link("server"), engines=False) as bed:
        archive = bed["server"].folder / "home" / "hello.tar"
        subprocess.run([sys.executable, str(HELLO / "image.py"), str(archive)], check=True)
        yield Reader(bed)
        left = bed["server"].run("ls", "/var/lib")
        assert "kubelite-clusters" not in left.split()


def test_the_page_does_what_it_says(reader: Reader) -> None:
    steps = steps_of((ROOT / "docs" / "ci.md").read_text())
    assert len(steps) > 10
    for step in steps:
        reader.type(step)
