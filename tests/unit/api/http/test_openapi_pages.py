from typing import cast

import pytest
from aiohttp import web

from kubelite.api.auth.caller import Caller
from kubelite.api.errors import MethodNotAllowed, NotFound
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
    with pytest.raises(NotFound):
        await page("/openapi/v3/apis/none/v1")(asked("/openapi/v3/apis/none/v1"))
    with pytest.raises(MethodNotAllowed):
        await page("/openapi/v3")(asked("/openapi/v3", method="POST"))


def test_rows_are_taken_anew_when_the_table_changes() -> None:
    rows = list(builtin_table().all())
    table = ResourceTable(rows[:2])
    pages = OpenAPIPages(table)
    assert len(pages.served()) == 2
    table.replace("", [rows[2]])
    assert len(pages.served()) == 3
