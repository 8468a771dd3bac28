"""Real engines keep the promises of a container runtime."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from fakes.runtime_contract import Place, ProcessContract, using

from integration import runtime_engines
from integration.node_host import NAME, needs_engine
from integration.runtime_engines import RunningEngine

pytestmark = needs_engine


@pytest.fixture(scope="module")
def docker_engine() -> Iterator[RunningEngine]:
    with runtime_engines.docker() as running:
        yield running


def place_on(engine: RunningEngine, folder: Path) -> Place:
    return Place(engine.open, engine.image, NAME, folder)


class TestDocker(ProcessContract):
    @pytest.fixture
    async def place(self, docker_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        async with using(place_on(docker_engine, tmp_path)) as made:
            yield made
