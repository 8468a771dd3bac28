"""What nodes really use, as a score beside those of requests; used only with `--scheduler-load-aware`.

A measurement lags: what a pod uses shows in it only once the pod has started and a window has passed. Until then the
pod counts with its requests, and with assumed amounts where it has none, so that pods that come together do not all go
to the node that was idle last.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.control.scheduler.node_info import NodeInfo
from kubelite.control.scheduler.pod_info import PodInfo
from kubelite.control.scheduler.requests import Amounts, add, amounts

WEIGHT = 5  # as much as the scores of requests, images and spread by owner together
PERIOD_SECONDS = 15.0  # nodes are not asked more often than this
WARM_UP_SECONDS = 45.0  # a pod's start, the window of a measurement, and a period

ReadLoads = Callable[[], Awaitable[Mapping[str, Amounts]]]


class _Placement(Struct, frozen=True):
    at_seconds: float
    uid: str
    node: str
    amounts: Amounts


class NodeLoads:
    """The measured use of each node, and the pods that were placed too lately to be in it."""

    def __init__(self, read: ReadLoads) -> None:
        """`read` returns the use of cpu, in millicores, and memory, in bytes, of the nodes that told theirs."""
        self._read = read
        self._measured: Mapping[str, Amounts] = {}
        self._placements: deque[_Placement] = deque()  # by time
        self._recent: dict[str, _Placement] = {}  # by uid
        self._expected: dict[str, Amounts] = {}  # what the recent pods ask for, by node

    async def follow(self) -> None:
        """Read what the nodes use, for ever: usage has no event that tells of its change."""
        while True:
            self._measured = await self._read()
            await asyncio.sleep(PERIOD_SECONDS)

    def place(self, info: PodInfo, node: str) -> None:
        """Count a pod on a node until its use is measured."""
        self._forget_old()
        self.withdraw(info.uid)
        asked = {"cpu": info.cpu_assumed, "memory": info.memory_assumed}
        placement = _Placement(_now(), info.uid, node, asked)
        self._placements.append(placement)
        self._recent[info.uid] = placement
        add(self._expected.setdefault(node, {}), asked)

    def withdraw(self, uid: str) -> None:
        """Count a pod no more, as when it was not bound."""
        placement = self._recent.pop(uid, None)
        if placement is not None:
            expected = self._expected[placement.node]
            for name, value in placement.amounts.items():
                expected[name] -= value
            if not any(expected.values()):
                del self._expected[placement.node]

    def scores(self, nodes: Sequence[NodeInfo]) -> list[float]:
        """Return a score of 0 to 100 for each node, by the part of cpu and memory that nothing uses.

        A node whose use is not known counts with the requests of its pods.
        """
        self._forget_old()
        return [self._score(node) for node in nodes]

    def _score(self, node: NodeInfo) -> float:
        used = dict(self._measured.get(node.name, {}))
        if used:
            add(used, self._expected.get(node.name, {}))
        else:
            used = {"cpu": node.cpu_assumed, "memory": node.memory_assumed}
        free = 0.0
        for name in ("cpu", "memory"):
            there = node.allocatable.get(name, 0)
            free += max(0.0, 1.0 - used.get(name, 0) / there) if there else 0.0
        return 50.0 * free

    def _forget_old(self) -> None:
        horizon = _now() - WARM_UP_SECONDS
        while self._placements and self._placements[0].at_seconds <= horizon:
            placement = self._placements.popleft()
            if self._recent.get(placement.uid) is placement:
                self.withdraw(placement.uid)


def _now() -> float:
    return asyncio.get_running_loop().time()


def loads_of(metrics: Sequence[Mapping[str, Any]]) -> Mapping[str, Amounts]:
    """Return the use of each node by name, from objects of kind NodeMetrics."""
    return {one["metadata"]["name"]: amounts(one["usage"]) for one in metrics}
