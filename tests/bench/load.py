"""How even the load of nodes becomes, with and without `--scheduler-load-aware`: the real scheduler in virtual time.

Twenty pods with equal requests come one after the other to four nodes; what they use differs, and is what a node
measures. As many rounds as SEEDS, each with other uses.
"""

import asyncio
import random
import statistics
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from fakes.fake_client import FakeClient
from fakes.recorded_offload import RecordedOffload
from simulation.simulated_loop import run_simulated
from unit.control.scheduler.pods import make_node, make_pod

from bench.report import Figure
from kubelite.api.kinds.core.pods import Pod
from kubelite.control.scheduler.requests import Amounts
from kubelite.control.scheduler.scheduler import Scheduler
from kubelite.randomness import SeededRandomness

PODS, NODES, SEEDS = 20, 4, 20
CORES = 8
SPACING_SECONDS = 20.0
START_SECONDS = 5.0  # until a pod uses what it will
USES_MILLI = (50, 100, 200, 1500, 3000)
WEIGHTS = (6, 5, 4, 3, 2)


class _Experiment:
    def __init__(self, seed: int, *, is_load_aware: bool) -> None:
        self._client = FakeClient()
        chance = random.Random(seed)
        self._uses = chance.choices(USES_MILLI, WEIGHTS, k=PODS)
        self._since: dict[str, float] = {}
        self._scheduler = Scheduler(
            client=self._client,
            mirrors=self._client,
            clock=self._client.clock,
            randomness=SeededRandomness(seed),
            offload=RecordedOffload(),
            read_loads=self._read if is_load_aware else None,
        )
        self.loads: dict[str, int] = {}  # of each node at the end, in millicores

    async def run(self) -> None:
        for number in range(NODES):
            await self._client.create(make_node(f"n{number}", cpu=str(CORES), memory="32Gi"))
        await self._scheduler.start()
        for number in range(PODS):
            await self._client.create(make_pod(f"p{number}"))
            self._since[f"p{number}"] = asyncio.get_running_loop().time() + START_SECONDS
            await asyncio.sleep(SPACING_SECONDS)
        self.loads = self._measured()
        await self._scheduler.stop()

    def _measured(self) -> dict[str, int]:
        used = {f"n{number}": 0 for number in range(NODES)}
        now = asyncio.get_running_loop().time()
        for pod in self._client.mirror(Pod).list():
            name = pod.metadata.name
            if pod.spec.nodeName and self._since[name] <= now:
                used[pod.spec.nodeName] += self._uses[int(name[1:])]
        return used

    async def _read(self) -> Mapping[str, Amounts]:
        return {name: {"cpu": cpu, "memory": 0} for name, cpu in self._measured().items()}


def measure(folder: Path) -> Iterator[Figure]:
    """Run the experiment with and without measured use."""
    del folder  # nothing is stored
    for is_load_aware, label in ((False, "by requests"), (True, "load aware")):
        spreads, highest = [], []
        for seed in range(SEEDS):
            experiment = _Experiment(seed, is_load_aware=is_load_aware)
            run_simulated(seed, partial(_Experiment.run, experiment))
            loads = list(experiment.loads.values())
            spreads.append(statistics.pstdev(loads) / 1000)
            highest.append(max(loads) / statistics.mean(loads))
        name = f"load: {PODS} pods on {NODES} nodes, {label}"
        yield Figure(f"{name}: deviation of the nodes' use", statistics.mean(spreads), "cores")
        yield Figure(f"{name}: busiest node to the mean", statistics.mean(highest), "x")
