"""A part whose rights were taken away waits, tells so, and keeps nothing else from starting."""

import asyncio
from datetime import UTC, datetime

import pytest
from simulation.simulated_loop import simulated

from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.errors import Forbidden
from kubelite.clock import SetClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.parts import Parts
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine


class Refused:
    """A part that may start at some attempt; all share what happens."""

    def __init__(self, succeeds_at: int) -> None:
        self.succeeds_at = succeeds_at
        self.starts: list[float] = []
        self.stops = 0

    async def start(self) -> None:
        self.starts.append(asyncio.get_running_loop().time())
        if len(self.starts) < self.succeeds_at:
            raise Forbidden("cannot list pods")

    async def stop(self) -> None:
        self.stops += 1


def control_plane() -> ControlPlane:
    clock = SetClock(datetime(2026, 9, 1, tzinfo=UTC))
    return ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=SeededRandomness(1),
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(),
    )


@simulated
async def test_a_part_that_is_refused_is_started_later() -> None:
    plane, part = control_plane(), Refused(succeeds_at=4)
    parts = Parts(plane)
    await parts.start("scheduler", lambda: part)
    assert plane.probes["scheduler"]() == "cannot list pods"
    assert part.stops == 1  # what had begun is ended before it is tried again
    await asyncio.sleep(60)
    assert plane.probes["scheduler"]() == ""
    pauses = [later - earlier for earlier, later in zip(part.starts, part.starts[1:], strict=False)]
    assert [round(pause) for pause in pauses] == [1, 2, 4]
    await parts.stop()
    assert part.stops == 4


@simulated
async def test_parts_are_stopped_in_reverse() -> None:
    plane, stopped = control_plane(), list[str]()

    class Named(Refused):
        def __init__(self, name: str) -> None:
            super().__init__(1)
            self.name = name

        async def stop(self) -> None:
            stopped.append(self.name)

    parts = Parts(plane)
    for name in ("one", "two"):
        await parts.start(name, lambda name=name: Named(name))  # type: ignore[misc]  # bound in the loop
        assert plane.probes[name]() == ""
    await parts.stop()
    assert stopped == ["two", "one"]


@simulated
async def test_what_is_no_refusal_is_raised() -> None:
    class Broken(Refused):
        async def start(self) -> None:
            raise OSError("taken")

    part = Broken(1)
    with pytest.raises(OSError, match="taken"):
        await Parts(control_plane()).start("kubelet", lambda: part)
    assert part.stops == 1


@simulated
async def test_a_part_is_not_healthy_before_it_has_started() -> None:
    class Slow(Refused):
        async def start(self) -> None:
            await asyncio.sleep(5)

    plane = control_plane()
    parts = Parts(plane)
    starting = asyncio.create_task(parts.start("kubelet", lambda: Slow(1)))
    await asyncio.sleep(1)
    assert plane.probes["kubelet"]() == "it is still starting"
    await starting
    assert plane.probes["kubelet"]() == ""
    await parts.stop()


@simulated
async def test_a_part_that_is_being_tried_again_is_ended_with_the_others() -> None:
    class Slow(Refused):
        """Is refused twice, the second time only after a while."""

        async def start(self) -> None:
            if self.starts:
                await asyncio.sleep(5)
            await super().start()

    plane, part = control_plane(), Slow(succeeds_at=3)
    parts = Parts(plane)
    await parts.start("scheduler", lambda: part)
    await asyncio.sleep(2)  # the second attempt is under way
    begun = asyncio.get_running_loop().time()
    await parts.stop()
    assert asyncio.get_running_loop().time() == begun
    assert (len(part.starts), part.stops) == (1, 2)
    await asyncio.sleep(120)
    assert (len(part.starts), part.stops) == (1, 2)
