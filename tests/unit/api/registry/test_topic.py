"""Many watches, many selectors: what one change costs, and when each watch hears of it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from fakes.server import Server, at_once
from msgspec.structs import replace

from kubelite.api.auth.caller import Caller
from kubelite.api.errors import APIError, TooManyRequests
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.registry import topic
from kubelite.api.registry.groups import Group
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.seen import Seen
from kubelite.api.registry.watch import PLAIN, Form, PlainForm, Watching
from kubelite.limits import WATCH_BACKLOG, WATCH_SELECTORS_OF_CALLER

PATH = "v1/configmaps"


class Watcher:
    """Counts what a watch of what is to come delivers."""

    def __init__(self, server: Server, form: Form = PLAIN, **options: Any) -> None:
        self.heard: list[bytes] = []
        self.errors: list[APIError | None] = []
        self.watching: Watching = at_once(
            server.verbs.watch(
                server.allowed("watch", PATH),
                WatchOptions(
                    send_initial_events=False, resource_version_match="NotOlderThan", **options
                ),
                form,
                self.deliver,
                self.errors.append,
            )
        )

    def deliver(self, frames: Sequence[bytes]) -> None:
        self.heard.extend(frames)


async def make(server: Server, name: str, **labels: str) -> None:
    await server.create(PATH, {"metadata": {"name": name, "labels": labels}})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which selectors changes were compared with."""
    found: list[str] = []
    event = Group.event

    def counted(self: Group, seen: Seen) -> Any:
        found.append(str(self.selection.labels))
        return event(self, seen)

    monkeypatch.setattr(Group, "event", counted)
    return found


async def test_selectors_are_found_by_the_labels_they_demand(asked: list[str]) -> None:
    server = Server()
    texts = [f"app=a{number}" for number in range(100)]
    texts += [f"k{number}" for number in range(100)]
    texts += ["app in (x,y)", "app=a7,tier=b", "tier!=b"]
    for text in texts:
        Watcher(server, label_selector=text)
    await make(server, "c", app="a7", k3="")
    assert sorted(asked) == ["app in (x,y)", "app=a7", "app=a7,tier=b", "k3", "tier!=b"]
    asked.clear()
    await server.patch(PATH, "c", {"metadata": {"labels": {"app": "a8"}}})
    assert {"app=a7", "app=a8"} <= set(asked)  # those it leaves hear of it, too


async def test_a_change_for_thousands_of_selectors_is_told_in_turns(asked: list[str]) -> None:
    server = Server()
    count = 3 * topic.TURN_STEPS
    watchers = [Watcher(server, label_selector=f"app!=a{number}") for number in range(count)]
    mirror = server.mirrors.mirror(ConfigMap)
    asked_when_shown: list[int] = []
    mirror.subscribe(lambda _before, _after: asked_when_shown.append(len(asked)))
    await make(server, "c", app="a0")
    assert asked_when_shown == [1]  # a mirror waits for nobody
    assert len(asked) < count  # but the rest waits for its turn
    watchers[1].watching.bookmark()
    assert watchers[1].heard == []
    for _ in range(20):
        await asyncio.sleep(0)
    assert [len(watcher.heard) for watcher in watchers] == [0] + [1] * (count - 1)


async def test_watches_that_cannot_be_told_in_time_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "TURN_STEPS", 1)
    monkeypatch.setattr(WATCH_BACKLOG, "value", 2000)
    server = Server()
    watchers = [Watcher(server, label_selector=f"app!=a{number}") for number in range(50)]
    mirror = server.mirrors.mirror(ConfigMap)
    before = WATCH_BACKLOG.times_reached
    for number in range(20):
        await make(server, f"c{number}")
    assert WATCH_BACKLOG.times_reached == before + 1
    assert [error and error.code for watcher in watchers for error in watcher.errors] == [410] * 50
    assert len(mirror) == 20
    again = Watcher(server)
    await make(server, "later")
    assert len(again.heard) == 1


async def test_the_selectors_of_one_identity_are_bounded() -> None:
    server = Server()
    text = ",".join(f"!a-key-that-is-as-long-as-a-key-may-be-{number}" for number in range(900))
    watchers = [
        Watcher(server, label_selector=text)
        for _ in range(WATCH_SELECTORS_OF_CALLER.value // len(text))
    ]
    with pytest.raises(TooManyRequests):
        Watcher(server, label_selector=text)
    watchers[0].watching.close()
    watchers[0].watching.close()
    Watcher(server, label_selector=text)


async def test_the_last_watch_may_end_while_a_change_is_delivered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Watcher):
        def deliver(self, frames: Sequence[bytes]) -> None:
            other.watching.close()
            raise RuntimeError("broken pipe")

    server = Server()
    Broken(server)
    other = Watcher(server, label_selector="a!=b")
    await make(server, "c")
    assert server.hub.watching == 0
    assert caplog.messages == ["watch ended: its deliverer failed"]


async def test_a_form_that_fails_ends_only_the_watches_of_its_group(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Failing(PlainForm):
        name = "failing"

        def event(self, event_type: str, value: bytes) -> bytes:
            raise ValueError("cannot be shown")

    server = Server()
    failing, sound = Watcher(server, Failing()), Watcher(server)
    for name in ("c", "d"):
        await make(server, name)
    assert [error and error.code for error in failing.errors] == [410]
    assert len(sound.heard) == 2
    assert server.hub.watching == 1
    assert caplog.messages == ["watches ended: a change could not be shown to them"]


async def test_nothing_is_kept_of_the_users_who_watched() -> None:
    server = Server()
    for number, selector in enumerate(("", "a=b")):
        user = Caller(f"user-{number}")
        allowed = replace(server.allowed("watch", PATH), caller=user)
        options = WatchOptions(label_selector=selector)
        watching = await server.verbs.watch(allowed, options, PLAIN, print, server.fail)
        watching.close()
    assert server.hub._selectors._held == {}
