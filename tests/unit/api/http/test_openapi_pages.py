import json
from typing import Any, cast

import pytest
from aiohttp import web
from fakes.custom_resources import custom_resource
from fakes.recorded_offload import RecordedOffload

from kubelite.api.auth.caller import Caller
from kubelite.api.errors import MethodNotAllowed
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.openapi import OpenAPIPages
from kubelite.api.http.pages import ServePage
from kubelite.api.http.request import Query, parse
from kubelite.api.machinery.openapi_v2 import PROTOBUF
from kubelite.api.registry.builtin import builtin_table
from kubelite.api.registry.table import ResourceTable


class FixedRequest:
    """What the pages look at in a request."""

    def __init__(self, method: str, headers: dict[str, str]) -> None:
        self.method = method
        self.headers = headers


PAGES = OpenAPIPages(builtin_table())


def page(path: str) -> ServePage:
    pages = PAGES.pages()
    return pages.get(path) or pages["/openapi/v3/*"]


def asked(path: str, query: Query | None = None, method: str = "GET", **headers: str) -> Asked:
    request = FixedRequest(
        method, {name.replace("_", "-"): value for name, value in headers.items()}
    )
    return Asked(
        request=cast(web.BaseRequest, request),
        target=parse(method, path),
        query=query or {},
        caller=Caller("admin"),
        audit_id="",
        headers=[],
    )


async def test_the_index_leads_to_documents_that_may_be_kept() -> None:
    path = "/openapi/v3/apis/apps/v1"
    plain = await page(path)(asked(path))
    assert plain.headers is not None
    wanted = plain.headers["ETag"].strip('"')
    index = await page("/openapi/v3")(asked("/openapi/v3"))
    assert f"{path}?hash={wanted}".encode() in index.body
    kept = await page(path)(asked(path, {"hash": [wanted]}))
    assert "immutable" in kept.cache_control
    assert kept.body == plain.body


async def test_an_outdated_hash_leads_to_the_current_one() -> None:
    path = "/openapi/v3/api/v1"
    moved = await page(path)(asked(path, {"hash": ["0"]}))
    assert moved.status == 301
    assert moved.headers is not None
    assert moved.headers["Location"].startswith(f"{path}?hash=")


async def test_what_is_known_is_not_sent_again() -> None:
    first = await page("/openapi/v2")(asked("/openapi/v2"))
    assert first.headers is not None
    again = await page("/openapi/v2")(asked("/openapi/v2", If_None_Match=first.headers["ETag"]))
    assert (again.status, again.body) == (304, b"")


@pytest.mark.parametrize("accept", [PROTOBUF, PROTOBUF.replace("v2.v1.0", "v2@v1.0")])
async def test_client_go_gets_its_protobuf(accept: str) -> None:
    reply = await page("/openapi/v2")(asked("/openapi/v2", Accept=accept))
    assert reply.content_type == PROTOBUF
    assert reply.body.startswith(b"\x0a\x032.0")


async def test_what_is_not_served_is_not_found() -> None:
    missing = await page("/openapi/v3/apis/none/v1")(asked("/openapi/v3/apis/none/v1"))
    assert (missing.status, missing.body) == (404, b"")
    with pytest.raises(MethodNotAllowed):
        await page("/openapi/v3")(asked("/openapi/v3", method="POST"))


def test_rows_are_taken_anew_when_the_table_changes() -> None:
    rows = list(builtin_table().all())
    table = ResourceTable(rows[:2])
    pages = OpenAPIPages(table)
    assert len(pages.served()) == 2
    table.replace("", [rows[2]])
    assert len(pages.served()) == 3


COLOR = {"type": "object", "properties": {"color": {"type": "string", "description": "A hue."}}}


async def test_custom_resources_are_documented_while_they_are_served() -> None:
    table = builtin_table()
    pages = OpenAPIPages(table).pages()

    async def shown(path: str) -> dict[str, Any]:
        page = pages.get(path) or pages["/openapi/v3/*"]
        document: dict[str, Any] = json.loads((await page(asked(path))).body)
        return document

    name, path = "com.example.v1.Cat", "/openapi/v3/apis/example.com/v1"
    row = custom_resource("cats", schema=COLOR)
    assert name not in (await shown("/openapi/v2"))["definitions"]
    table.replace("example.com", [row])
    made = (await shown("/openapi/v2"))["definitions"][name]
    assert made["properties"]["color"] == {"type": "string", "description": "A hue."}
    document = await shown(path)
    assert document["components"]["schemas"][name]["properties"]["color"]["type"] == "string"
    root = "/apis/example.com/v1/namespaces/{namespace}/cats/{name}"
    reference = {"$ref": f"#/components/schemas/{name}"}
    answers = {
        of: document["paths"][root + of]["get"]["responses"]["200"]["content"]
        for of in ("", "/status", "/scale")
    }
    assert answers[""]["application/json"]["schema"] == reference
    assert answers["/status"] == answers[""]
    scale = answers["/scale"]["application/json"]["schema"]["$ref"]
    assert scale.endswith("io.k8s.api.autoscaling.v1.Scale")
    table.replace("example.com", [])
    assert name not in (await shown("/openapi/v2"))["definitions"]
    assert (await pages["/openapi/v3/*"](asked(path))).status == 404


async def test_a_row_without_a_schema_is_documented_without_fields() -> None:
    row = custom_resource("cats")
    pages = OpenAPIPages(ResourceTable([row])).pages()
    reply = await pages["/openapi/v3/*"](asked("/openapi/v3/apis/example.com/v1"))
    made = json.loads(reply.body)["components"]["schemas"]["com.example.v1.Cat"]
    assert "properties" not in made


async def test_many_new_rows_are_read_off_the_loop() -> None:
    offload = RecordedOffload()
    table = builtin_table()
    pages = OpenAPIPages(table, offload=offload)
    index = pages.pages()["/openapi/v3"]
    await index(asked("/openapi/v3"))
    assert offload.leaves_the_loop
    offload.costs.clear()
    await index(asked("/openapi/v3"))
    assert offload.costs == []
    table.replace("example.com", [custom_resource("cats")])
    await index(asked("/openapi/v3"))
    assert len(offload.costs) == 2, "the new row, and the hash of its schema"
