"""Watches and logs over WebSocket, with aiohttp's client as the other side."""

import asyncio
import base64

import aiohttp
import pytest
from fakes.server import Server
from fakes.serving import EverybodyIsAdmin, parts_of, serving

from kubelite.api.auth.caller import Caller, Credentials
from kubelite.api.http.websocket import BEARER_PROTOCOL, BINARY, closed, frame

NAMESPACES = "/api/v1/namespaces"


async def test_a_watch() -> None:
    server = Server()
    await server.create("v1/namespaces", {"metadata": {"name": "a"}})
    async with (
        serving(parts_of(server.verbs)) as (api, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.ws_connect(NAMESPACES, params={"watch": "1"}) as socket:
            first = await socket.receive_json()
            assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "a")
            await server.create("v1/namespaces", {"metadata": {"name": "b"}})
            assert (await socket.receive_json())["object"]["metadata"]["name"] == "b"
            assert api.watch_count == 1
        async with asyncio.timeout(5):
            while api.watch_count:
                await asyncio.sleep(0)


async def test_a_watch_that_ends_says_so() -> None:
    server = Server()
    async with (
        serving(parts_of(server.verbs)) as (api, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.ws_connect(NAMESPACES, params={"watch": "1"}) as socket,
    ):
        while not api.watch_count:
            await asyncio.sleep(0)
        stopping = asyncio.create_task(api.stop(1.0))
        message = await socket.receive()
        while message.type == aiohttp.WSMsgType.TEXT:  # the bookmark
            message = await socket.receive()
        assert message.type == aiohttp.WSMsgType.CLOSE
        await stopping


async def test_a_handshake_that_is_none() -> None:
    async with (
        serving(parts_of(Server().verbs)) as (_, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "8"}
        async with session.get(NAMESPACES, params={"watch": "1"}, headers=headers) as response:
            assert response.status == 400


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
async def test_frames_are_read_back_at_their_length(size: int) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(frame(b"x" * min(size, 60_000), BINARY) + b"\x88\x00" + b"rest")
    await closed(reader)
    assert await reader.read(4) == b"rest"
    assert len(frame(b"x" * size, BINARY)) == size + (
        2 if size < 126 else 4 if size < 65536 else 10
    )


async def test_a_client_that_leaves_has_closed() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"\x81")
    reader.feed_eof()
    await closed(reader)


class Noted(EverybodyIsAdmin):
    """Takes every caller for the administrator, and notes the tokens."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    async def authenticate(self, credentials: Credentials) -> Caller:
        self.tokens.append(credentials.bearer_token)
        return await super().authenticate(credentials)


def carrying(token: bytes) -> str:
    """Return the subprotocol that carries a token."""
    return BEARER_PROTOCOL + base64.urlsafe_b64encode(token).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("protocols", "token"),
    [
        ((carrying(b"secret"), "json.k8s.io"), "secret"),
        (("json.k8s.io", carrying("tökén".encode())), "tökén"),
        (("json.k8s.io",), ""),
        ((BEARER_PROTOCOL, "json.k8s.io"), ""),
    ],
)
async def test_a_token_may_come_as_a_subprotocol(protocols: tuple[str, ...], token: str) -> None:
    server, noted = Server(), Noted()
    async with (
        serving(parts_of(server.verbs, authenticator=noted)) as (_, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.ws_connect(NAMESPACES, params={"watch": "1"}, protocols=protocols) as socket,
    ):
        assert socket.protocol == "json.k8s.io"  # browsers insist on an answer
    assert noted.tokens == [token]


@pytest.mark.parametrize(
    "protocols",
    [
        (carrying(b"secret"),),  # nothing is left to answer
        (carrying(b"a"), carrying(b"b"), "json.k8s.io"),
        (carrying(b"\xff\xfe"), "json.k8s.io"),
        (BEARER_PROTOCOL + "a", "json.k8s.io"),
        (BEARER_PROTOCOL + "YQ==", "json.k8s.io"),
        (BEARER_PROTOCOL + "a+b/", "json.k8s.io"),
        (carrying(b"bad"), "json.k8s.io"),
    ],
)
async def test_a_token_that_cannot_be_read_proves_nothing(protocols: tuple[str, ...]) -> None:
    server = Server()
    async with (
        serving(parts_of(server.verbs)) as (_, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(NAMESPACES, params={"watch": "1"}, protocols=protocols)
        assert refused.value.status == 401


async def test_only_a_websocket_carries_a_token_so_and_a_header_goes_before_it() -> None:
    server, noted = Server(), Noted()
    headers = {"Sec-WebSocket-Protocol": f"{carrying(b'secret')}, json.k8s.io"}
    async with (
        serving(parts_of(server.verbs, authenticator=noted)) as (_, port),
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get(NAMESPACES, headers=headers) as answer:
            assert answer.status == 200
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Authorization": "Bearer other"}
        async with session.get(NAMESPACES, headers={**headers, **upgrade}) as answer:
            assert answer.status == 200
    assert noted.tokens == ["", "other"]
