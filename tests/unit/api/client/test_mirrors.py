"""The mirrors of the server: shared, counted, and ended with their resource."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from fakes import widgets
from fakes.server import Server
from fakes.widgets import widget_row
from msgspec.structs import replace

from kubelite.api.client.metadata import PART_MAX, Sharing
from kubelite.api.client.mirrors import Mirrors
from kubelite.api.errors import APIError, InternalError
from kubelite.api.kinds.core.config import ConfigMap, Secret
from kubelite.api.kinds.meta import ObjectMeta, OwnerReference
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.kinds.object_metadata import KeptMetadata, ObjectMetadata
from kubelite.api.machinery.field_selectors import ANY_KIND
from kubelite.limits import LOOKED_AT, SHARED_METADATA

PATH = "example.com/v1/widgets"


@pytest.fixture
async def server() -> Server:
    served = Server()
    widgets.serve(served)
    return served


@pytest.fixture
def mirrors(server: Server) -> Mirrors:
    return server.mirrors


def config(name: str, **fields: Any) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", **fields))


def plain(server: Server, **selectors: str) -> Any:
    return server.client.resource("example.com", "v1", "widgets").mirror(**selectors)


def names(mirror: Any) -> list[str]:
    return [item["metadata"]["name"] for item in mirror.list()]


async def test_a_look_at_one_object_makes_no_mirror(server: Server, mirrors: Mirrors) -> None:
    # Whoever shows a token that looks like a bootstrap token has a Secret looked for.
    made = await server.client.create(
        Secret(metadata=ObjectMeta(name="s", namespace="default"), data={"k": "dg=="})
    )
    found = mirrors.get(Secret, "s", "default")
    assert found is not None
    assert (found.data, found.metadata.uid) == (made.data, made.metadata.uid)
    assert found.metadata.managedFields == []
    assert mirrors.get(Secret, "none", "default") is None
    assert mirrors.get(Secret, "s", "default") is found  # each request may ask about its caller
    await server.client.patch(Secret, "s", {"data": {"k": "dw=="}}, "default")
    changed = mirrors.get(Secret, "s", "default")
    assert changed is not None
    assert changed.data == {"k": "dw=="}
    await server.client.delete(Secret, "s", "default")
    assert mirrors.get(Secret, "s", "default") is None
    await server.client.create(Secret(metadata=ObjectMeta(name="s", namespace="default")))
    for number in range(LOOKED_AT.value + 1):
        await server.client.create(config(f"c{number}"))
        assert mirrors.get(ConfigMap, f"c{number}", "default") is not None
    assert len(mirrors._last) <= LOOKED_AT.value
    assert server.hub.watching == 0
    held = mirrors.mirror(Secret).get("s", "default")
    assert mirrors.get(Secret, "s", "default") is held  # what a mirror has is not decoded again


async def test_a_subscription_holds_its_mirror(server: Server, mirrors: Mirrors) -> None:
    told: list[str] = []

    def listen(_before: ConfigMap | None, after: ConfigMap | None) -> None:
        told.append(after.metadata.name if after is not None else "")

    end = mirrors.subscribe(ConfigMap, listen)
    await server.client.create(config("a"))
    end()
    await server.client.create(config("b"))
    assert told == ["a"]
    assert server.hub.watching == 0
    assert not mirrors._whole
    assert not mirrors._decoders


async def test_what_is_listed_stays_in_memory(server: Server, mirrors: Mirrors) -> None:
    await server.client.create(config("a"))
    assert [item.metadata.name for item in mirrors.list(ConfigMap)] == ["a"]
    other = server.client.mirror(ConfigMap)
    other.close()
    assert server.hub.watching == 1
    assert len(mirrors.list(ConfigMap, "default")) == 1


async def test_an_object_in_two_mirrors_is_decoded_once(server: Server, mirrors: Mirrors) -> None:
    whole, chosen = mirrors.mirror(ConfigMap), mirrors.mirror(ConfigMap, label_selector="a=b")
    await server.client.create(config("a", labels={"a": "b"}))
    assert whole.get("a", "default") is chosen.get("a", "default")
    chosen.close()
    await server.client.create(config("b", labels={"a": "b"}))
    assert mirrors._decoders[ConfigMap]._known.keys() == {
        server.store.list("/configmaps.core/default/a").entries[0].value
    }  # nothing is kept for a mirror that is alone


async def test_a_mirror_goes_on_with_a_new_row(server: Server) -> None:
    await server.create(PATH, {"metadata": {"name": "a"}, "spec": {"color": "red"}})
    mirror, red = plain(server), plain(server, field_selector="spec.color=red")
    told: list[Any] = []
    mirror.subscribe(lambda before, after: told.append((before, after)))
    widgets.serve(server, replace(widget_row(), short_names=("wd",)))
    assert len(told) == 1  # nothing changed
    await server.create(PATH, {"metadata": {"name": "b"}, "spec": {"color": "red"}})
    assert names(mirror) == names(red) == ["a", "b"]
    assert plain(server) is mirror
    assert server.hub.watching == 2


async def test_a_mirror_of_a_field_that_is_no_longer_selectable_ends(server: Server) -> None:
    await server.create(PATH, {"metadata": {"name": "a"}, "spec": {"color": "red"}})
    red = plain(server, field_selector="spec.color=red")
    widgets.serve(server, replace(widget_row(), fields=ANY_KIND))
    assert names(red) == []
    red.close()
    assert server.hub.watching == 0


async def test_a_resource_that_is_served_again_has_a_new_mirror(server: Server) -> None:
    await server.create(PATH, {"metadata": {"name": "a"}})
    ended = plain(server)
    widgets.unserve(server)
    assert server.hub.watching == 0
    widgets.serve(server)
    again = plain(server)
    ended.close()  # a reader that comes late does not end the new one
    await server.create(PATH, {"metadata": {"name": "b"}})
    assert (names(ended), names(again)) == ([], ["a", "b"])
    assert plain(server) is again


async def test_the_versions_of_a_resource_have_one_mirror_of_metadata(server: Server) -> None:
    await server.create(
        "v1/events",
        {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "type": "Normal"},
    )
    newer = server.client.resource("events.k8s.io", "v1", "events").metadata_mirror()
    older = server.client.resource("", "v1", "events").metadata_mirror()
    assert older is newer
    assert [item.metadata.name for item in newer.list()] == ["e"]


async def test_what_is_served_is_told_once(server: Server, mirrors: Mirrors) -> None:
    found = {(one.group, one.resource): one for one in mirrors.served.resources()}
    assert found["autoscaling", "horizontalpodautoscalers"].version == "v2"
    assert ("", "events") in found
    assert ("events.k8s.io", "events") not in found  # the same objects under another name
    assert ("", "bindings") not in found  # cannot be listed
    assert found["example.com", "widgets"].namespaced
    told: list[int] = []
    end = mirrors.served.subscribe(lambda: told.append(len(mirrors.served.resources())))
    widgets.serve(server, replace(widget_row(), short_names=("wd",)))
    assert told == []
    widgets.unserve(server)
    assert told == [len(found) - 1]
    end()
    widgets.serve(server)
    assert len(told) == 1


def test_equal_parts_of_metadata_are_one_object() -> None:
    share = Sharing()

    def made(name: str, label: str) -> KeptMetadata:
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u"}
        fields = {
            "name": name,
            "namespace": "".join(("de", "fault")),
            "labels": {"app": label},
            "ownerReferences": [reference],
            "annotations": {"not": "kept"},
        }
        item = msgspec.json.decode(msgspec.json.encode({"metadata": fields}), type=ObjectMetadata)
        share(item)
        return item.metadata

    first, second, other = made("a", "x"), made("b", "x"), made("c", "y")
    assert first.labels is second.labels
    assert first.ownerReferences is second.ownerReferences
    assert first.namespace is second.namespace
    assert other.labels == {"app": "y"}
    assert first.ownerReferences == (
        OwnerReference(apiVersion="apps/v1", kind="ReplicaSet", name="r", uid="u"),
    )
    for number in range(SHARED_METADATA.value + 1):
        made("n", str(number))
    assert len(share._known) <= SHARED_METADATA.value
    held = len(share._known)
    long = "x" * (PART_MAX + 1)  # it would be held beyond the life of its object
    assert made("n", long).labels == {"app": long}
    assert len(share._known) == held


async def test_a_listener_that_fails_spoils_no_change_of_what_is_served(
    server: Server, mirrors: Mirrors, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def fail() -> None:
        raise ValueError("broken")

    mirrors.served.subscribe(fail)
    mirrors.served.subscribe(lambda: told.append("told"))
    widgets.unserve(server)
    assert told == ["told"]
    assert "a listener failed" in caplog.text


class Doubling:
    """A conversion by another server, which takes its time and may be down: it writes the color twice."""

    waits = True
    works_as_served = True
    failure: APIError | None = None
    failures = 0

    def is_needed(self, revision: int) -> bool:
        return True

    def read(self, stored: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("another server converts")

    write = read

    async def read_all(self, stored: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
        await asyncio.sleep(0)
        if self.failure is not None:
            self.failures += 1
            raise self.failure
        for item in stored:
            item["spec"]["color"] *= 2
        return stored

    write_all = read_all


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.001)


@pytest.fixture
def doubling(server: Server) -> Doubling:
    stored, conversion = widget_row(), Doubling()
    served = replace(
        stored,
        version="v2",
        kind=GroupVersionKind("example.com", "v2", "Widget"),
        stored_as=stored,
        conversion=conversion,
    )
    widgets.serve(server, served, stored)
    return conversion


def colors(mirror: Any) -> dict[str, str]:
    return {item["metadata"]["name"]: item["spec"]["color"] for item in mirror.list()}


async def test_a_mirror_of_what_another_server_converts(server: Server, doubling: Doubling) -> None:
    for name in ("a", "b"):
        await server.create(PATH, {"metadata": {"name": name}, "spec": {"color": "x"}})
    client = server.client.resource("example.com", "v2", "widgets")
    mirror, metadata = client.mirror(), client.metadata_mirror()
    assert [item.metadata.name for item in metadata.list()] == ["a", "b"]  # needs no conversion
    await mirror.synced()
    assert colors(mirror) == {"a": "xx", "b": "xx"}
    await server.patch(PATH, "a", {"spec": {"color": "y"}})
    await server.delete(PATH, "b")
    await server.create(PATH, {"metadata": {"name": "c"}, "spec": {"color": "z"}})
    await until(lambda: colors(mirror) == {"a": "yy", "c": "zz"})
    assert [item.metadata.name for item in metadata.list()] == ["a", "c"]
    mirror.close()
    metadata.close()
    await until(lambda: server.hub.watching == 0)


async def test_a_mirror_outlives_a_conversion_that_fails(
    server: Server, doubling: Doubling, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubelite.api.client.converted.DELAY_SECONDS_MIN", 0.001)
    await server.create(PATH, {"metadata": {"name": "a"}, "spec": {"color": "x"}})
    doubling.failure = InternalError("the webhook is down")
    mirror = server.client.resource("example.com", "v2", "widgets").mirror()
    await until(lambda: doubling.failures > 2)
    assert colors(mirror) == {}
    doubling.failure = None
    await mirror.synced()
    assert colors(mirror) == {"a": "xx"}
    doubling.failure = InternalError("down again")
    await server.create(PATH, {"metadata": {"name": "b"}, "spec": {"color": "x"}})
    await server.delete(PATH, "a")
    await until(lambda: doubling.failures > 5)
    assert colors(mirror) == {"a": "xx"}
    doubling.failure = None
    await until(lambda: colors(mirror) == {"b": "xx"})
    widgets.unserve(server)
    assert colors(mirror) == {}
    await until(lambda: server.hub.watching == 0)
