"""Tells what changes among the containers of an engine: by containerd's own events, else the interface's.

An engine that has neither is listed every second, as the kubelet does.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Final, Literal

from msgspec import Struct

from kubelite.grpc.protobuf import M, Malformed, decode
from kubelite.node.cri import messages as cri
from kubelite.node.cri.calls import EngineCalls, Unsupported
from kubelite.node.runtime import EngineUnavailable

Kind = Literal["started", "changed", "ended", "removed"]
FILTERS: Final = [
    "namespace==k8s.io,topic~=|^/tasks/|",
    'namespace==k8s.io,topic=="/containers/delete"',
]
LIST_SECONDS: Final = 1.0
_BY_TYPE: Final[Mapping[int, Kind]] = {
    cri.STARTED_EVENT: "started",
    cri.STOPPED_EVENT: "ended",
    cri.DELETED_EVENT: "removed",
}

List = Callable[[], Awaitable[Mapping[str, int]]]  # states by id


class Change(Struct, frozen=True):
    """Something happened to a container or a sandbox, which its status may not show yet."""

    container_id: str
    kind: Kind


async def changes(calls: EngineCalls, listed: List) -> AsyncGenerator[Change | None, None]:
    """Yield None once what comes later will be told, then every change. Raises EngineUnavailable."""
    for told in (_by_containerd, _by_interface):
        try:
            async with aclosing(told(calls)) as answers:
                async for change in answers:
                    yield change
        except Unsupported:
            continue
        return
    async with aclosing(_by_lists(calls, listed)) as found:
        async for change in found:
            yield change


async def _by_containerd(calls: EngineCalls) -> AsyncGenerator[Change | None, None]:
    subscribed = calls.stream(cri.SUBSCRIBE, cri.SubscribeRequest(FILTERS))
    async with aclosing(subscribed), aclosing(_announced(subscribed)) as envelopes:
        async for envelope in envelopes:
            if envelope is None:
                yield None
            elif (change := change_of(envelope)) is not None:
                yield change


async def _by_interface(calls: EngineCalls) -> AsyncGenerator[Change | None, None]:
    subscribed = calls.stream(cri.CONTAINER_EVENTS, cri.Nothing())
    async with aclosing(subscribed), aclosing(_announced(subscribed)) as events:
        async for event in events:
            if event is None:
                yield None
            elif event.type in _BY_TYPE:
                yield Change(event.container_id, _BY_TYPE[event.type])


REFUSAL_SECONDS: Final = 0.2  # in which an engine says that it has no such method


async def _announced(answers: AsyncGenerator[M, None]) -> AsyncGenerator[M | None, None]:
    """Yield None when the first answer comes, or none was refused within `REFUSAL_SECONDS`, and then the answers.

    Nothing else tells that a subscription counts: an engine that has one is silent until something happens.
    """
    first = asyncio.ensure_future(anext(answers, None))  # noqa: TID251 - awaited, or cancelled, right here
    try:
        await asyncio.wait((first,), timeout=REFUSAL_SECONDS)
        if first.done() and first.result() is None:  # or it raises what refused it
            # CRI-O ends the stream at once, without an error, while its settings switch events off.
            raise Unsupported("the container engine tells no events")
        yield None
        answer = await first
    finally:
        if not first.done():
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
    while answer is not None:
        yield answer
        answer = await anext(answers, None)


async def _by_lists(calls: EngineCalls, listed: List) -> AsyncGenerator[Change | None, None]:
    # An engine that restarts between two lists may have lost what no list shows, such as its images.
    lost = await calls.connect()
    before = await listed()
    yield None
    while True:
        await _within(LIST_SECONDS, lost)
        now = await listed()
        if lost.is_set():
            raise EngineUnavailable("the container engine was restarted")
        for container_id in before.keys() - now.keys():
            yield Change(container_id, "removed")
        for container_id, state in now.items():
            if before.get(container_id) != state:
                yield Change(container_id, "changed")
        before = now


async def _within(seconds: float, event: asyncio.Event) -> None:
    """Wait until an event is set, but no longer than that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def change_of(envelope: cri.Envelope) -> Change | None:
    """Return what an event of containerd means; None for one that is of no interest, such as an exec's."""
    if envelope.event is None:
        return None
    value = envelope.event.value
    try:
        match envelope.topic:
            case "/containers/delete":
                return Change(decode(cri.ContainerDelete, value).id, "removed")
            case "/tasks/exit":
                exited = decode(cri.TaskExit, value)
                return _end_of(exited.container_id, exited.id)
            case "/tasks/delete":
                # It follows the exit, and is all that a subscription in between hears of the end.
                deleted = decode(cri.TaskDelete, value)
                return _end_of(deleted.container_id, deleted.id)
            case "/tasks/start":
                return Change(decode(cri.TaskEvent, value).container_id, "started")
            case "/tasks/oom":
                return Change(decode(cri.TaskEvent, value).container_id, "changed")
            case _:
                return None
    except Malformed:
        return None


def _end_of(container_id: str, process: str) -> Change | None:
    """Return the end of a container, None for that of an exec, whose process has a name of its own."""
    return Change(container_id, "ended") if process in ("", container_id) else None
