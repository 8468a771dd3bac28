"""Figures of a simulated node that a test sets, so that pressure can be had without using anything."""

from collections.abc import Iterable

from kubelite.node.eviction.observations import Footprints, NodeReadings, PodFootprint
from kubelite.node.pod_memory import PodMemory


class SimulatedReadings:
    """What the node has left, and what its pods use, by the pod's name."""

    def __init__(self, figures: NodeReadings | None = None) -> None:
        self.figures = figures or NodeReadings()
        self.uses: dict[str, PodFootprint] = {}
        self.counted: list[
            bool
        ] = []  # of each measurement of pods: whether their files were counted

    async def node(self) -> NodeReadings:
        """Return the node's figures."""
        return self.figures

    async def footprints(
        self, memories: Iterable[PodMemory], *, with_usage: bool = True, with_disk: bool
    ) -> Footprints:
        """Return what pods use, by uid; those without a figure are left out."""
        del with_usage
        self.counted.append(with_disk)
        return {
            memory.uid: self.uses[memory.current.metadata.name]
            for memory in memories
            if memory.current is not None and memory.current.metadata.name in self.uses
        }
