import asyncio

import pytest
from fakes.fake_client import FakeClient
from simulation.simulated_loop import simulated

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.errors import Forbidden, InternalError, ServiceUnavailable
from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import EVENTS_HELD, EVENTS_WAITING
from kubelite.randomness import SeededRandomness


def pod(name: str = "p") -> Pod:
    return Pod(metadata=ObjectMeta(name=name, namespace="work", uid=f"uid of {name}"))


def recorder(client: FakeClient) -> EventRecorder:
    return EventRecorder(client, client.clock, SeededRandomness(1), component="tester", host="h")


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_an_event_says_all_there_is_to_say() -> None:
    client = FakeClient()
    recorder(client).event(pod(), NORMAL, "Started", "it runs")
    await settle()
    (event,) = client.all(Event)
    assert event.metadata.namespace == "work"
    assert event.metadata.name.startswith("p.")
    about = event.involvedObject
    assert (about.kind, about.name, about.uid, about.apiVersion) == ("Pod", "p", "uid of p", "v1")
    assert (event.type, event.reason, event.message, event.count) == (
        NORMAL,
        "Started",
        "it runs",
        1,
    )
    assert (event.source.component, event.source.host) == ("tester", "h")
    assert event.firstTimestamp == event.lastTimestamp == "2026-01-01T00:00:00Z"


async def test_the_same_event_again_counts_up() -> None:
    client = FakeClient()
    events = recorder(client)
    for _ in range(3):
        events.event(pod(), WARNING, "Failing", "it fails")
        await settle()
        client.clock.advance(1)
    events.event(pod("q"), WARNING, "Failing", "it fails")
    await settle()
    counts = {event.involvedObject.name: event.count for event in client.all(Event)}
    assert counts == {"p": 3, "q": 1}
    last = next(event for event in client.all(Event) if event.count == 3)
    assert (last.firstTimestamp, last.lastTimestamp) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:02Z",
    )


async def test_one_that_expired_is_written_anew() -> None:
    client = FakeClient()
    events = recorder(client)
    events.event(pod(), NORMAL, "Started", "it runs")
    await settle()
    (event,) = client.all(Event)
    await client.delete(Event, event.metadata.name, "work")
    events.event(pod(), NORMAL, "Started", "it runs")
    await settle()
    assert [one.count for one in client.all(Event)] == [1]


async def test_many_similar_events_are_combined() -> None:
    client = FakeClient()
    events = recorder(client)
    for number in range(15):
        events.event(pod(), WARNING, "Failing", f"it fails in way {number}")
        await settle()
    messages = [event.message for event in client.all(Event)]
    combined = [message for message in messages if message.startswith("(combined")]
    assert len(messages) == 10
    assert len(combined) == 1
    assert combined[0].endswith("way 14")


async def test_a_noisy_object_is_cut_off_until_tokens_come_back() -> None:
    client = FakeClient()
    events = recorder(client)
    for _ in range(60):
        events.event(pod(), WARNING, "Failing", "again")
        await settle()
    assert client.all(Event)[0].count == 25
    client.clock.advance(601)
    for _ in range(5):
        events.event(pod(), WARNING, "Failing", "again")
        await settle()
    assert client.all(Event)[0].count == 27


async def test_events_about_the_cluster_go_to_default_and_failures_harm_nobody() -> None:
    client = FakeClient()
    events = recorder(client)
    client.refuse = lambda verb, kind: Forbidden("no") if verb == "create" else None
    events.event(Node(metadata=ObjectMeta(name="n")), NORMAL, "Ready", "x")
    await settle()
    assert client.all(Event) == []
    client.refuse = lambda verb, kind: None
    events.event(Node(metadata=ObjectMeta(name="n")), NORMAL, "Ready", "x")
    await settle()
    assert client.all(Event)[0].metadata.namespace == "default"
    await events.close()


@simulated
async def test_events_wait_for_a_server_that_is_away_and_the_oldest_go_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeClient()
    events = recorder(client)
    client.refuse = lambda verb, kind: ServiceUnavailable("away")
    for number in range(EVENTS_HELD.value + 50):
        events.event(pod(f"p{number}"), NORMAL, "Started", "it runs")
        await asyncio.sleep(1)
    await asyncio.sleep(6 * 3600)
    assert len(events._queue) <= EVENTS_HELD.value
    assert len(asyncio.all_tasks()) == 2  # this test, and one that writes
    client.refuse = lambda verb, kind: None
    for returned in list(client.returned):
        returned()
    for _ in range(5 * EVENTS_HELD.value):
        await asyncio.sleep(0)  # no time passes
    names = {event.involvedObject.name for event in client.all(Event)}
    assert len(names) == EVENTS_HELD.value
    assert f"p{EVENTS_HELD.value + 49}" in names
    assert "p49" not in names
    assert [(one.getMessage(), vars(one)["count"]) for one in caplog.records] == [
        ("events were dropped, the oldest first", 50)
    ]
    assert not client.returned
    assert len(events._written) <= EVENTS_WAITING.value


@simulated
async def test_an_event_that_a_server_fails_on_does_not_hold_up_the_others() -> None:
    client = FakeClient()
    events = recorder(client)
    asked = 0

    def refuse(verb: str, kind: str) -> InternalError | None:
        nonlocal asked
        asked += 1
        return InternalError("poison") if asked <= 13 else None

    client.refuse = refuse
    events.event(pod("poison"), NORMAL, "Started", "it runs")
    events.event(pod("other"), NORMAL, "Started", "it runs")
    await asyncio.sleep(3600)
    assert [event.involvedObject.name for event in client.all(Event)] == ["other"]
