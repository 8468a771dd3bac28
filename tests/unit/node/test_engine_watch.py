"""The engine's part of a node's status, while the engine is slow, silent or gone."""

import asyncio
from typing import Any, cast

import pytest

from kubelite.node import engine_watch
from kubelite.node.engine_watch import EngineWatch
from kubelite.node.kubelet import Kubelet
from kubelite.node.runtime import ContainerRuntime, EngineUnavailable, Handler, Image, Version

VERSION = Version("docker", "20")


class SlowEngine:
    """An engine that answers, hangs or fails."""

    def __init__(self) -> None:
        self.hangs = False
        self.failure: Exception | None = None

    async def version(self) -> Version:
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        return VERSION

    async def images(self) -> list[Image]:
        return []

    async def handlers(self) -> tuple[Handler, ...]:
        return (Handler(),)


class Known:
    """The parts of the agent that are looked at."""

    def __init__(self) -> None:
        self.engine_known = asyncio.Event()
        self.engine_known.set()
        self.engine_error = ""


class Case:
    """An engine under watch, and a clock to set."""

    def __init__(self) -> None:
        self.engine, self.known, self.now = SlowEngine(), Known(), 0.0
        self.network_error = ""
        self.watch = EngineWatch(
            cast(ContainerRuntime, self.engine),
            cast(Kubelet, self.known),
            lambda: self.network_error,
            lambda: self.now,
        )

    async def view(self, now: float) -> Any:
        self.now = now
        return await self.watch()


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(engine_watch, "VIEW_SECONDS", 0.001)
    return asyncio.run(_made())


async def _made() -> Case:
    return Case()


async def test_a_slow_engine_counts_as_up_for_a_while(case: Case) -> None:
    seen = await case.view(0)
    assert (seen.error, seen.version) == ("", VERSION)
    case.engine.hangs = True
    assert await case.view(29) == seen
    silent = await case.view(31)
    assert (silent.error, silent.version) == ("no answer for 31 s", None)
    case.engine.hangs = False
    assert await case.view(32) == seen


async def test_what_the_agent_knows_of_the_engine_is_said_meanwhile(case: Case) -> None:
    await case.view(0)
    case.engine.hangs, case.known.engine_error = True, "it was stopped"
    assert (await case.view(5)).error == "it was stopped"


async def test_an_engine_that_was_never_seen_is_not_up(case: Case) -> None:
    case.engine.hangs = True
    assert (await case.view(0)).error == "no answer within 0 s"
    case.network_error = "no pod CIDR"
    assert (await case.view(1)).network_error == "no pod CIDR"


async def test_an_engine_that_is_gone_is_said_at_once(case: Case) -> None:
    await case.view(0)
    case.engine.failure = EngineUnavailable("no socket")
    assert (await case.view(1)).error == "no socket"
