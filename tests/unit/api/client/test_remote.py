"""The client over HTTP, against real verbs behind a loopback port."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.client import https
from kubelite.api.client.availability import BROKEN_MAX
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
from kubelite.api.http.app import APIServer
from kubelite.api.kinds.apps import Deployment
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.limits import RETIRED_SECONDS
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


async def test_a_server_that_was_restored_from_a_snapshot_is_listed_anew() -> None:
    """The real server lets a watch from a revision to come wait, as upstream: the client finds it out."""
    before, after = Server(), Server()
    async with serving(parts_of(before.verbs)) as (_, port):
        client = client_at(port)
        for name in ("kept", "lost-1", "lost-2", "lost-3"):
            await client.create(Node(metadata=ObjectMeta(name=name)))
        mirror = client.mirror(Node)
        await mirror.synced()
        assert len(mirror.list()) == 4
    await after.client.create(Node(metadata=ObjectMeta(name="kept")))
    again = APIServer(parts_of(after.verbs), ssl_context=None)
    await again.start("127.0.0.1", port)
    try:
        await until(lambda: [one.metadata.name for one in mirror.list()] == ["kept"])
        await after.client.create(Node(metadata=ObjectMeta(name="new")))
        await until(lambda: mirror.get("new") is not None)
    finally:
        await client.close()
        await again.stop(0.1)


@asynccontextmanager
async def mute(answer: bytes = b"") -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a server that accepts, sends `answer` and no more; yields its port and what it was sent."""
    heard: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def test_a_server_that_accepts_and_never_answers_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(https, "REQUEST_TIMEOUT_SECONDS", 0.05)
    async with mute() as (port, heard):
        client = client_at(port)
        with pytest.raises(ServiceUnavailable, match="cannot reach"):
            await client.get(Node, "n1")
        assert client.transport.availability.is_away
        for _ in range(20):  # these fail at once, and are not sent
            with pytest.raises(ServiceUnavailable, match="cannot reach"):
                await client.get(Node, "n1")
        assert len(heard) == 1
        lines = client.transport.lines(Request("GET", "/api/v1/nodes", {"watch": "1"}))
        await until(
            lambda: asyncio.get_running_loop().time() > client.transport.availability._next_try
        )
        with pytest.raises(ServiceUnavailable, match="cannot reach"):
            await anext(lines)  # nor does a watch wait for its head
        assert len(heard) == 2
        await client.close()


async def test_a_server_that_accepts_and_closes_is_noticed() -> None:
    accepted = 0

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    client = client_at(server.sockets[0].getsockname()[1])
    for _ in range(20):
        with pytest.raises(ServiceUnavailable, match="cannot reach"):
            await client.get(Node, "n1")
    assert client.transport.availability.is_away
    assert accepted <= 2 * BROKEN_MAX + 2  # aiohttp itself tries a GET twice
    await client.close()
    server.close()


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("File descriptor 24 is used by transport <TCPTransport closed=False>", ServiceUnavailable),
        ("Connection closed.", ServiceUnavailable),
        ("something else", RuntimeError),
    ],
)
async def test_a_connection_that_the_loop_or_its_library_gave_up_is_a_failed_one(
    said: str, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", refuse)
    client = client_at(1)
    with pytest.raises(raised, match=said.partition("<")[0]):
        await client.get(Node, "n1")
    await client.close()


async def test_a_watch_without_a_byte_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(https, "SILENCE_SECONDS_MAX", 0.05)
    async with mute(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") as (port, _):
        client = client_at(port)
        lines = client.transport.lines(Request("GET", "/api/v1/nodes", {"watch": "1"}))
        with pytest.raises(ServiceUnavailable, match="cannot reach"):
            await anext(lines)
        # The server had answered, so it is there; what it said no more belongs to this watch.
        assert not client.transport.availability.is_away
        await client.close()


async def test_connections_of_a_former_context_are_closed(client: RemoteClient) -> None:
    transport = client.transport
    await client.get(Namespace, "default")
    former = transport._pool
    assert former is not None
    mirror = client.mirror(ConfigMap, "default")
    await mirror.synced()
    await until(lambda: bool(former._streams))  # the watch
    transport.ssl_context = None  # replaced
    await client.create(config_map("a"))
    assert transport._pool is not former
    assert [len(former._timers), former.session.closed] == [2, False]
    for end in list(former._streams):  # its time has come
        end()
    await until(lambda: former.session.closed)
    await client.create(config_map("b"))
    await until(lambda: mirror.get("b", "default") is not None)  # resumed on a new connection
    idle = transport._pool
    await client.transport.send(Request("GET", "/version"))
    assert idle is transport._pool


async def test_after_a_reconnect_watches_resume_on_new_connections(client: RemoteClient) -> None:
    transport = client.transport
    mirror = client.mirror(ConfigMap, "default")
    await mirror.synced()
    former = transport._pool
    assert former is not None
    await until(lambda: bool(former._streams))  # the watch
    transport.reconnect()
    await until(lambda: former.session.closed)
    await client.create(config_map("a"))
    await until(lambda: mirror.get("a", "default") is not None)
    assert not transport.availability.is_away
    assert transport._pools == {transport._pool}


async def test_a_watch_that_is_cut_off_between_two_reads_ends() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with mute(head + b"3\r\n{}\n\r\n") as (port, _):
        client = client_at(port)
        lines = client.transport.lines(Request("GET", "/api/v1/nodes", {"watch": "1"}))
        assert await anext(lines) == b"{}"
        client.transport.reconnect()  # while nobody waits for the next line
        assert await anext(lines, b"the end") == b"the end"
        await client.close()


async def test_watches_from_before_an_absence_end_when_the_server_is_back() -> None:
    """A server whose host lost power has forgotten them, and nothing tells the client."""
    resets = 4
    writers: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal resets
        writers.append(writer)
        asked = await reader.readuntil(b"\r\n\r\n")
        if b"watch" in asked:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        elif resets:
            resets -= 1
            writer.transport.abort()
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    client = client_at(server.sockets[0].getsockname()[1])
    transport, loop = client.transport, asyncio.get_running_loop()
    watching = asyncio.create_task(
        anext(transport.lines(Request("GET", "/api/v1/nodes", {"watch": "1"})), b"the end")
    )
    await until(lambda: transport._pool is not None and bool(transport._pool._streams))
    patch = Request("PATCH", "/api/v1/nodes/n1", body={})  # which nothing repeats by itself
    while resets:
        await until(lambda: loop.time() > transport.availability._next_try)
        with pytest.raises(ServiceUnavailable):
            await transport.send(patch)
    assert transport.availability.is_away
    assert not watching.done()
    await until(lambda: loop.time() > transport.availability._next_try)
    assert await transport.send(patch) == b"{}"
    async with asyncio.timeout(5):
        assert await watching == b"the end"
    await client.close()
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0)


async def test_a_reconnect_cuts_off_requests_in_flight() -> None:
    async with mute() as (port, heard):
        client = client_at(port)
        asking = asyncio.create_task(client.get(Node, "n1"))
        await until(lambda: bool(heard))
        client.transport.reconnect()
        client.transport.reconnect()  # there is nothing left to close
        with pytest.raises(ServiceUnavailable):
            await asking
        assert not client.transport.availability.is_away  # the server is not to blame
        await client.close()


async def test_a_request_in_flight_may_end_on_its_old_connection(client: RemoteClient) -> None:
    reading = asyncio.create_task(client.get(Namespace, "default"))
    while (former := client.transport._pool) is None or not former.requests:
        await asyncio.sleep(0)
    client.transport.ssl_context = None
    assert (await reading).metadata.name == "default"
    await until(lambda: former.session.closed)


async def test_a_request_that_outlasts_its_connections_time_is_cut_off() -> None:
    async with mute() as (port, heard):
        client = client_at(port)
        asking = asyncio.create_task(client.get(Node, "n1"))
        await until(lambda: bool(heard))
        former = client.transport._pool
        assert former is not None
        client.transport.ssl_context = None
        times = RETIRED_SECONDS.times_reached
        former._too_late()
        with pytest.raises(ServiceUnavailable):
            await asking
        assert RETIRED_SECONDS.times_reached == times + 1
        await client.close()


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
