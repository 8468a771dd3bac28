"""Bounds how often a node asks registries for images: so many at once, and then so many a second.

Source of the bounds: registryPullQPS and registryBurst of the kubelet. There a pull beyond them fails and is tried
again after a back-off; here it waits for its turn, since the registry is spared as much.
"""

import asyncio


class PullRate:
    """The pulls of one node."""

    def __init__(self, per_second: int, burst: int) -> None:
        """`per_second` 0 bounds nothing; a `burst` below 1 counts as 1."""
        self._per_second = per_second
        self._burst = max(burst, 1)
        self._free_at = 0.0  # when all of a burst would be free again

    async def take(self) -> None:
        """Return when the next pull may begin, in the order of the calls."""
        if not self._per_second:
            return
        if (wait := self.reserve(asyncio.get_running_loop().time())) > 0:
            await asyncio.sleep(wait)

    def reserve(self, now: float) -> float:
        """Take the next pull's turn; return for how many seconds it has to wait."""
        step = 1 / self._per_second
        start = max(self._free_at, now)
        self._free_at = start + step
        return max(start - now - (self._burst - 1) * step, 0.0)
