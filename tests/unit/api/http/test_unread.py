"""Clients that do not read: what they cost, and that nobody waits for them for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.http import unsent, watch, wire
from kubelite.api.http.app import APIServer
from kubelite.api.http.dispatch import Dispatcher
from kubelite.api.http.unsent import Unsent
from kubelite.api.registry.groups import Group
from kubelite.limits import UNSENT_OF_CALLER, UNSENT_OF_CONNECTION
from kubelite.store.protocol import Entry

PATH = "/api/v1/namespaces/default/configmaps"
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OBJECTS = 100
OBJECT_BYTES = 300_000  # what the kernel buffers is but a part of all of them


class Client:
    """A connection that reads when the test says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def ask(self, path: str, **headers: str) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def event(self) -> Any:
        size = int(await self.reader.readline(), 16)
        line = await self.reader.readexactly(size + 2)
        return msgspec.json.decode(line) if size else None

    async def body(self, headers: dict[str, str]) -> bytes:
        return await self.reader.readexactly(int(headers["content-length"]))


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Client]]:
    opened = [await asyncio.open_connection("127.0.0.1", port, limit=4096) for _ in range(count)]
    try:
        yield [Client(reader, writer) for reader, writer in opened]
    finally:
        for _, writer in opened:
            writer.transport.abort()


@pytest.fixture
async def cluster() -> Server:
    server = Server()
    for number in range(OBJECTS):
        body = {"metadata": {"name": f"c{number:03}"}, "data": {"a": "x" * OBJECT_BYTES}}
        await server.create("v1/configmaps", body)
    return server


def budget_of(server: APIServer) -> Unsent:
    dispatcher: Dispatcher = server._dispatcher
    return dispatcher._unsent


async def held(unsent: Unsent, amount: int) -> None:
    """Wait until so much, and no more, is held."""
    while unsent.budget.held != amount:
        await asyncio.sleep(0.001)


async def test_a_watch_begins_no_faster_than_it_is_read(
    cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    framed: list[int] = []
    added = Group.added

    def counted(self: Group, entry: Entry) -> bytes:
        framed.append(len(entry.value))
        return added(self, entry)

    monkeypatch.setattr(Group, "added", counted)
    async with serving(parts_of(cluster.verbs)) as (server, port), connected(port, 5) as clients:
        unsent = budget_of(server)
        for client in clients:
            client.ask(f"{PATH}?watch=true")
            assert (await client.head())[0] == 200
        while len(unsent._charges) < 5:
            await asyncio.sleep(0.001)
        assert len(framed) < 5 * OBJECTS / 2
        assert unsent.budget.held < 5 * 4 * OBJECT_BYTES
        await cluster.patch("v1/configmaps", "c000", {"data": {"a": "changed"}})
        await cluster.patch("v1/configmaps", "c099", {"data": {"a": "changed"}})
        async with asyncio.timeout(30):
            events = [await clients[0].event() for _ in range(OBJECTS + 1)]
        kinds = [event["type"] for event in events]
        assert (kinds.count("ADDED"), kinds.count("MODIFIED")) == (OBJECTS, 1)
        changed = events[kinds.index("MODIFIED")]["object"]
        assert changed["metadata"]["name"] == "c000"
        last = events[-1]["object"]
        assert (last["metadata"]["name"], last["data"]) == ("c099", {"a": "changed"})
    assert unsent.budget.held == 0


async def test_a_beginning_that_is_not_read_is_cut(
    cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BEGINNING_SECONDS", 0.05)
    async with serving(parts_of(cluster.verbs)) as (server, port), connected(port, 1) as (client,):
        client.ask(f"{PATH}?watch=true")
        await client.head()
        while server.watch_count:
            await asyncio.sleep(0.001)
        await held(budget_of(server), 0)


async def test_a_slow_watcher_gets_what_waited_for_it(cluster: Server) -> None:
    async with serving(parts_of(cluster.verbs)) as (server, port), connected(port, 1) as (client,):
        client.ask(f"{PATH}?watch=true&resourceVersion={cluster.store.revision}")
        await client.head()
        unsent = budget_of(server)
        changes = 0
        while not unsent.budget.held:
            body = {"data": {"a": str(changes), "b": "x" * OBJECT_BYTES}}
            await cluster.patch("v1/configmaps", "c000", body)
            changes += 1
        for number in range(5):
            await cluster.patch("v1/configmaps", "c000", {"data": {"a": str(changes + number)}})
        async with asyncio.timeout(30):
            events = [await client.event() for _ in range(changes + 5)]
        assert [event["object"]["data"]["a"] for event in events] == [
            str(number) for number in range(changes + 5)
        ]
        await held(unsent, 0)


@pytest.mark.parametrize("headers", [{}, WEBSOCKET])
async def test_a_watcher_too_far_behind_is_cut(
    cluster: Server, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
) -> None:
    monkeypatch.setattr(UNSENT_OF_CONNECTION, "value", 1_000_000)
    before = UNSENT_OF_CONNECTION.times_reached
    async with serving(parts_of(cluster.verbs)) as (server, port), connected(port, 1) as (client,):
        client.ask(f"{PATH}?watch=true&resourceVersion={cluster.store.revision}", **headers)
        await client.head()
        changes = 0
        while server.watch_count:
            body = {"data": {"a": str(changes), "b": "x" * OBJECT_BYTES}}
            await cluster.patch("v1/configmaps", "c000", body)
            changes += 1
        assert UNSENT_OF_CONNECTION.times_reached == before + 1
        await held(budget_of(server), 0)


async def test_unread_lists_of_one_identity_are_bounded(
    cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(map(len, cluster.list("v1/configmaps").items))
    monkeypatch.setattr(UNSENT_OF_CALLER, "value", size + size // 2)
    async with serving(parts_of(cluster.verbs)) as (server, port), connected(port, 2) as clients:
        first, second = clients
        unsent = budget_of(server)
        first.ask(PATH)
        _, headers = await first.head()
        await held(unsent, size)
        second.ask(PATH)
        while not unsent._waiting:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(30):
            assert len(await first.body(headers)) > size
            status, headers = await second.head()
            assert status == 200
            assert len(await second.body(headers)) > size
        await held(unsent, 0)


async def test_a_list_that_finds_no_room_is_refused(
    cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UNSENT_OF_CALLER, "value", OBJECT_BYTES)
    monkeypatch.setattr(unsent, "ROOM_SECONDS", 0.01)
    async with serving(parts_of(cluster.verbs)) as (_, port), connected(port, 2) as clients:
        clients[0].ask(PATH)
        await clients[0].head()
        clients[1].ask(f"{PATH}?limit=1")
        status, headers = await clients[1].head()
        assert (status, headers["retry-after"]) == (429, "1")
        await clients[1].body(headers)
        clients[1].ask(f"{PATH}/c000")
        assert (await clients[1].head())[0] == 429


async def test_an_answer_that_is_not_read_is_cut(
    cluster: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "SENDING_SECONDS", 0.05)
    async with serving(parts_of(cluster.verbs)) as (server, port), connected(port, 1) as (client,):
        client.ask(PATH)
        _, headers = await client.head()
        await held(budget_of(server), sum(map(len, cluster.list("v1/configmaps").items)))
        await held(budget_of(server), 0)
        with pytest.raises(asyncio.IncompleteReadError):
            await client.body(headers)
