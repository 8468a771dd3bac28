import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from fakes.harness import Harness
from simulation.simulated_loop import simulated

from kubelite.api.errors import Cause, Conflict, Forbidden, NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.runtime import Context, Key, Unretryable, Watch
from kubelite.limits import FAN_OUT


class Probe:
    """Notes what it is asked, and fails as its object says."""

    name = "probe"
    workers = 2
    seen: list[tuple[float, str]]
    at_once = 0
    most = 0

    def __init__(self, context: Context) -> None:
        self.maps = context.mirror(ConfigMap)
        Probe.seen = []
        Probe.at_once = Probe.most = 0

    def watches(self) -> Sequence[Watch[Any]]:
        return (Watch(ConfigMap, where=lambda _, after: after is not None),)

    async def reconcile(self, key: Key) -> float | None:
        Probe.seen.append((asyncio.get_running_loop().time(), key.name))
        Probe.at_once += 1
        Probe.most = max(Probe.most, Probe.at_once)
        await asyncio.sleep(0.001)
        Probe.at_once -= 1
        match key.name:
            case "again" if len(Probe.seen) < 3:
                return 60.0
            case "conflict" if len(Probe.seen) < 4:
                raise Conflict("changed")
            case "broken" if len(Probe.seen) < 3:
                raise ValueError("bug")
            case "hopeless":
                raise Unretryable("never")
            case _:
                return None


async def times_of(name: str) -> list[float]:
    async with Harness(Probe) as harness:
        await harness.client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="d")))
        await asyncio.sleep(1000)
        return [round(time, 4) for time, _ in Probe.seen]


@simulated
async def test_a_returned_delay_brings_the_key_back() -> None:
    first, second, third = await times_of("again")
    assert 60 < second - first < 60.01
    assert 60 < third - second < 60.01


@simulated
async def test_failures_come_back_after_growing_delays() -> None:
    times = await times_of("conflict")
    gaps = [round(after - before, 3) for before, after in pairwise(times)]
    assert gaps == [0.006, 0.011, 0.021]


@simulated
async def test_a_bug_in_a_reconcile_ends_no_worker() -> None:
    assert len(await times_of("broken")) == 3


@simulated
async def test_what_is_hopeless_is_not_tried_again() -> None:
    assert len(await times_of("hopeless")) == 1


@simulated
async def test_workers_share_the_keys() -> None:
    async with Harness(Probe) as harness:
        for number in range(10):
            await harness.client.create(
                ConfigMap(metadata=ObjectMeta(name=f"m{number}", namespace="d"))
            )
        await asyncio.sleep(1)
        assert len(Probe.seen) == 10
        assert Probe.most == 2


class Spreading:
    """Enqueues a thousand keys for each map, some of them for nothing."""

    name = "spreading"
    workers = 1
    steps = 0
    most = 0
    seen: set[str]

    def __init__(self, context: Context) -> None:
        Spreading.steps = Spreading.most = 0
        Spreading.seen = set()
        context.mirror(ConfigMap)

    def watches(self) -> Sequence[Watch[Any]]:
        return (Watch(ConfigMap, self._keys),)

    def _keys(self, item: ConfigMap) -> Iterable[Key | None]:
        for number in range(1000):
            Spreading.steps += 1
            yield Key("", f"{item.data}-{number}") if number % 2 else None

    async def reconcile(self, key: Key) -> float | None:
        Spreading.seen.add(key.name)
        return None


async def test_a_change_that_touches_many_keys_is_spread_over_turns_of_the_loop() -> None:
    async with Harness(Spreading) as harness:
        mirror = harness.client.mirror(ConfigMap)
        met = FAN_OUT.times_reached
        mirror.put(ConfigMap(metadata=ObjectMeta(name="m", namespace="d"), data={"v": "1"}))
        assert Spreading.steps == FAN_OUT.value + 1
        assert not harness.runtime.idle
        # Two more changes of it before its turn comes are spread with it.
        for value in ("2", "3"):
            mirror.put(ConfigMap(metadata=ObjectMeta(name="m", namespace="d"), data={"v": value}))
        assert FAN_OUT.times_reached == met + 3
        before = Spreading.steps
        while not harness.runtime.idle:
            await asyncio.sleep(0)
            Spreading.most = max(Spreading.most, Spreading.steps - before)
            before = Spreading.steps
        assert Spreading.most <= FAN_OUT.value
        assert len([one for one in Spreading.seen if "'3'" in one]) == 500


async def test_a_change_during_the_spread_of_an_earlier_one_is_spread_too() -> None:
    async with Harness(Spreading) as harness:
        mirror = harness.client.mirror(ConfigMap)
        mirror.put(ConfigMap(metadata=ObjectMeta(name="m", namespace="d"), data={"v": "1"}))
        at_first = Spreading.steps
        while Spreading.steps == at_first:
            await asyncio.sleep(0)
        mirror.put(ConfigMap(metadata=ObjectMeta(name="m", namespace="d"), data={"v": "2"}))
        await harness.settle()
        for value in ("'1'", "'2'"):
            assert len([one for one in Spreading.seen if value in one]) == 500


@simulated
async def test_what_a_deletion_in_between_looks_like_is_no_noise_unless_it_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Gone(Probe):
        errors: ClassVar[list[Exception]] = []

        async def reconcile(self, key: Key) -> float | None:
            if Gone.errors:
                raise Gone.errors.pop()
            return None

    ending = [Cause("metadata.namespace", "NamespaceTerminating", "it is being terminated")]
    kinds: dict[str, Callable[[], Exception]] = {
        "gone": lambda: NotFound("gone"),
        "ending": lambda: Forbidden("ending", causes=ending),
        "conflict": lambda: Conflict("changed"),
        "forbidden": lambda: Forbidden("no"),
    }
    for name, make in kinds.items():
        for times, warned in ((1, 0), (5, 0), (7, 2)):
            caplog.clear()
            Gone.errors = [make() for _ in range(times)]
            async with Harness(Gone) as harness:
                await harness.client.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="d")))
                await asyncio.sleep(10)
            said = [one for one in caplog.records if one.getMessage() == "reconcile refused"]
            warnings = [one for one in said if one.levelno == logging.WARNING]
            assert len(warnings) == (times if name == "forbidden" else warned), name
