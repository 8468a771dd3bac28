"""Real engines keep the promises of a container runtime."""

import os
import shutil
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


@pytest.fixture(scope="module")
def podman_engine() -> Iterator[RunningEngine]:
    with runtime_engines.podman() as running:
        yield running


def place_on(engine: RunningEngine, folder: Path, **traits: bool) -> Place:
    return Place(engine.open, engine.image, NAME, folder, **traits)


class TestDocker(ProcessContract):
    @pytest.fixture
    async def place(self, docker_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        async with using(place_on(docker_engine, tmp_path)) as made:
            yield made


@pytest.mark.skipif(
    shutil.which("podman") is None and not os.environ.get("CI"), reason="needs podman"
)
class TestPodman(ProcessContract):
    @pytest.fixture
    async def place(self, podman_engine: RunningEngine, tmp_path: Path) -> AsyncIterator[Place]:
        traits = {"keeps_refusals": False, "tells_memory": False}
        async with using(place_on(podman_engine, tmp_path, **traits)) as made:
            yield made
