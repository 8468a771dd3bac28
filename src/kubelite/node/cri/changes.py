"""Tells what changes among the containers of an engine: by containerd's own events, else the interface's.

An engine that has neither is listed every second, as the kubelet does.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Final, Literal

from msgspec import Struct

from kubelite.grpc.protobuf import M, Malformed, decode
from kubelite.node.cri import messages as cri
from kubelite.node.cri.calls import EngineCalls, Unsupported

Kind = Literal["started", "changed", "ended", "removed"]
FILTERS: Final = [
    "namespace==k8s.io,topic~=^/tasks/",
    "namespace==k8s.io,topic==/containers/delete",
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
        answers = told(calls)
        try:
            async for change in answers:
                yield change
        except Unsupported:
            continue
        finally:
            await answers.aclose()
        return
    async for change in _by_lists(listed):
        yield change


async def _by_containerd(calls: EngineCalls) -> AsyncGenerator[Change | None, None]:
    envelopes = calls.stream(cri.SUBSCRIBE, cri.SubscribeRequest(FILTERS))
    try:
        # The first answer comes with the first event; a failure comes at once.
        async for envelope in _announced(envelopes):
            if envelope is None:
                yield None
            elif (change := change_of(envelope)) is not None:
                yield change
    finally:
        await envelopes.aclose()


async def _by_interface(calls: EngineCalls) -> AsyncGenerator[Change | None, None]:
    events = calls.stream(cri.CONTAINER_EVENTS, cri.Nothing())
    try:
        async for event in _announced(events):
            if event is None:
                yield None
            elif event.type in _BY_TYPE:
                yield Change(event.container_id, _BY_TYPE[event.type])
    finally:
        await events.aclose()


REFUSAL_SECONDS: Final = 0.2  # in which an engine says that it has no such method


async def _announced(answers: AsyncGenerator[M, None]) -> AsyncGenerator[M | None, None]:
    """Yield None when the first answer comes, or none was refused within `REFUSAL_SECONDS`, and then the answers.

    Nothing else tells that a subscription counts: an engine that has one is silent until something happens.
    """
    first = asyncio.ensure_future(anext(answers, None))
    try:
        await asyncio.wait((first,), timeout=REFUSAL_SECONDS)
        if first.done():
            first.result()  # raises what refused it
        yield None
        answer = await first
    finally:
        if not first.done():
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
    while answer is not None:
        yield answer
        answer = await anext(answers, None)


async def _by_lists(listed: List) -> AsyncGenerator[Change | None, None]:
    before = await listed()
    yield None
    while True:
        await asyncio.sleep(LIST_SECONDS)
        now = await listed()
        for container_id in before.keys() - now.keys():
            yield Change(container_id, "removed")
        for container_id, state in now.items():
            if before.get(container_id) != state:
                yield Change(container_id, "changed")
        before = now


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
                is_main = exited.id in ("", exited.container_id)
                return Change(exited.container_id, "ended") if is_main else None
            case "/tasks/start":
                return Change(decode(cri.TaskEvent, value).container_id, "started")
            case "/tasks/oom":
                return Change(decode(cri.TaskEvent, value).container_id, "changed")
    except Malformed:
        return None
    return None
