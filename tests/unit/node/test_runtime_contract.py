"""The simulated engine keeps the promises of a container runtime."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes.runtime_contract import LifecycleContract, Place, using

from kubelite.clock import SystemClock
from kubelite.node.simulated.runtime import Behaviour, SimulatedRuntime
from kubelite.randomness import SeededRandomness

NAME = "kubelite.local/hello:1"


class TestSimulatedRuntime(LifecycleContract):
    @pytest.fixture
    async def place(self, tmp_path: Path) -> AsyncIterator[Place]:
        # It is the engine as well, so each connection to it is the same object.
        behaviour = Behaviour(start_seconds=(0, 0), pull_seconds=(0, 0))
        engine = SimulatedRuntime(SystemClock(), SeededRandomness(1), behaviour)
        image = await engine.pull(NAME, None)
        async with using(Place(lambda: engine, image.id, NAME, tmp_path)) as made:
            yield made
