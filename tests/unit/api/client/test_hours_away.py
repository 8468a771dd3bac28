"""Mirrors of a server that is away for hours, and that is another when it is back; in virtual time."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fakes.far_server import SILENCE_SECONDS, FarServer, State
from simulation.simulated_loop import simulated

from kubelite.api.client.availability import RETURN_SPREAD_SECONDS, TRY_MAX_SECONDS, Availability
from kubelite.api.client.link import Link
from kubelite.api.client.mirror import ObjectMirror
from kubelite.api.client.reflector import DELAY_SECONDS_MAX, PAGE_ITEMS, Reflector
from kubelite.api.errors import Forbidden, NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.limits import CLIENT_LISTS
from kubelite.randomness import SeededRandomness
from kubelite.tasks import TaskSet

KINDS = [f"kind-{number}" for number in range(10)]
HOURS = 6 * 3600.0


class Agent:
    """Ten mirrors of one client."""

    def __init__(self, *, may_vanish: bool = False) -> None:
        self.randomness = SeededRandomness(7)
        self.availability = Availability("server", self.randomness)
        self.server = FarServer(self.availability)
        self.link = Link(self.availability)
        self.mirrors: dict[str, ObjectMirror[ConfigMap]] = {}
        self.tasks = TaskSet()
        for kind in KINDS:
            self.server.put(kind, "first")
            mirror = self.mirrors[kind] = ObjectMirror()
            reflector = Reflector(
                self.server.of(kind),
                ConfigMap,
                mirror,
                self.randomness,
                link=self.link,
                of=kind,
                may_vanish=may_vanish,
            )
            self.tasks.supervise(reflector.run, name=kind)

    async def synced(self) -> None:
        for mirror in self.mirrors.values():
            await mirror.synced()
        await asyncio.sleep(5)

    def names(self, kind: str) -> list[str]:
        return [one.metadata.name for one in self.mirrors[kind].list()]


@asynccontextmanager
async def agent(*, may_vanish: bool = False) -> AsyncIterator[Agent]:
    made = Agent(may_vanish=may_vanish)
    await made.synced()
    try:
        yield made
    finally:
        await made.tasks.stop()


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@asynccontextmanager
async def logged() -> AsyncIterator[list[str]]:
    logger, handler = logging.getLogger("kubelite"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler.said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.mark.parametrize("state", ["refusing", "hanging"])
def test_hours_without_a_server(state: State) -> None:
    @simulated
    async def run() -> None:
        async with agent() as one, logged() as lines:
            loop, server = asyncio.get_running_loop(), one.server
            await server.go(state)
            await asyncio.sleep(600)
            gc.collect()
            tasks, objects = len(asyncio.all_tasks()), len(gc.get_objects())
            await asyncio.sleep(HOURS)
            gc.collect()
            assert len(asyncio.all_tasks()) == tasks
            assert len(gc.get_objects()) < objects + 1000
            assert all(one.names(kind) == ["first"] for kind in KINDS)
            lists, watches = len(server.lists), len(server.watches)
            for kind in KINDS:
                server.put(kind, "second")
            await server.go("up")
            back = loop.time()
            await asyncio.sleep(60 + 2 * TRY_MAX_SECONDS + RETURN_SPREAD_SECONDS)
            assert all(one.names(kind) == ["first", "second"] for kind in KINDS)
            # The past is still known, so nothing is listed: one page of one item tells that it is the same past.
            assert [size for _, _, size in server.lists[lists:]] == [1]
            resumed = server.watches[watches:]
            assert len(resumed) == len(KINDS)
            times = [at - back for at, _, _ in resumed]
            assert len(set(times)) >= len(KINDS) / 2  # some had waited for that page
            assert max(times) - min(times) <= RETURN_SPREAD_SECONDS + 1
            assert lines == ["API server does not answer", "API server answers again"]

    run()


@simulated
async def test_a_past_that_is_lost_is_listed_in_turns() -> None:
    async with agent() as one:
        server = one.server
        await server.go("refusing")
        await asyncio.sleep(HOURS)
        for kind in KINDS:
            server.put(kind, "second")
        server.compact()
        server.listing_most, server.list_seconds = 0, 7.0
        before = len(server.lists)
        await server.go("up")
        await asyncio.sleep(300)
        assert all(one.names(kind) == ["first", "second"] for kind in KINDS)
        assert server.listing_most == CLIENT_LISTS.value
        full = [kind for _, kind, size in server.lists[before:] if size == PAGE_ITEMS]
        assert sorted(full) == sorted(KINDS)  # each once


@simulated
async def test_bookmarks_keep_a_quiet_mirror_from_listing_anew() -> None:
    async with agent() as one:
        server = one.server
        lists = len(server.lists)
        for _ in range(40):
            server.put(KINDS[0], "busy")
            await server.tell()
            await asyncio.sleep(61)
            server.floor = server.revision - 3  # only the last changes are kept
        assert len(server.lists) == lists
        assert len({version for _, kind, version in server.watches if kind == KINDS[1]}) > 3


@pytest.mark.parametrize("away_seconds", [1.0, 600.0])
def test_a_server_with_an_older_state_is_listed_anew(away_seconds: float) -> None:
    @simulated
    async def run() -> None:
        async with agent() as one:
            server = one.server
            for kind in KINDS:
                server.put(kind, "lost")
            await server.tell()
            await asyncio.sleep(1)
            assert one.names(KINDS[3]) == ["first", "lost"]
            await server.go("refusing")
            await asyncio.sleep(away_seconds)
            server.restore(5, {kind: {"first": 2} for kind in KINDS})
            await server.go("up")
            await asyncio.sleep(2 * DELAY_SECONDS_MAX + 30)
            assert all(one.names(kind) == ["first"] for kind in KINDS)
            for kind in KINDS:
                server.put(kind, "new")
            await server.tell()
            await asyncio.sleep(1)
            assert all(one.names(kind) == ["first", "new"] for kind in KINDS)

    run()


@simulated
async def test_an_older_state_behind_a_connection_that_never_broke_is_noticed_by_silence() -> None:
    async with agent() as one:
        server = one.server
        for _ in range(10):
            server.put(KINDS[0], "lost")
        await server.tell()
        await asyncio.sleep(1)
        server.restore(5, {kind: {"old": 2} for kind in KINDS})
        await server.tell()
        await asyncio.sleep(SILENCE_SECONDS + 2 * DELAY_SECONDS_MAX)
        assert one.names(KINDS[0]) == ["old"]


@simulated
async def test_a_404_between_does_not_empty_the_mirror_of_a_built_in_kind() -> None:
    async with agent() as one, logged() as lines:
        one.server.error = NotFound("404 page not found")
        await one.server.go("refusing")
        await asyncio.sleep(1)
        await one.server.go("up")
        await asyncio.sleep(HOURS)
        assert all(one.names(kind) == ["first"] for kind in KINDS)
        complaints = [line for line in lines if "cannot list" in line]
        assert len(complaints) == len(KINDS)  # not one for each try
        one.server.error = None
        await asyncio.sleep(200)
        assert sum("watching again" in line for line in lines) == len(KINDS)


@simulated
async def test_a_404_empties_the_mirror_of_a_kind_that_may_vanish() -> None:
    async with agent(may_vanish=True) as one:
        one.server.error = NotFound("the server could not find the requested resource")
        await one.server.go("refusing")
        await asyncio.sleep(1)
        await one.server.go("up")
        await asyncio.sleep(60)
        assert all(one.names(kind) == [] for kind in KINDS)


@simulated
async def test_a_caller_that_is_refused_for_hours_says_so_once_and_keeps_what_it_has() -> None:
    async with agent() as one, logged() as lines:
        one.server.error = Forbidden("not yours")
        await one.server.go("refusing")
        await asyncio.sleep(1)
        await one.server.go("up")
        await asyncio.sleep(HOURS)
        assert all(one.names(kind) == ["first"] for kind in KINDS)
        assert sum("cannot list" in line for line in lines) == len(KINDS)
