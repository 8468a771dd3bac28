"""Fixtures for pytest: `cluster` for the session, `fresh_cluster` for a test; imports nothing until they are used."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kubelite.testing.blocking import BlockingCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator["BlockingCluster"]:
    """A cluster that all tests of the session share; each should work in a namespace of its own."""
    from kubelite.testing import Cluster

    with Cluster.start() as running:
        yield running


@pytest.fixture
def fresh_cluster() -> Iterator["BlockingCluster"]:
    """A cluster of the test's own."""
    from kubelite.testing import Cluster

    with Cluster.start() as running:
        yield running
