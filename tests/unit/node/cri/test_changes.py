"""What changes among an engine's containers, by whatever the engine can tell."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kubelite.grpc.method import Method
from kubelite.grpc.protobuf import Message, encode
from kubelite.grpc.server import GrpcServer, Handler
from kubelite.node.cri import changes as told
from kubelite.node.cri import messages as cri
from kubelite.node.cri.calls import EngineCalls
from kubelite.node.cri.changes import Change, change_of, changes
from kubelite.node.runtime import EngineUnavailable


def envelope(topic: str, event: Message) -> cri.Envelope:
    return cri.Envelope(None, "k8s.io", topic, cri.Any("", encode(event)))


@pytest.mark.parametrize(
    ("given", "change"),
    [
        (envelope("/tasks/start", cri.TaskEvent("c")), Change("c", "started")),
        (envelope("/tasks/exit", cri.TaskExit("c", "c")), Change("c", "ended")),
        (envelope("/tasks/exit", cri.TaskExit("c", "an exec")), None),
        (envelope("/tasks/delete", cri.TaskDelete("c", "")), Change("c", "ended")),
        (envelope("/tasks/delete", cri.TaskDelete("c", "an exec")), None),
        (envelope("/tasks/oom", cri.TaskEvent("c")), Change("c", "changed")),
        (envelope("/containers/delete", cri.ContainerDelete("c")), Change("c", "removed")),
        (envelope("/tasks/paused", cri.TaskEvent("c")), None),
        (cri.Envelope(topic="/tasks/exit"), None),
        (cri.Envelope(topic="/tasks/exit", event=cri.Any("", b"\xff")), None),
    ],
)
def test_what_an_event_of_containerd_means(given: cri.Envelope, change: Change | None) -> None:
    assert change_of(given) == change


class Lists:
    def __init__(self, *states: Mapping[str, int]) -> None:
        self._states = list(states)

    async def __call__(self) -> Mapping[str, int]:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


@asynccontextmanager
async def engine(
    folder: Path, handlers: dict[Method[Any, Any], Handler]
) -> AsyncIterator[EngineCalls]:
    server = GrpcServer(folder / "engine.sock", handlers)
    await server.start()
    calls = EngineCalls(folder / "engine.sock")
    try:
        yield calls
    finally:
        await calls.close()
        await server.stop()


async def first(calls: EngineCalls, lists: Lists, count: int) -> list[Change | None]:
    found: list[Change | None] = []
    async with asyncio.timeout(10), aclosing(changes(calls, lists)) as stream:
        async for change in stream:
            found.append(change)
            if len(found) == count:
                break
    return found


async def containerd(request: cri.SubscribeRequest) -> AsyncGenerator[cri.Envelope, None]:
    assert request.filters == told.FILTERS
    yield envelope("/tasks/paused", cri.TaskEvent("c"))
    yield envelope("/tasks/exit", cri.TaskExit("c", "c"))
    await asyncio.Event().wait()


async def interface(request: cri.Nothing) -> AsyncGenerator[cri.ContainerEvent, None]:
    del request
    yield cri.ContainerEvent("c", 0)  # created, which is of no interest
    yield cri.ContainerEvent("c", cri.STARTED_EVENT)
    yield cri.ContainerEvent("c", cri.STOPPED_EVENT)
    yield cri.ContainerEvent("c", cri.DELETED_EVENT)
    await asyncio.Event().wait()


async def test_containerds_own_events_come_first(tmp_path: Path) -> None:
    handlers: dict[Method[Any, Any], Handler] = {
        cri.SUBSCRIBE: containerd,
        cri.CONTAINER_EVENTS: interface,
    }
    async with engine(tmp_path, handlers) as calls:
        assert await first(calls, Lists({}), 2) == [None, Change("c", "ended")]


async def test_else_those_of_the_interface(tmp_path: Path) -> None:
    async with engine(tmp_path, {cri.CONTAINER_EVENTS: interface}) as calls:
        assert await first(calls, Lists({}), 4) == [
            None,
            Change("c", "started"),
            Change("c", "ended"),
            Change("c", "removed"),
        ]


async def test_else_it_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "LIST_SECONDS", 0.01)
    lists = Lists({"a": cri.RUNNING}, {"a": cri.RUNNING}, {"a": cri.EXITED, "b": cri.RUNNING}, {})
    async with engine(tmp_path, {}) as calls:
        found = await first(calls, lists, 5)
    assert found[0] is None
    assert set(found[1:3]) == {Change("a", "changed"), Change("b", "changed")}
    assert set(found[3:]) == {Change("a", "removed"), Change("b", "removed")}


async def test_an_engine_that_goes_ends_it(tmp_path: Path) -> None:
    server = GrpcServer(tmp_path / "engine.sock", {cri.SUBSCRIBE: containerd})
    await server.start()
    calls = EngineCalls(tmp_path / "engine.sock")
    async with aclosing(changes(calls, Lists({}))) as stream:
        assert await anext(stream) is None
        assert await anext(stream) == Change("c", "ended")
        await server.stop()
        with pytest.raises(EngineUnavailable):
            await anext(stream)
    await calls.close()


async def silent(request: cri.Nothing) -> AsyncGenerator[cri.ContainerEvent, None]:
    return
    yield cri.ContainerEvent()


async def test_an_engine_whose_events_are_switched_off_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told, "LIST_SECONDS", 0.01)
    async with engine(tmp_path, {cri.CONTAINER_EVENTS: silent}) as calls:
        found = await first(calls, Lists({"c": cri.RUNNING}, {"c": cri.EXITED}), 2)
    assert found == [None, Change("c", "changed")]


async def test_an_engine_that_restarts_between_two_lists_ends_it(tmp_path: Path) -> None:
    """What it lost with its restart, such as images, no list of containers shows."""
    server = GrpcServer(tmp_path / "engine.sock", {})
    await server.start()
    calls = EngineCalls(tmp_path / "engine.sock")
    async with aclosing(changes(calls, Lists({"c": cri.RUNNING}))) as stream:
        assert await anext(stream) is None
        await server.stop()
        server = GrpcServer(tmp_path / "engine.sock", {})
        await server.start()
        async with asyncio.timeout(10):
            with pytest.raises(EngineUnavailable, match="restarted"):
                await anext(stream)
    await calls.close()
    await server.stop()
