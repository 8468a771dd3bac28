import asyncio
from typing import Any

import msgspec
import pytest
from fakes.recording_offload import RecordingOffload
from fakes.server import Server

from kubelite.api.errors import APIError, BadRequest, Expired, Invalid, PlainError, Timeout
from kubelite.api.registry import reading
from kubelite.api.registry.deleting import Deleter
from kubelite.api.registry.options import DeletionOptions, ReadOptions
from kubelite.api.registry.reading import parse_revision
from kubelite.limits import INLINE_WORK
from kubelite.store.protocol import Compacted, Entry


async def filled(count: int = 5, changes: int = 10_000) -> Server:
    server = Server(changes=changes)
    for number in range(count):
        labels = {"even": str(number % 2 == 0).lower()}
        await server.create("v1/configmaps", {"metadata": {"name": f"c{number}", "labels": labels}})
    return server


async def test_a_list_is_ordered_and_has_a_version() -> None:
    server = await filled()
    listed = server.list("v1/configmaps")
    assert server.names("v1/configmaps") == ["c0", "c1", "c2", "c3", "c4"]
    assert listed.resource_version == str(server.store.revision)
    assert listed.continue_token == ""
    assert listed.remaining is None


async def test_pages_show_one_state() -> None:
    server = await filled()
    first = server.list("v1/configmaps", limit=2)
    assert first.remaining == 3
    await server.delete("v1/configmaps", "c3")
    await server.create("v1/configmaps", {"metadata": {"name": "c22"}})
    names = []
    token = first.continue_token
    while token:
        page = server.list("v1/configmaps", limit=2, continue_token=token)
        assert page.resource_version == first.resource_version
        names += [msgspec.json.decode(item)["metadata"]["name"] for item in page.items]
        token = page.continue_token
    assert names == ["c2", "c3", "c4"]


async def test_pages_of_a_selection_do_not_tell_what_remains() -> None:
    server = await filled()
    page = server.list("v1/configmaps", limit=2, label_selector="even=true")
    assert [msgspec.json.decode(item)["metadata"]["name"] for item in page.items] == ["c0", "c2"]
    assert page.remaining is None
    rest = server.list(
        "v1/configmaps",
        limit=2,
        label_selector="even=true",
        continue_token=page.continue_token,
    )
    assert [msgspec.json.decode(item)["metadata"]["name"] for item in rest.items] == ["c4"]
    assert rest.continue_token == ""


async def test_a_token_that_is_too_old_comes_with_a_fresh_one() -> None:
    server = await filled(changes=10)
    token = server.list("v1/configmaps", limit=2).continue_token
    for number in range(30):
        await server.patch("v1/configmaps", "c4", {"data": {"n": str(number)}})
    with pytest.raises(Expired) as caught:
        server.list("v1/configmaps", limit=2, continue_token=token)
    assert caught.value.message.startswith("The provided continue parameter is too old")
    fresh = caught.value.status()["metadata"]["continue"]
    names = server.names("v1/configmaps", continue_token=fresh)
    assert names == ["c2", "c3", "c4"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            ReadOptions(resource_version_match="Exact"),
            Invalid,
            "unless resourceVersion is provided",
        ),
        (
            ReadOptions(resource_version="1", resource_version_match="Exactly"),
            Invalid,
            "Unsupported value",
        ),
        (
            ReadOptions(resource_version="0", resource_version_match="Exact"),
            Invalid,
            'forbidden for resourceVersion "0"',
        ),
        (
            ReadOptions(resource_version="x"),
            BadRequest,
            "invalid resource version: resourceVersion: ",
        ),
        (ReadOptions(resource_version="999999"), Timeout, "Too large resource version: 999999"),
        (ReadOptions(continue_token="!"), BadRequest, "continue key is not valid"),
        (ReadOptions(continue_token="e30"), BadRequest, "continue key is not valid"),
        (ReadOptions(field_selector="spec.color=red"), BadRequest, "not a known field selector"),
        (ReadOptions(label_selector="a in"), BadRequest, "unable to parse requirement"),
    ],
)
async def test_options_without_meaning_are_refused(
    options: ReadOptions, error: type[APIError], message: str
) -> None:
    server = await filled(1)
    with pytest.raises(error, match=message):
        await server.verbs.list(server.allowed("list", "v1/configmaps"), options)


async def test_an_exact_version_shows_the_past() -> None:
    server = await filled(2)
    then = server.list("v1/configmaps").resource_version
    await server.delete("v1/configmaps", "c0")
    options = {"resource_version": then, "resource_version_match": "Exact"}
    assert server.names("v1/configmaps", **options) == ["c0", "c1"]
    options["resource_version_match"] = "NotOlderThan"
    assert server.names("v1/configmaps", **options) == ["c1"]
    assert server.names("v1/configmaps", resource_version=then) == ["c1"]
    assert server.names("v1/configmaps", resource_version=then, limit=5) == ["c0", "c1"]


async def test_a_version_that_is_gone_is_expired() -> None:
    server = await filled(1, changes=10)
    then = server.list("v1/configmaps").resource_version
    for number in range(30):
        await server.patch("v1/configmaps", "c0", {"data": {"n": str(number)}})
    with pytest.raises(Expired, match="too old"):
        server.list("v1/configmaps", resource_version=then, resource_version_match="Exact")


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=c1", ["c1"]),
        ("metadata.name!=c1", ["c0", "c2"]),
        ("metadata.namespace=default", ["c0", "c1", "c2"]),
        ("metadata.namespace=other", []),
        ("metadata.name=c1,metadata.name=c2", []),
        ("metadata.name=none", []),
        ("metadata.name=", []),
    ],
)
async def test_names_can_be_selected(selector: str, expected: list[str]) -> None:
    server = await filled(3)
    assert server.names("v1/configmaps", field_selector=selector) == expected
    assert server.names("v1/configmaps", namespace="", field_selector=selector) == expected


async def test_events_are_selected_by_the_names_of_their_version() -> None:
    server = Server()
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
    }
    await server.create("v1/events", event)
    assert server.names("v1/events", field_selector="involvedObject.name=p") == ["e"]
    path = "events.k8s.io/v1/events"
    assert server.names(path, field_selector="regarding.name=p,reason=Started") == ["e"]
    assert server.names(path, field_selector="regarding.name=q") == []


async def test_get_knows_no_future() -> None:
    server = await filled(1)
    allowed = server.allowed("get", "v1/configmaps", "c0")
    with pytest.raises(Timeout):
        await server.verbs.get(allowed, ReadOptions(resource_version="12345"))
    assert await server.verbs.get(allowed, ReadOptions(resource_version="0"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("x", "invalid syntax"),
        ("-1", "invalid syntax"),
        ("9" * 20, "value out of range"),
        ("9" * 5000, "value out of range"),
    ],
)
def test_a_revision_is_a_number_of_64_bits(text: str, wrong: str) -> None:
    with pytest.raises(PlainError, match=wrong):
        parse_revision(text)
    with pytest.raises(BadRequest, match=f"^invalid resource version: .*{wrong}"):
        parse_revision(text, of_list=True)


def test_zeros_before_a_revision_mean_nothing() -> None:
    assert parse_revision("0" * 5000 + "7") == 7
    assert parse_revision(str(2**64 - 1)) == 2**64 - 1


async def test_a_long_list_is_read_in_slices_of_one_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_AT_ONCE", 2)
    server = await filled(5)
    then = server.store.revision
    allowed = server.allowed("list", "v1/configmaps")
    for limit, expected in ((0, ["c0", "c1", "c2", "c3", "c4"]), (3, ["c0", "c1", "c2"])):
        listing = asyncio.create_task(server.verbs.list(allowed, ReadOptions(limit=limit)))
        await asyncio.sleep(0)  # the first slice is read
        await server.create("v1/configmaps", {"metadata": {"name": "c22"}})
        await server.delete("v1/configmaps", "c4")
        listed = await listing
        assert [msgspec.json.decode(item)["metadata"]["name"] for item in listed.items] == expected
        assert listed.resource_version == str(then)
        assert listed.remaining == (2 if limit else None)
        await server.delete("v1/configmaps", "c22")
        await server.create("v1/configmaps", {"metadata": {"name": "c4"}})
        then = server.store.revision


async def test_a_list_whose_state_is_forgotten_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "READ_AT_ONCE", 2)
    server = await filled(5, changes=10)
    allowed = server.allowed("list", "v1/configmaps")
    listing = asyncio.create_task(server.verbs.list(allowed, ReadOptions()))
    original = server.store.list

    def forgotten(*arguments: Any, after: str = "", **named: Any) -> Any:
        if after:
            raise Compacted(1, 2)
        return original(*arguments, after=after, **named)

    await asyncio.sleep(0)
    monkeypatch.setattr(server.store, "list", forgotten)
    assert len((await listing).items) == 5


@pytest.mark.parametrize(
    ("selectors", "leaves"),
    [
        ({"label_selector": "even=true"}, False),
        ({"label_selector": ",".join(f"!k{number}" for number in range(900))}, False),
        ({"label_selector": ",".join(f"!long-key-{number}" for number in range(900))}, True),
        ({"field_selector": ",".join(f"metadata.name!={number}" for number in range(900))}, True),
    ],
)
async def test_long_selectors_are_read_off_the_loop(
    selectors: dict[str, str], leaves: bool
) -> None:
    offload = RecordingOffload()
    server = Server(offload=offload)
    server.list("v1/configmaps", **selectors)
    assert (offload.hops == 1) is leaves


@pytest.mark.parametrize(("count", "leaves"), [(500, False), (3000, True)])
def test_selecting_among_many_leaves_the_loop_whatever_is_asked(count: int, leaves: bool) -> None:
    entries = [Entry(f"/configmaps.core/default/c{number}", b"{}", 1, 1) for number in range(count)]
    assert (reading.selecting_cost(entries) > INLINE_WORK.value) is leaves


def test_selecting_among_huge_objects_leaves_the_loop() -> None:
    entries = [Entry("/configmaps.core/default/c", b"x" * 1_500_000, 1, 1)] * 10
    assert reading.selecting_cost(entries) > INLINE_WORK.value


async def test_a_view_of_a_huge_object_is_made_off_the_loop() -> None:
    offload = RecordingOffload()
    server = Server(offload=offload)
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "x",
    }
    await server.create("v1/events", event)
    offload.costs.clear()
    allowed = server.allowed("get", "events.k8s.io/v1/events", "e")
    assert b'"note"' in await server.verbs.get(allowed, ReadOptions())
    assert (len(offload.costs), offload.hops) == (1, 0)
    reader = reading.Reader(server.store, offload)
    row = server.resources.find("events.k8s.io", "v1", "events")
    assert row is not None
    value = server.list("v1/events").items[0].replace(b'"x"', b'"%b"' % (b"x" * 1_400_000))
    await reader.served(row, [Entry("/events.core/default/e", value, 1, 1)])
    assert offload.hops == 1


async def test_a_deleted_collection_is_selected_and_put_together_off_the_loop() -> None:
    server = await filled(5)
    offload = RecordingOffload()
    server.writer.offload = offload
    deleter = Deleter(server.writer)
    allowed = server.allowed("deletecollection", "v1/configmaps")
    target = server.verbs.target(allowed, "deletecollection")
    deleted = await deleter.delete_collection(
        target, ReadOptions(label_selector="even=true"), DeletionOptions()
    )
    assert len(msgspec.json.decode(deleted.body)["items"]) == 3
    assert server.names("v1/configmaps") == ["c1", "c3"]
    assert offload.hops == 0  # few are done at once
    assert len(offload.costs) >= 3  # parsing, selecting, joining
