"""Discovery over HTTP."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from fakes.custom_resources import custom_resource
from fakes.server import Server
from fakes.serving import parts_of, serving


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    server = Server()
    server.resources.replace("example.com", [custom_resource("cats")])
    async with (
        serving(parts_of(server.verbs)) as (_, port),
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/apis/example.com/v1", 200),
        ("POST", "/apis/example.com/v1", 200),
        ("DELETE", "/apis/example.com", 200),
        ("POST", "/apis/example.com/v2", 404),
        ("POST", "/apis/apps/v1", 405),
        ("POST", "/apis", 405),
        ("GET", "/apis/none.example.com", 404),
    ],
)
async def test_custom_groups_answer_every_method(
    session: ClientSession, method: str, path: str, status: int
) -> None:
    """The API server's handler of custom groups does not look at the method."""
    async with session.request(method, path, json={}) as answer:
        assert answer.status == status
        if status == 404:
            assert answer.content_type == "text/plain"
            assert await answer.text() == "404 page not found\n"
            return
        shown = await answer.json()
        assert shown["kind"] in ("APIGroup", "APIResourceList", "Status")
