"""The client over HTTP, against real verbs behind a loopback port."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.client.https import Request, error_of
from kubelite.api.client.remote import RemoteClient
from kubelite.api.errors import (
    APIError,
    Conflict,
    Invalid,
    NotFound,
    ServiceUnavailable,
    TooManyRequests,
    Unauthorized,
)
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.randomness import SeededRandomness


def client_at(port: int, token: str = "") -> RemoteClient:
    return RemoteClient(
        f"http://127.0.0.1:{port}/",
        ssl_context=None,
        token=(lambda: token) if token else None,
        randomness=SeededRandomness(3),
        field_manager="tester",
    )


@pytest.fixture
async def client() -> AsyncIterator[RemoteClient]:
    async with serving(parts_of(Server().verbs)) as (_, port):
        made = client_at(port)
        await made.create(Namespace(metadata=ObjectMeta(name="default")))
        yield made
        await made.close()


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():
            await asyncio.sleep(0.001)


async def test_all_verbs(client: RemoteClient) -> None:
    made = await client.create(config_map("a", k="1"))
    assert made.metadata.uid
    assert made.metadata.managedFields[0].manager == "tester"
    assert await client.get(ConfigMap, "a", "default") == made
    changed = await client.patch(ConfigMap, "a", {"data": {"k": "2"}}, "default")
    assert changed.data == {"k": "2"}
    with pytest.raises(Conflict):
        await client.update(made)
    assert [one.metadata.name for one in await client.list(ConfigMap, "default")] == ["a"]
    applied = await client.patch(
        ConfigMap,
        "b",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x": "y"}},
        "default",
        patch_type="apply",
        force=True,
    )
    assert applied.data == {"x": "y"}
    with pytest.raises(Conflict):
        await client.delete(ConfigMap, "a", "default", uid="other")
    await client.delete(ConfigMap, "a", "default", uid=made.metadata.uid, propagation="Background")
    with pytest.raises(NotFound) as missing:
        await client.get(ConfigMap, "a", "default")
    assert (missing.value.kind, missing.value.name) == ("configmaps", "a")


async def test_lists_longer_than_a_page(client: RemoteClient) -> None:
    for index in range(501):
        await client.create(config_map(f"c{index:03}"))
    assert len(await client.list(ConfigMap)) == 501


async def test_errors_carry_their_causes(client: RemoteClient) -> None:
    with pytest.raises(APIError) as refused:
        await client.patch(Deployment, "none", {}, "default")
    assert isinstance(refused.value, NotFound)


async def test_a_mirror_follows(client: RemoteClient) -> None:
    await client.create(config_map("a"))
    mirror = client.mirror(ConfigMap, "default")
    assert client.mirror(ConfigMap, "default") is mirror
    await mirror.synced()
    assert [one.metadata.name for one in mirror.list()] == ["a"]
    seen: list[tuple[ConfigMap | None, ConfigMap | None]] = []
    mirror.subscribe(lambda before, after: seen.append((before, after)))
    await client.create(config_map("b"))
    await until(lambda: len(seen) == 2)
    await client.patch(ConfigMap, "b", {"data": {"x": "y"}}, "default")
    await until(lambda: len(seen) == 3)
    await client.delete(ConfigMap, "b", "default")
    await until(lambda: mirror.get("b", "default") is None)


async def test_one_object_is_followed_by_one_watch_for_all(client: RemoteClient) -> None:
    told: list[str] = []
    await client.create(config_map("a"))
    end = client.follow(ConfigMap, "a", "default", lambda: told.append("first"))
    await until(lambda: "first" in told)  # the list has arrived
    other = client.follow(ConfigMap, "a", "default", lambda: told.append("second"))
    assert len(client._mirrors) == 1
    await client.create(config_map("b"))
    await client.patch(ConfigMap, "a", {"data": {"x": "y"}}, "default")
    await until(lambda: told == ["first", "first", "second"])
    end()
    await client.delete(ConfigMap, "a", "default")
    await until(lambda: told[3:] == ["second"])
    other()
    assert not client._mirrors
    await until(lambda: not client._tasks._tasks)


async def test_a_mirror_of_metadata(client: RemoteClient) -> None:
    await client.create(config_map("a", k="v"))
    mirror = client.resource("", "v1", "configmaps").metadata_mirror()
    await mirror.synced()
    assert [one.metadata.name for one in mirror.list()] == ["a"]


async def test_a_mirror_outlives_its_server() -> None:
    server = Server()
    async with serving(parts_of(server.verbs)) as (_, port):
        client = client_at(port)
        await client.create(Node(metadata=ObjectMeta(name="n1")))
        mirror = client.mirror(Node)
        await mirror.synced()
    await server.client.create(Node(metadata=ObjectMeta(name="n2")))
    api = parts_of(server.verbs)
    from kubelite.api.http.app import APIServer

    again = APIServer(api, ssl_context=None)
    await again.start("127.0.0.1", port)
    try:
        await until(lambda: mirror.get("n2") is not None)
    finally:
        await client.close()
        await again.stop(0.1)


async def test_a_refused_caller(client: RemoteClient) -> None:
    async with serving(parts_of(Server().verbs)) as (_, port):
        stranger = client_at(port, token="bad")
        with pytest.raises(Unauthorized):
            await stranger.get(Node, "n1")
        await stranger.close()


async def test_a_server_that_is_not_there() -> None:
    client = client_at(1)
    with pytest.raises(ServiceUnavailable, match="cannot reach"):
        await client.get(Node, "n1")
    await client.close()


async def test_raw_lines(client: RemoteClient) -> None:
    request = Request("GET", "/api/v1/namespaces", {"watch": "1", "timeoutSeconds": "1"})
    lines = client.transport.lines(request)
    first = await anext(lines)
    assert first.startswith(b'{"type":"ADDED"')
    await lines.aclose()


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (404, b'{"kind":"Status","reason":"NotFound","message":"x"}', NotFound),
        (422, b'{"reason":"Invalid","details":{"causes":[{"field":"a"}]}}', Invalid),
        (404, b"404 page not found", NotFound),
        (429, b"", TooManyRequests),
        (502, b"<html>", APIError),
    ],
)
def test_errors(code: int, body: bytes, kind: type[APIError]) -> None:
    error = error_of(code, body, "3")
    assert type(error) is kind
    assert error.retry_after_seconds == 3
    assert error.code == code
