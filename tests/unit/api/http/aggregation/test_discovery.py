"""Discovery of delegated group versions, as clients see it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes.aggregated import Aggregator, OtherServer, aggregating, api_service

from kubelite.api.http.delegation import ServiceKey
from kubelite.api.kinds.apiregistration import APIService
from kubelite.limits import AGGREGATED_DISCOVERY

TYPE = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GROUP = "things.example.com"
PAGE = f"/apis/{GROUP}/v1"
KEY = ServiceKey("shop", "agg", 443)
LIST = {
    "resources": [
        {
            "name": "things",
            "singularName": "thing",
            "namespaced": False,
            "kind": "Thing",
            "verbs": ["get"],
        }
    ]
}
RESOURCE = {
    "resource": "things",
    "responseKind": {"group": "", "version": "", "kind": "Thing"},
    "scope": "Cluster",
    "singularResource": "thing",
    "verbs": ["get"],
}
CURRENT = {"version": "v1", "resources": [RESOURCE], "freshness": "Current"}
STALE = {"version": "v1", "freshness": "Stale"}


@pytest.fixture
def other(tmp_path: Path) -> OtherServer:
    return OtherServer(tmp_path)


def aggregated(*groups: tuple[str, str], etag: str = "") -> web.Response:
    """Return the aggregated form of some group versions with one resource each."""
    items = [
        {
            "metadata": {"name": name},
            "versions": [{"version": version, "resources": [RESOURCE]}],
        }
        for name, version in groups
    ]
    headers = {"Content-Type": TYPE} | ({"ETag": etag} if etag else {})
    return web.Response(body=msgspec.json.encode({"items": items}), headers=headers)


async def shown(front: Aggregator, group: str = GROUP) -> list[Any]:
    """Return the versions of a group in the aggregated form."""
    _, text = await front.get("/apis", Accept=TYPE)
    groups = {
        item["metadata"]["name"]: item["versions"] for item in msgspec.json.decode(text)["items"]
    }
    found: list[Any] = groups.get(group, [])
    return found


async def listed(front: Aggregator) -> list[str]:
    """Return the names of all groups in the legacy form."""
    _, text = await front.get("/apis")
    return [group["name"] for group in msgspec.json.decode(text)["groups"]]


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0)


async def refreshed(front: Aggregator) -> str:
    """Ask the other server now; return why it could not be read."""
    return await front.delegation.opened().discovery.refresh(KEY)


@pytest.mark.parametrize("form", ["legacy", "aggregated"])
async def test_both_forms_are_shown_as_one(other: OtherServer, form: str) -> None:
    if form == "legacy":
        other.pages[PAGE] = LIST
    else:
        other.pages["/apis"] = aggregated((GROUP, "v1"))
    async with other.served(), aggregating(other) as front:
        assert await shown(front) in ([STALE], [CURRENT])  # it waits for nobody
        assert not await refreshed(front)
        assert await shown(front) == [CURRENT]
        _, text = await front.get(f"/apis/{GROUP}")
        version = {"groupVersion": f"{GROUP}/v1", "version": "v1"}
        assert msgspec.json.decode(text) == {
            "kind": "APIGroup",
            "apiVersion": "v1",
            "name": GROUP,
            "versions": [version],
            "preferredVersion": version,
        }
    users = {each.all("X-Remote-User")[0] for each in other.read}
    assert users == {"system:kube-aggregator", "system:aggregator"}


async def test_a_server_speaks_only_for_what_is_delegated_to_it(other: OtherServer) -> None:
    other.pages["/apis"] = aggregated((GROUP, "v1"), ("apps", "v1"), ("apps", "v9"), (GROUP, "v2"))
    async with other.served(), aggregating(other) as front:
        before = await shown(front, "apps")
        assert not await refreshed(front)
        assert await shown(front) == [CURRENT]
        assert await shown(front, "apps") == before


async def test_what_is_unchanged_is_not_sent_again(other: OtherServer) -> None:
    other.pages["/apis"] = aggregated((GROUP, "v1"), etag='"one"')
    async with other.served(), aggregating(other) as front:
        assert not await refreshed(front)
        generation = front.delegation.generation
        other.pages["/apis"] = web.Response(status=304)
        other.read.clear()
        assert not await refreshed(front)
        asked = next(each for each in other.read if each.path == "/apis")
        assert asked.all("If-None-Match") == ['"one"']
        assert await shown(front) == [CURRENT]
        assert front.delegation.generation == generation


@pytest.mark.parametrize(
    "page",
    [
        web.Response(status=500),
        web.Response(status=503),
        web.Response(text="{"),
        web.Response(status=307, headers={"Location": "/elsewhere"}),
        web.Response(body=b'{"resources":[' + b" " * AGGREGATED_DISCOVERY.value + b"]}"),
    ],
)
async def test_what_cannot_be_read_is_stale(other: OtherServer, page: web.Response) -> None:
    other.pages[PAGE] = LIST
    async with other.served(), aggregating(other) as front:
        assert not await refreshed(front)
        other.pages[PAGE] = page
        assert await refreshed(front)
        assert await shown(front) == [STALE]
        assert GROUP in await listed(front)
        other.pages[PAGE] = LIST
        assert not await refreshed(front)
        assert await shown(front) == [CURRENT]


async def test_an_aggregated_document_that_is_broken_is_stale(other: OtherServer) -> None:
    other.pages["/apis"] = web.Response(text="[]", headers={"Content-Type": TYPE})
    async with other.served(), aggregating(other) as front:
        assert await refreshed(front)
        assert await shown(front) == [STALE]


async def test_changes_of_the_condition_are_followed_at_once(other: OtherServer) -> None:
    other.pages[PAGE] = LIST
    async with other.served(), aggregating(other, api_service(is_available=False)) as front:
        discovery = front.delegation.opened().discovery
        assert await shown(front) == [STALE]
        for _ in range(3):
            front.lookup.put(api_service(caBundle=other.bundle))
            await until(lambda: b"Current" in discovery.entry(GROUP, "v1"))
            assert await shown(front) == [CURRENT]
            front.lookup.put(api_service(is_available=False))
            await until(lambda: b"Stale" in discovery.entry(GROUP, "v1"))
            assert await shown(front) == [STALE]
        front.lookup.remove(APIService, f"v1.{GROUP}")
        assert await shown(front) == []
        assert GROUP not in await listed(front)


async def test_no_task_is_left_when_nothing_is_delegated(other: OtherServer) -> None:
    other.pages[PAGE] = LIST
    async with other.served(), aggregating(other) as front:
        discovery = front.delegation.opened().discovery
        await until(lambda: b"Current" in discovery.entry(GROUP, "v1"))
        assert named_tasks()
        front.lookup.remove(APIService, f"v1.{GROUP}")
        await until(lambda: not named_tasks())
        front.lookup.put(api_service(caBundle=other.bundle))
        await until(lambda: b"Current" in discovery.entry(GROUP, "v1"))


def named_tasks() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if "aggregated" in task.get_name()]


async def test_a_server_that_hangs_holds_up_no_other_and_no_client(
    other: OtherServer, tmp_path: Path
) -> None:
    hung = asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        if "silent" not in request.path and request.path != "/apis":
            return await other.page(request)
        await hung.wait()
        return web.Response(status=404)

    silent = api_service("silent.example.com", caBundle=other.bundle)
    async with other.served(), aggregating(other, silent) as front:
        other.answer = hang
        asking = asyncio.ensure_future(refreshed(front))
        await until(lambda: bool(other.read))
        assert (await front.get("/apis"))[0] == 200
        assert await shown(front, "silent.example.com") == [STALE]
        hung.set()
        assert await asking


async def test_a_built_in_version_that_is_delegated_is_shown_as_the_other_server_says(
    other: OtherServer,
) -> None:
    other.pages["/apis"] = aggregated(("batch", "v1"), ("batch", "v2"))
    versions = ("v1", "v2")
    delegated = [
        api_service("batch", each, caBundle=other.bundle, versionPriority=place)
        for place, each in enumerate(versions, 1)
    ]
    async with other.served(), aggregating(other, *delegated) as front:
        assert not await refreshed(front)
        assert await shown(front, "batch") == [{**CURRENT, "version": "v2"}, CURRENT]


async def test_groups_are_listed_by_priority(other: OtherServer) -> None:
    important = api_service("z.example.com", groupPriorityMinimum=20_000, caBundle=other.bundle)
    async with other.served(), aggregating(other, important) as front:
        names = await listed(front)
        assert names[:2] == ["apiregistration.k8s.io", "z.example.com"]


async def test_a_registered_version_that_nobody_serves_is_listed_without_resources(
    other: OtherServer,
) -> None:
    value = {
        "metadata": {"name": "v1.nobody.example.com"},
        "spec": {"group": "nobody.example.com", "version": "v1", "groupPriorityMinimum": 1},
    }
    async with other.served(), aggregating(other, msgspec.convert(value, APIService)) as front:
        assert (await listed(front))[-1] == "nobody.example.com"
        assert await shown(front, "nobody.example.com") == []
        assert (await front.get("/apis/nobody.example.com"))[0] == 200
        assert (await front.get("/apis/nobody.example.com/v1"))[0] == 404
