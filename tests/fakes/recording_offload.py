"""An offload that does all work at once and tells what it was asked for."""

from collections.abc import Callable
from typing import TypeVar

from kubelite.limits import INLINE_WORK

T = TypeVar("T")


class RecordingOffload:
    """Remembers the cost of each piece of work."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    @property
    def hops(self) -> int:
        """How many pieces would have left the loop."""
        return sum(cost > INLINE_WORK.value for cost in self.costs)

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        self.costs.append(cost_bytes)
        return work()
