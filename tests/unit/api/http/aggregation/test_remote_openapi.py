"""OpenAPI of delegated group versions, as clients see it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from fakes.aggregated import Aggregator, OtherServer, aggregating, api_service

from kubelite.api.http.aggregation.remote_openapi import hash_of
from kubelite.api.http.delegation import ServiceKey
from kubelite.api.machinery.openapi_v2 import PROTOBUF
from kubelite.limits import (
    AGGREGATED_DISCOVERY_SECONDS,
    AGGREGATED_OPENAPI,
    AGGREGATED_OPENAPI_KEPT,
)

GROUP = "things.example.com"
PATH = f"apis/{GROUP}/v1"
KEY = ServiceKey("shop", "agg", 443)
DOCUMENT = {"openapi": "3.0.0", "paths": {f"/{PATH}/things": {}}}
SPEC = {
    "paths": {
        f"/{PATH}/things": {
            "get": {
                "responses": {
                    "200": {"description": "OK", "schema": {"$ref": "#/definitions/Thing"}}
                }
            }
        },
        "/apis/apps/v1/evil": {"get": {"responses": {}}},
    },
    "definitions": {"Thing": {"type": "object"}, "Unused": {"type": "object"}},
}


@pytest.fixture
def other(tmp_path: Path) -> OtherServer:
    server = OtherServer(tmp_path)
    server.pages[f"/{PATH}"] = {"resources": []}
    return server


def index(**hashes: str) -> dict[str, Any]:
    """Return an index that also names what is not delegated."""
    listed = {PATH: f"/openapi/v3/{PATH}?hash=AB12", "apis/apps/v1": "/openapi/v3/evil?hash=1"}
    return {"paths": {path: {"serverRelativeURL": url} for path, url in (listed | hashes).items()}}


async def refreshed(front: Aggregator) -> None:
    assert not await front.delegation.opened().discovery.refresh(KEY)


async def paths(front: Aggregator) -> dict[str, str]:
    _, text = await front.get("/openapi/v3")
    listed = msgspec.json.decode(text)["paths"]
    return {path: item["serverRelativeURL"] for path, item in listed.items()}


async def test_documents_of_version_3_are_listed_and_fetched_once(other: OtherServer) -> None:
    other.pages["/openapi/v3"] = index()
    other.pages[f"/openapi/v3/{PATH}"] = DOCUMENT
    async with other.served(), aggregating(other) as front:
        own = await paths(front)
        await refreshed(front)
        url = f"/openapi/v3/{PATH}?hash=AB12"
        assert await paths(front) == {**own, PATH: url}
        both = await asyncio.gather(front.get(url), front.get(url))
        assert [(status, msgspec.json.decode(text)) for status, text in both] == [
            (200, DOCUMENT)
        ] * 2
        assert (await front.get(f"/openapi/v3/{PATH}"))[0] == 200
        assert len([one for one in other.read if one.path == f"/openapi/v3/{PATH}"]) == 1
        assert (await front.get(f"/openapi/v3/{PATH}?hash=OLD"))[0] == 301
        other.pages["/openapi/v3"] = index(**{PATH: f"/openapi/v3/{PATH}?hash=CD34"})
        await refreshed(front)
        assert (await paths(front))[PATH].endswith("?hash=CD34")
        assert (await front.get(f"/openapi/v3/{PATH}?hash=CD34"))[0] == 200
        assert len([one for one in other.read if one.path == f"/openapi/v3/{PATH}"]) == 2
        front.lookup.put(api_service(is_available=False))
        assert PATH not in await paths(front)
        assert (await front.get(f"/openapi/v3/{PATH}"))[0] == 404


async def test_a_server_without_version_3_is_converted(other: OtherServer) -> None:
    other.pages["/openapi/v2"] = SPEC
    async with other.served(), aggregating(other) as front:
        await refreshed(front)
        status, text = await front.get((await paths(front))[PATH])
        document = msgspec.json.decode(text)
        assert status == 200
        assert document["components"]["schemas"] == {"Thing": {"type": "object"}}
        assert document["paths"].keys() == {f"/{PATH}/things"}


@pytest.mark.parametrize("form", ["application/json", PROTOBUF])
async def test_version_2_is_merged(other: OtherServer, form: str) -> None:
    other.pages["/openapi/v2"] = SPEC
    async with other.served(), aggregating(other, api_service(is_available=False)) as front:
        async with front.session.get("/openapi/v2", headers={"Accept": form}) as answer:
            before = await answer.read()
        front.lookup.put(api_service(caBundle=other.bundle))
        async with front.session.get("/openapi/v2", headers={"Accept": form}) as answer:
            after, etag = await answer.read(), answer.headers["ETag"]
        path, evil = f"/{PATH}/things".encode(), b"/apis/apps/v1/evil"
        assert path in after
        assert path not in before
        assert evil not in after
        assert b"Unused" not in after
        if form == "application/json":
            assert msgspec.json.decode(after)["definitions"]["Thing"] == {"type": "object"}
        headers = {"Accept": form, "If-None-Match": etag}
        async with front.session.get("/openapi/v2", headers=headers) as answer:
            assert answer.status == 304
        assert len([one for one in other.read if one.path == "/openapi/v2"]) == 1


@pytest.mark.parametrize(
    "page",
    [
        web.Response(status=500),
        web.Response(text="{"),
        web.Response(text='{"paths":{"/apis/things.example.com/v1/x":1}}'),
        web.Response(body=b" " * (AGGREGATED_OPENAPI.value + 1)),
    ],
)
async def test_a_document_that_cannot_be_read_is_left_out(
    other: OtherServer, page: web.Response
) -> None:
    other.pages["/openapi/v2"] = other.pages["/openapi/v3"] = page
    other.pages["/openapi/v3"] = index()
    other.pages[f"/openapi/v3/{PATH}"] = page
    async with other.served(), aggregating(other) as front:
        await refreshed(front)
        status, text = await front.get("/openapi/v2")
        assert status == 200
        assert "things.example.com" not in text
        if page.status != 200 or len(page.body or b"") > AGGREGATED_OPENAPI.value:  # type: ignore[arg-type]  # bytes
            status, text = await front.get(f"/openapi/v3/{PATH}")
            assert status == 503
            assert "error trying to reach service: " in text


async def test_what_is_kept_is_bounded(other: OtherServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AGGREGATED_OPENAPI_KEPT, "value", 10)
    other.pages["/openapi/v2"] = SPEC
    async with other.served(), aggregating(other) as front:
        before = AGGREGATED_OPENAPI_KEPT.times_reached
        status, text = await front.get("/openapi/v2")
        assert status == 200
        assert "things.example.com" not in text
        assert AGGREGATED_OPENAPI_KEPT.times_reached > before


async def test_a_built_in_version_that_is_delegated_is_documented_by_the_other_server(
    other: OtherServer,
) -> None:
    other.pages["/apis/batch/v1"] = {"resources": []}
    url = "/openapi/v3/apis/batch/v1?hash=AB"
    other.pages["/openapi/v3"] = {"paths": {"apis/batch/v1": {"serverRelativeURL": url}}}
    other.pages["/openapi/v3/apis/batch/v1"] = DOCUMENT
    async with other.served(), aggregating(other) as front:
        assert "readBatchV1NamespacedJob" in (await front.get("/openapi/v2"))[1]
        front.lookup.put(api_service("batch", caBundle=other.bundle))
        await refreshed(front)
        assert (await paths(front))["apis/batch/v1"] == url
        status, text = await front.get(url)
        assert (status, msgspec.json.decode(text)) == (200, DOCUMENT)
        assert "readBatchV1NamespacedJob" not in (await front.get("/openapi/v2"))[1]


@pytest.mark.parametrize(
    ("url", "is_kept"),
    [
        ("/openapi/v3/apis/a/v1?hash=AB12", "AB12"),
        ("/openapi/v3/apis/a/v1", ""),
        ("/x?hash=a%0d%0aSet-Cookie:b", ""),
        ("/x?hash=" + "A" * 1000, ""),
        ("http://[", ""),
    ],
)
def test_a_hash_is_passed_on_only_if_it_can_be(url: str, is_kept: str) -> None:
    found = hash_of(url)
    assert found == is_kept if is_kept else len(found) == 64


async def test_a_server_that_is_silent_holds_up_the_merged_document_once(
    other: OtherServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering = asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/openapi/v2":
            await answering.wait()
        return await other.page(request)

    other.pages["/openapi/v3"] = index()
    other.pages["/openapi/v2"] = SPEC
    other.answer = hang
    async with other.served(), aggregating(other) as front:
        await refreshed(front)
        monkeypatch.setattr(AGGREGATED_DISCOVERY_SECONDS, "value", 0.05)
        assert GROUP not in (await front.get("/openapi/v2"))[1]
        answering.set()
        async with asyncio.timeout(10):
            while GROUP not in (await front.get("/openapi/v2"))[1]:
                pass
    assert len([one for one in other.read if one.path == "/openapi/v2"]) == 1
