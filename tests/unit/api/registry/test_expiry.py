import asyncio

from fakes.server import Server

from kubelite.api.registry.expiry import STALE_MAX, EventExpiry
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
    for number in range(3, 100):
        await server.patch("v1/events", "new", {"count": number})
    assert expiry.waiting == 3  # one an Event, and one of an Event that went
    server.clock.advance(1801)  # an hour after the first write of the first one
    await expiry._expire()
    assert server.names("v1/events") == ["new", "old"]
    server.clock.advance(1800)
    await expiry._expire()
    assert server.names("v1/events") == []
    assert server.names("v1/configmaps") == ["stays"]
    expiry.stop()
    await tasks.stop()


async def test_events_that_come_and_go_leave_little() -> None:
    server, tasks = Server(), TaskSet()
    expiry = EventExpiry(server.store, clock=server.clock, tasks=tasks)
    expiry.start()
    await server.create("v1/events", event("stays"))
    for number in range(3 * STALE_MAX):
        await server.create("v1/events", event(f"e{number}"))
        await server.delete("v1/events", f"e{number}")
    assert expiry.waiting <= STALE_MAX + 4
    server.clock.advance(3601)
    await expiry._expire()
    assert server.names("v1/events") == []
    assert expiry.waiting == 0
    expiry.stop()
    await tasks.stop()


async def test_a_date_to_come_keeps_no_event() -> None:
    server, tasks = Server(), TaskSet()
    await server.create("v1/events", event("future") | {"lastTimestamp": "9999-01-01T00:00:00Z"})
    expiry = EventExpiry(server.store, clock=server.clock, tasks=tasks)
    expiry.start()
    await server.create("v1/events", event("now"))
    server.clock.advance(3601)
    await expiry._expire()
    assert server.names("v1/events") == []
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
