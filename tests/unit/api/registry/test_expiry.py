import asyncio

from fakes.server import Server

from kubelite.api.registry.expiry import EventExpiry
from kubelite.tasks import TaskSet


def event(name: str) -> dict[str, object]:
    return {"metadata": {"name": name}, "involvedObject": {"namespace": "default"}}


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_events_are_forgotten_an_hour_after_their_last_write() -> None:
    server, tasks = Server(), TaskSet()
    await server.create("v1/events", event("old"))
    await server.create("v1/configmaps", {"metadata": {"name": "stays"}})
    expiry = EventExpiry(server.store, clock=server.clock, tasks=tasks)
    expiry.start()
    server.clock.advance(1800)
    await server.create("v1/events", event("new"))
    await server.patch("v1/events", "old", {"count": 2})
    await server.create("v1/events", event("once"))
    await server.delete("v1/events", "once")
    assert expiry.waiting == 4
    server.clock.advance(1801)  # an hour after the first write of the first one
    await expiry._expire()
    assert server.names("v1/events") == ["new", "old"]
    server.clock.advance(1800)
    await expiry._expire()
    assert server.names("v1/events") == []
    assert server.names("v1/configmaps") == ["stays"]
    expiry.stop()
    await tasks.stop()


async def test_a_late_start_finds_what_is_overdue() -> None:
    server, tasks = Server(), TaskSet()
    await server.create("v1/events", event("old"))
    server.clock.advance(7200)
    expiry = EventExpiry(server.store, clock=server.clock, tasks=tasks)
    expiry.start()
    await settle()
    assert server.names("v1/events") == []
    expiry.stop()
    await tasks.stop()
