"""An offload that runs everything at once and notes what each piece of work was said to cost."""

from collections.abc import Callable
from typing import TypeVar

from kubelite.limits import INLINE_WORK

T = TypeVar("T")


class RecordedOffload:
    """Notes the costs, in bytes."""

    def __init__(self) -> None:
        self.costs: list[int] = []

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        """Return what `work` returns."""
        self.costs.append(cost_bytes)
        return work()

    @property
    def leaves_the_loop(self) -> bool:
        """Whether any piece of work would not have run on the loop."""
        return max(self.costs, default=0) > INLINE_WORK.value
