"""Slow readers, and changes while a watch begins: nothing is lost, nothing comes twice, and the order holds."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

import msgspec
import pytest
from fakes.server import Server
from hypothesis import given, settings
from hypothesis import strategies as st

from kubelite.api.errors import AlreadyExists, Conflict, NotFound
from kubelite.api.registry import beginning, topic
from kubelite.api.registry.options import ReadOptions, WatchOptions
from kubelite.api.registry.watch import PLAIN

T = TypeVar("T")
PATH = "v1/configmaps"
NUMBERS = count()
NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
LABELS = st.sampled_from(["web", "db"])
CHANGES = st.tuples(st.sampled_from(["write", "write", "delete"]), NAMES, LABELS)
BEFORE = st.lists(CHANGES, max_size=8)
STEPS = st.lists(st.one_of(CHANGES, st.just("read"), st.just("turn")), max_size=30)
SELECTORS = st.sampled_from(
    [
        {},
        {"label_selector": "app=web"},
        {"label_selector": "app!=web"},
        {"field_selector": "metadata.name!=a"},
    ]
)


@pytest.fixture(autouse=True, scope="module")
def _small_slices() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(beginning, "ENTRIES_A_SLICE", 2)
        patch.setattr(topic, "TURN_STEPS", 1)
        yield


class LateOffload:
    """Does work at once and tells of it later, as a thread does."""

    async def run(self, cost_bytes: int, work: Callable[[], T]) -> T:
        done = work()
        for _ in range(3):
            await asyncio.sleep(0)
        return done


class SlowReader:
    """Reads a slice of a watch's beginning when it is told to."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.frames: list[bytes] = []
        self._reads = asyncio.Semaphore(0)
        self._server = server
        self._options = WatchOptions(**options)
        self.begun = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self) -> None:
        allowed = self._server.allowed("watch", PATH)
        watching = await self._server.verbs.watch(
            allowed, self._options, PLAIN, self.frames.extend, self._server.fail
        )
        await watching.begin(self._drain)

    async def _drain(self) -> None:
        await self._reads.acquire()

    def read(self) -> None:
        self._reads.release()

    async def catch_up(self) -> list[dict[str, Any]]:
        for _ in range(200):
            self.read()
        await self.begun
        for _ in range(300):
            await asyncio.sleep(0)
        return [msgspec.json.decode(frame) for frame in self.frames]


async def change(server: Server, step: tuple[str, str, str]) -> None:
    verb, name, label = step
    labels = {"app": label}
    with suppress(NotFound, AlreadyExists, Conflict):
        if verb == "delete":
            await server.delete(PATH, name)
        elif server.store.get(f"/configmaps.core/default/{name}") is not None:
            data = {"n": str(next(NUMBERS))}  # always a change
            await server.patch(PATH, name, {"metadata": {"labels": labels}, "data": data})
        else:
            await server.create(PATH, {"metadata": {"name": name, "labels": labels}})


async def play(server: Server, reader: SlowReader, steps: Sequence[Any]) -> None:
    """Take all steps; those that change something are on their way while others follow."""
    changes = []
    for step in steps:
        if step == "read":
            reader.read()
        elif step == "turn":
            await asyncio.sleep(0)
        else:
            changes.append(asyncio.create_task(change(server, step)))
    await asyncio.gather(*changes)


async def crowd(server: Server) -> None:
    """Begin watches that make telling a change take several turns of the loop."""
    for number in range(5):
        options = WatchOptions(label_selector=f"app!=other{number}")
        allowed = server.allowed("watch", PATH)
        await server.verbs.watch(allowed, options, PLAIN, ignore, server.fail)


def ignore(_frames: Sequence[bytes]) -> None:
    return


async def state_of(server: Server, **options: Any) -> dict[str, str]:
    listed = await server.verbs.list(server.allowed("list", PATH), ReadOptions(**options))
    found = [msgspec.json.decode(item)["metadata"] for item in listed.items]
    return {metadata["name"]: metadata["resourceVersion"] for metadata in found}


def follow(state: dict[str, str], event: dict[str, Any]) -> None:
    """Apply an event as a client would, checking that it makes sense."""
    metadata = event["object"]["metadata"]
    name, version = metadata["name"], metadata["resourceVersion"]
    if event["type"] == "ADDED":
        assert name not in state
    else:
        assert int(state.pop(name)) < int(version)
    if event["type"] != "DELETED":
        state[name] = version


async def begin(
    before: Sequence[Any], steps: Sequence[Any], selector: dict[str, str], **parts: Any
) -> None:
    server = Server(**parts)
    await server.create("v1/secrets", {"metadata": {"name": "first"}})
    await crowd(server)
    for step in before:
        await change(server, step)
    reader = SlowReader(
        server,
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        bookmarks=True,
        **selector,
    )
    await play(server, reader, steps)
    events = await reader.catch_up()
    kinds = [event["type"] for event in events]
    assert kinds.count("BOOKMARK") == 1
    marked = kinds.index("BOOKMARK")
    at = events[marked]["object"]["metadata"]["resourceVersion"]
    state: dict[str, str] = {}
    for event in events[:marked]:
        follow(state, event)
    assert state == await state_of(
        server, resource_version=at, resource_version_match="Exact", **selector
    )
    replayed = SlowReader(server, resource_version=at, **selector)
    assert await replayed.catch_up() == events[marked + 1 :]
    for event in events[marked + 1 :]:
        assert int(event["object"]["metadata"]["resourceVersion"]) > int(at)
        follow(state, event)
    assert state == await state_of(server, **selector)


@settings(max_examples=100, deadline=None)
@given(before=BEFORE, steps=STEPS, selector=SELECTORS, late=st.booleans())
def test_a_slow_watcher_ends_where_the_list_is(
    before: Sequence[Any], steps: Sequence[Any], selector: dict[str, str], late: bool
) -> None:
    parts = {"offload": LateOffload()} if late else {}
    asyncio.run(begin(before, steps, selector, **parts))


async def resume(before: Sequence[Any], steps: Sequence[Any], late: bool) -> None:
    server = Server(offload=LateOffload() if late else None)
    await server.create("v1/secrets", {"metadata": {"name": "first"}})
    await crowd(server)
    version = str(server.store.revision)
    prompt = SlowReader(server, resource_version=version)
    await asyncio.sleep(0)
    for step in before:
        await change(server, step)
    slow = SlowReader(server, resource_version=version)
    await play(server, slow, steps)
    assert await slow.catch_up() == await prompt.catch_up()


@settings(max_examples=50, deadline=None)
@given(before=BEFORE, steps=STEPS, late=st.booleans())
def test_a_slow_watcher_of_the_past_hears_what_a_prompt_one_heard(
    before: Sequence[Any], steps: Sequence[Any], late: bool
) -> None:
    asyncio.run(resume(before, steps, late))
