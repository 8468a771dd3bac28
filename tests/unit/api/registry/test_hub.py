import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from fakes.server import Server, at_once

from kubelite.api.errors import APIError, Invalid, Timeout
from kubelite.api.registry import hub as hub_module
from kubelite.api.registry.groups import Group
from kubelite.api.registry.options import WatchOptions
from kubelite.api.registry.watch import PLAIN, PlainForm, Watching


class Watcher:
    """Collects what a watch delivers."""

    def __init__(self, server: Server, path: str, namespace: str = "default", **options: Any):
        self.frames: list[bytes] = []
        self.errors: list[APIError | None] = []
        self.watching: Watching = at_once(
            server.verbs.watch(
                server.allowed("watch", path, namespace=namespace),
                WatchOptions(**options),
                PLAIN,
                self.deliver,
                self.errors.append,
            )
        )
        at_once(self.watching.begin(self.drain))

    async def drain(self) -> None:
        return

    def deliver(self, frames: Sequence[bytes]) -> None:
        self.frames.extend(frames)

    def events(self) -> list[tuple[str, str]]:
        decoded = [msgspec.json.decode(frame) for frame in self.frames]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in decoded]


async def no_wait() -> None:
    return


@pytest.fixture
async def server() -> Server:
    return Server()


async def make(server: Server, name: str, **labels: str) -> str:
    made = await server.create("v1/configmaps", {"metadata": {"name": name, "labels": labels}})
    version: str = made["metadata"]["resourceVersion"]
    return version


async def test_a_watch_begins_with_what_there_is(server: Server) -> None:
    await make(server, "a")
    watcher = Watcher(server, "v1/configmaps")
    await make(server, "b")
    await server.patch("v1/configmaps", "b", {"data": {"x": "y"}})
    await server.delete("v1/configmaps", "a")
    assert watcher.events() == [
        ("ADDED", "a"),
        ("ADDED", "b"),
        ("MODIFIED", "b"),
        ("DELETED", "a"),
    ]
    gone = msgspec.json.decode(watcher.frames[-1])["object"]["metadata"]
    assert gone["resourceVersion"] == str(server.store.revision)


async def test_a_watch_goes_on_from_a_version(server: Server) -> None:
    version = await make(server, "a")
    await make(server, "b")
    watcher = Watcher(server, "v1/configmaps", resource_version=version)
    await make(server, "c")
    assert watcher.events() == [("ADDED", "b"), ("ADDED", "c")]


async def test_a_watch_from_a_forgotten_version_is_told_so() -> None:
    server = Server(changes=10)
    version = await make(server, "a")
    for number in range(30):
        await server.patch("v1/configmaps", "a", {"data": {"n": str(number)}})
    watcher = Watcher(server, "v1/configmaps", resource_version=version)
    error = watcher.errors[0]
    assert error is not None
    assert error.code == 410
    assert error.message.startswith(f"too old resource version: {version} (")
    await make(server, "b")
    assert watcher.frames == []


async def test_a_watch_waits_for_a_version_to_come(server: Server) -> None:
    await make(server, "a")
    watcher = Watcher(server, "v1/configmaps", resource_version=str(server.store.revision + 1))
    await make(server, "b")
    await make(server, "c")
    assert watcher.events() == [("ADDED", "c")]


async def test_objects_appear_and_disappear_by_selection(server: Server) -> None:
    watcher = Watcher(server, "v1/configmaps", label_selector="app=web")
    await make(server, "a", app="db")
    await make(server, "b", app="web")
    await server.patch("v1/configmaps", "a", {"metadata": {"labels": {"app": "web"}}})
    await server.patch("v1/configmaps", "b", {"metadata": {"labels": {"app": "db"}}})
    await server.delete("v1/configmaps", "b")
    await server.delete("v1/configmaps", "a")
    assert watcher.events() == [("ADDED", "b"), ("ADDED", "a"), ("DELETED", "b"), ("DELETED", "a")]
    left = msgspec.json.decode(watcher.frames[2])["object"]["metadata"]
    assert left["labels"] == {"app": "web"}  # its last selected state
    assert int(left["resourceVersion"]) > int(
        msgspec.json.decode(watcher.frames[1])["object"]["metadata"]["resourceVersion"]
    )


async def test_a_pinned_field_finds_its_watches(server: Server) -> None:
    here = Watcher(server, "v1/pods", field_selector="spec.nodeName=n1")
    there = Watcher(server, "v1/pods", field_selector="spec.nodeName=n2")
    nowhere = Watcher(server, "v1/pods", field_selector="spec.nodeName=")
    spec = {"containers": [{"name": "c", "image": "i"}]}
    await server.create("v1/pods", {"metadata": {"name": "a"}, "spec": spec})
    await server.create(
        "v1/pods/binding", {"metadata": {"name": "a"}, "target": {"name": "n1"}}, "a"
    )
    assert here.events() == [("ADDED", "a")]
    assert there.events() == []
    assert nowhere.events() == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_name_finds_its_watches(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    event = Group.event

    def noted(group: Group, seen: Any) -> Any:
        asked.append(group.selection.name)
        return event(group, seen)

    monkeypatch.setattr(Group, "event", noted)
    named = {
        name: Watcher(server, "v1/configmaps", field_selector=f"metadata.name={name}")
        for name in ("a", "b", "c")
    }
    anywhere = Watcher(server, "v1/configmaps", "", field_selector="metadata.name=a")
    await server.create("v1/configmaps", {"metadata": {"name": "a"}})
    await server.create("v1/configmaps", {"metadata": {"name": "a", "namespace": "other"}})
    assert asked == ["a", "a", "a"]  # twice for the first, once for the second, never the others
    assert named["a"].events() == [("ADDED", "a")]
    assert anywhere.events() == [("ADDED", "a"), ("ADDED", "a")]
    assert named["b"].events() == []
    for watcher in (*named.values(), anywhere):
        watcher.watching.close()
    assert server.hub.watching == 0


async def test_namespaces_are_kept_apart(server: Server) -> None:
    here, everywhere = Watcher(server, "v1/configmaps"), Watcher(server, "v1/configmaps", "")
    await server.create("v1/configmaps", {"metadata": {"name": "x", "namespace": "other"}})
    assert here.events() == []
    assert everywhere.events() == [("ADDED", "x")]


async def test_the_end_of_what_there_is_can_be_marked(server: Server) -> None:
    await make(server, "a")
    watcher = Watcher(
        server,
        "v1/configmaps",
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        bookmarks=True,
    )
    assert watcher.events() == [("ADDED", "a"), ("BOOKMARK", "")]
    mark = msgspec.json.decode(watcher.frames[-1])["object"]
    assert mark == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "resourceVersion": str(server.store.revision),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }


async def test_initial_events_can_be_left_out(server: Server) -> None:
    await make(server, "a")
    watcher = Watcher(
        server,
        "v1/configmaps",
        send_initial_events=False,
        resource_version_match="NotOlderThan",
    )
    await make(server, "b")
    assert watcher.events() == [("ADDED", "b")]


@pytest.mark.parametrize(
    "options",
    [
        {"send_initial_events": True},
        {"resource_version_match": "NotOlderThan"},
        {"send_initial_events": True, "resource_version_match": "Exact"},
    ],
)
async def test_options_that_contradict_each_other(server: Server, options: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        Watcher(server, "v1/configmaps", **options)


async def test_bookmarks_come_by_the_clock(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "BOOKMARK_SECONDS", 0.0)
    await make(server, "a")
    watcher = Watcher(server, "v1/configmaps", bookmarks=True, resource_version="1")
    silent = Watcher(server, "v1/configmaps", resource_version="1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert ("BOOKMARK", "") in watcher.events()
    assert silent.frames == []
    watcher.watching.close()


async def test_who_has_closed_hears_nothing(server: Server) -> None:
    watcher = Watcher(server, "v1/configmaps", bookmarks=True)
    assert server.hub.watching == 1
    watcher.watching.close()
    watcher.watching.close()
    watcher.watching.bookmark()
    await make(server, "a")
    assert watcher.frames == []
    assert server.hub.watching == 0


async def test_each_change_is_framed_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    framed: list[str] = []
    plain = PlainForm.event

    def counted(self: PlainForm, event_type: str, value: bytes) -> bytes:
        framed.append(event_type)
        return plain(self, event_type, value)

    monkeypatch.setattr(PlainForm, "event", counted)
    watchers = [Watcher(server, "v1/configmaps") for _ in range(10)]
    watchers += [Watcher(server, "v1/configmaps", label_selector="a!=b") for _ in range(10)]
    await make(server, "a")
    assert framed == ["ADDED"]
    assert len({id(watcher.frames[0]) for watcher in watchers}) == 1


async def test_views_are_watched_in_their_own_form(server: Server) -> None:
    watcher = Watcher(server, "events.k8s.io/v1/events", field_selector="regarding.name=p")
    for name in ("p", "q"):
        involved = {"kind": "Pod", "name": name, "namespace": "default"}
        await server.create("v1/events", {"metadata": {"name": name}, "involvedObject": involved})
    assert watcher.events() == [("ADDED", "p")]
    shown = msgspec.json.decode(watcher.frames[0])["object"]
    assert shown["regarding"]["name"] == "p"
    assert shown["apiVersion"] == "events.k8s.io/v1"


async def test_a_deliverer_that_fails_ends_only_its_own_watch(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_frames: Sequence[bytes]) -> None:
        raise RuntimeError("broken pipe")

    options = WatchOptions(resource_version="1")
    await make(server, "first")
    broken = await server.verbs.watch(
        server.allowed("watch", "v1/configmaps"), options, PLAIN, fail, server.fail
    )
    await broken.begin(no_wait)
    watcher = Watcher(server, "v1/configmaps", resource_version="1")
    await make(server, "a")
    await make(server, "b")
    assert watcher.events() == [("ADDED", "a"), ("ADDED", "b")]
    assert server.hub.watching == 1
    assert caplog.messages == ["watch ended: its deliverer failed"]
    broken.close()


async def test_initial_events_of_the_future_are_refused(server: Server) -> None:
    options: dict[str, Any] = {
        "send_initial_events": True,
        "resource_version_match": "NotOlderThan",
    }
    with pytest.raises(Timeout, match="Too large resource version"):
        Watcher(server, "v1/configmaps", resource_version="99", **options)


async def test_a_watch_begun_while_changes_are_told_hears_each_once(server: Server) -> None:
    """One commit touches two kinds; while the first is told, somebody begins to watch the second."""
    late: list[Watcher] = []

    def begin(_frames: Sequence[bytes]) -> None:
        if not late:
            path = "networking.k8s.io/v1/ipaddresses"
            late.append(Watcher(server, path, ""))
            late.append(Watcher(server, path, "", resource_version="1"))
            late.append(Watcher(server, "v1/services"))
            late.append(Watcher(server, "v1/services", resource_version="1"))

    await make(server, "first")
    for path in ("v1/services", "networking.k8s.io/v1/ipaddresses"):
        watching = await server.verbs.watch(
            server.allowed("watch", path, namespace=""),
            WatchOptions(resource_version="1"),
            PLAIN,
            begin,
            server.fail,
        )
        await watching.begin(no_wait)
    await server.create(
        "v1/services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 1}]}}
    )
    assert [len(watcher.frames) for watcher in late] == [1, 1, 1, 1]
