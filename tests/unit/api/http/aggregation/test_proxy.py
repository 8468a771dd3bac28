"""Requests to other API servers: what is passed on, and what a server or a client may do wrong."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from fakes.aggregated import OtherServer, Serve, aggregating, api_service, external
from fakes.serving import AllowEverything

from kubelite.api.auth.caller import Allowed, Attributes, Caller, Credentials
from kubelite.api.errors import Forbidden
from kubelite.api.http.destinations import Destinations
from kubelite.api.kinds.apiregistration import APIService
from kubelite.api.kinds.core.services import Service
from kubelite.limits import (
    AGGREGATED_DISCOVERY_SECONDS,
    AGGREGATED_REQUESTS,
    BACKEND_HEAD_SECONDS,
    REQUEST_SECONDS,
    STREAM_BUFFER,
)

THINGS = "/apis/things.example.com/v1/things"


class Named:
    """Takes every caller for one identity."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def authenticate(self, credentials: Credentials) -> Caller:
        return self._caller


ANN = Caller("ann", ("dev", "system:authenticated"), "u-1", {"example.com/scope": ("a", "b")})


@pytest.fixture
def other(tmp_path: Path) -> OtherServer:
    server = OtherServer(tmp_path)
    server.pages[THINGS] = {"kind": "ThingList"}
    return server


async def test_the_other_server_learns_who_calls_from_us_alone(other: OtherServer) -> None:
    forged = {
        "X-Remote-User": "root",
        "x-remote-group": "system:masters",
        "X_Remote_Group": "system:masters",
        "X-Remote-Extra-Scopes": "all",
        "X-Remote-Anything": "1",
        "Authorization": "Bearer secret",
        "Audit-Id": "mine",
        "X-Forwarded-For": "192.0.2.9",
        "X-Forwarded-Host": "evil.example.com",
        "Connection": "X-Remote-Group",
        "Custom": "kept",
    }
    async with other.served(), aggregating(other, authenticator=Named(ANN)) as front:
        status, text = await front.get(f"{THINGS}?limit=5&labelSelector=a%3Db", **forged)
    assert (status, text) == (200, '{"kind":"ThingList"}')
    (asked,) = other.asked
    assert asked.path == f"{THINGS}?limit=5&labelSelector=a%3Db"
    assert asked.shown == "front-proxy-client"
    named = sorted((name, value) for name, value in asked.headers if "emote" in name)
    assert named == [
        ("X-Remote-Extra-example.com%2Fscope", "a"),
        ("X-Remote-Extra-example.com%2Fscope", "b"),
        ("X-Remote-Group", "dev"),
        ("X-Remote-Group", "system:authenticated"),
        ("X-Remote-Uid", "u-1"),
        ("X-Remote-User", "ann"),
    ]
    assert not asked.all("Authorization")
    assert asked.all("Audit-Id") == ["mine"]  # as upstream, a client may name its request
    assert asked.all("X-Forwarded-For") == ["192.0.2.9, 127.0.0.1"]
    assert asked.all("X-Forwarded-Host") == [f"127.0.0.1:{other.port}"]
    assert asked.all("Custom") == ["kept"]


@pytest.mark.parametrize("user", ["ann\r\nX-Remote-Group: system:masters", " admin", "admin\t"])
async def test_no_identity_becomes_another_in_a_header(other: OtherServer, user: str) -> None:
    async with other.served(), aggregating(other, authenticator=Named(Caller(user))) as front:
        status, text = await front.get(THINGS)
    assert (status, other.asked) == (503, [])
    assert text == (
        'error trying to reach service: net/http: invalid header field value for "X-Remote-User"\n'
    )


class OnlyThings(AllowEverything):
    """Allows things alone."""

    def __init__(self) -> None:
        self.seen: list[Attributes] = []

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        self.seen.append(attributes)
        if attributes.resource != "things":
            raise Forbidden("no")
        return Allowed(caller, attributes)


async def test_requests_are_authorized_before_they_are_passed_on(other: OtherServer) -> None:
    doors = OnlyThings()
    base = "/apis/things.example.com/v1/namespaces/a"
    other.pages[f"{base}/things/x/port/22/tcp"] = {}
    async with other.served(), aggregating(other, authorizer=doors) as front:
        assert (await front.get(f"{base}/secrets"))[0] == 403
        assert (await front.get("/apis/things.example.com/v1"))[0] == 403
        assert not other.asked
        assert (await front.get(f"{base}/things/x/port/22/tcp"))[0] == 200
    assert (doors.seen[-1].subresource, doors.seen[-1].verb) == ("port", "get")


async def test_an_unavailable_server_is_not_asked(other: OtherServer) -> None:
    async with other.served(), aggregating(other, api_service(is_available=False)) as front:
        assert await front.get(THINGS) == (503, "service unavailable\n")
        assert await front.get("/apis/things.example.com/v1") == (503, "service unavailable\n")
    assert not other.asked


async def test_a_backend_that_flaps_is_answered_for_by_its_condition(other: OtherServer) -> None:
    """Requests follow the condition Available at once; discovery lists the version as stale meanwhile."""
    async with other.served(), aggregating(other) as front:
        for is_available in (True, False, True, False, True):
            front.lookup.put(api_service(caBundle=other.bundle, is_available=is_available))
            assert (await front.get(THINGS))[0] == (200 if is_available else 503)
            assert (await front.get("/apis"))[0] == 200
        front.lookup.remove(APIService, "v1.things.example.com")
        assert (await front.get(THINGS))[0] == 404


async def test_connections_are_kept_on_both_sides(other: OtherServer) -> None:
    async with other.served(), aggregating(other) as front:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        for _ in range(5):
            writer.write(f"GET {THINGS} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            assert await reader.readexactly(20) == b'{"kind":"ThingList"}'
        writer.write(f"GET {THINGS} HTTP/1.0\r\nHost: a\r\n\r\n".encode())
        assert (await reader.read()).endswith(b'{"kind":"ThingList"}')
        writer.close()
    assert len(other.asked) == 6
    assert len(other.connections) == 1


async def test_a_connection_closed_while_idle_is_not_the_clients_trouble(
    other: OtherServer,
) -> None:
    answers = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer once on each connection; close it when the second request comes."""
        nonlocal answers
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            if THINGS.encode() in head:
                answers += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await reader.readuntil(b"\r\n\r\n")
        writer.close()

    other.serve = serve
    async with other.served(), aggregating(other) as front:
        for _ in range(4):
            assert await front.get(THINGS) == (200, "ok")
        async with front.session.post(THINGS, data=b"{}") as answer:  # must not be done twice
            assert answer.status == 503
            assert await answer.text() == "error trying to reach service: EOF\n"
    assert answers == 4


async def test_bodies_pass_while_they_come_in_both_directions(other: OtherServer) -> None:
    async def echo(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        await answer.prepare(request)
        async for part in request.content.iter_any():
            await answer.write(part)
        await answer.write_eof()
        return answer

    got = asyncio.Event()

    async def sent() -> AsyncIterator[bytes]:
        yield b"first"
        await got.wait()
        yield b"x" * 1_000_000

    async with other.served(), aggregating(other) as front:
        other.answer = echo
        async with front.session.post(THINGS, data=sent()) as answer:
            assert await answer.content.readexactly(5) == b"first"
            got.set()
            assert len(await answer.read()) == 1_000_000
        async with front.session.put(THINGS, data=io.BytesIO(b"y" * 5_000_000)) as answer:
            assert len(await answer.read()) == 5_000_000


class Seats:
    """Counts the seats that are held."""

    def __init__(self) -> None:
        self.held = 0

    @asynccontextmanager
    async def seat(
        self, caller: Caller, attributes: Attributes, headers: list[tuple[str, str]]
    ) -> AsyncIterator[None]:
        headers.append(("X-Kubernetes-Pf-Flowschema-Uid", "f"))
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


@pytest.mark.parametrize(
    ("path", "held"),
    [(THINGS, 1), (f"{THINGS}?watch=true", 0), (f"{THINGS}/a/log?follow=true", 0)],
)
async def test_long_running_requests_hold_no_seat(other: OtherServer, path: str, held: int) -> None:
    seats, ended = Seats(), asyncio.Event()

    async def drip(request: web.BaseRequest) -> web.StreamResponse:
        if not request.path.startswith(THINGS):
            return web.Response(status=404)
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"type":"ADDED"}\n')
        await ended.wait()
        return answer

    other.answer = drip
    async with (
        other.served(),
        aggregating(other, flow=seats) as front,
        front.session.get(path) as answer,
    ):
        assert answer.headers["X-Kubernetes-Pf-Flowschema-Uid"] == "f"
        assert await answer.content.readline() == b'{"type":"ADDED"}\n'
        assert seats.held == held
        ended.set()
        await answer.read()


async def test_a_client_that_leaves_ends_its_watch_at_the_other_server(other: OtherServer) -> None:
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"watch=1" not in head:
            writer.close()
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        with suppress(ConnectionError, ssl.SSLError):
            await reader.read()
        left.set()
        writer.transport.abort()

    other.serve = serve
    async with other.served(), aggregating(other) as front:
        async with front.session.get(f"{THINGS}?watch=1") as answer:
            assert await answer.content.readexactly(1) == b"a"
            answer.close()
        async with asyncio.timeout(10):
            await left.wait()


async def test_upgrades_pass_both_ways(other: OtherServer) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"Upgrade" not in head:
            writer.close()
            return
        heads.append(head)
        if b"/refused" in head:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            return
        if b"/ignored" in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nhi"
        )
        while data := await reader.read(1000):
            writer.write(data.upper())
        writer.close()

    def opening(path: str) -> bytes:
        lines = (
            f"POST {THINGS}/a/{path} HTTP/1.1",
            *("Host: a", "Connection: Upgrade", "Upgrade: SPDY/3.1", "X-Remote-User: root"),
            *("X-Stream-Protocol-Version: v4.channel.k8s.io", "Content-Length: 0", "", ""),
        )
        return "\r\n".join(lines).encode()

    other.serve = serve
    async with other.served(), aggregating(other, authenticator=Named(ANN)) as front:
        for path, status in (("refused", b"403"), ("ignored", b"503"), ("exec", b"101")):
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(opening(path))
            assert (await reader.readline()).split()[1] == status
            await reader.readuntil(b"\r\n\r\n")
            if path == "exec":
                assert await reader.readexactly(2) == b"hi"
                writer.write(b"shout")
                assert await reader.readexactly(5) == b"SHOUT"
            writer.close()
    assert b"X-Remote-User: ann\r\n" in heads[-1]
    assert b"root" not in heads[-1]
    assert b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\n" in heads[-1]


async def test_the_other_server_sends_nobody_elsewhere(other: OtherServer) -> None:
    headers = {"Location": "https://evil.example.com/"}
    other.pages[THINGS] = web.Response(status=307, headers=headers)
    async with other.served(), aggregating(other) as front:
        assert await front.get(THINGS) == (
            502,
            "the backend attempted to redirect this request, which is not permitted\n",
        )


async def test_nobody_else_is_taken_for_the_other_server(
    other: OtherServer, tmp_path: Path
) -> None:
    stranger = OtherServer(tmp_path / "stranger")
    renamed = OtherServer(tmp_path / "renamed", ["localhost", "agg2.shop.svc"])
    failed = "error trying to reach service: tls: failed to verify certificate: x509: "
    async with other.served(), renamed.served():
        for server, bundle in ((other, stranger.bundle), (renamed, renamed.bundle)):
            async with aggregating(server, api_service(caBundle=bundle)) as front:
                status, text = await front.get(THINGS)
                assert (status, text[: len(failed)]) == (503, failed)
        async with aggregating(other, api_service(caBundle="bm9uZQ==")) as front:
            status, text = await front.get(THINGS)
            assert (status, text[:34]) == (500, "unable to load root certificates: ")
        async with aggregating(other, api_service(insecureSkipTLSVerify=True)) as front:
            assert (await front.get(THINGS))[0] == 200
    assert not renamed.asked


async def test_where_nobody_listens(other: OtherServer) -> None:
    async with other.served():
        pass
    async with aggregating(other) as front:
        reason = f"dial tcp 127.0.0.1:{other.port}: connect: connection refused"
        assert await front.get(THINGS) == (503, f"error trying to reach service: {reason}\n")
        front.lookup.remove(Service, "agg", "shop")
        assert await front.get(THINGS) == (503, "service unavailable\n")


ANSWER = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        ANSWER + b"A: " + b"a" * 2 * STREAM_BUFFER.value + b"\r\n\r\n",
        ANSWER + b"A: b\nSet-Cookie: c\r\n\r\n",
        ANSWER + b"Content-Length : 5\r\n\r\nabcde",
        ANSWER + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        ANSWER + b"Content-Length: -5\r\n\r\nabcde",
        ANSWER + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ANSWER + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + ANSWER + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_unavailable(other: OtherServer, said: bytes) -> None:
    other.serve = saying(said)
    async with other.served(), aggregating(other) as front:
        status, text = await front.get(THINGS)
        assert (status, text[:32]) == (503, "error trying to reach service: " + text[31])
        assert (await front.get("/version"))[0] == 200


async def test_both_framings_at_once_end_as_we_see_it(other: OtherServer) -> None:
    """The client must not find another answer where this server saw none."""
    both = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    other.serve = saying(ANSWER + both + b"2\r\nok\r\n0\r\n\r\n")
    async with other.served(), aggregating(other) as front, front.session.get(THINGS) as answer:
        assert "Content-Length" not in answer.headers
        assert await answer.read() == b"ok"


@pytest.mark.parametrize(
    "said",
    [
        ANSWER + b"Content-Length: 5\r\n\r\nab",
        ANSWER + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
)
async def test_an_answer_that_breaks_off_is_not_taken_for_whole(
    other: OtherServer, said: bytes
) -> None:
    other.serve = saying(said)
    async with other.served(), aggregating(other) as front, front.session.get(THINGS) as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_bytes_behind_an_answer_are_no_answer_to_the_next_request(
    other: OtherServer,
) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                connections += THINGS.encode() in head
                writer.write(ANSWER + b"Content-Length: 2\r\n\r\nok" + ANSWER + b"Evil: 1")
                await reader.readuntil(b"\r\n\r\n")
                connections -= 1
        writer.close()

    other.serve = serve
    async with other.served(), aggregating(other) as front:
        for _ in range(3):
            assert await front.get(THINGS) == (200, "ok")
        assert connections == 3


async def test_a_server_that_hangs_holds_only_what_waits_for_it(
    other: OtherServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in (REQUEST_SECONDS, AGGREGATED_DISCOVERY_SECONDS, BACKEND_HEAD_SECONDS):
        monkeypatch.setattr(limit, "value", 0.1)
    monkeypatch.setattr(AGGREGATED_REQUESTS, "value", 2)
    hung = asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        await hung.wait()
        return web.Response()

    other.answer = hang
    late = "error trying to reach service: context deadline exceeded\n"
    async with other.served(), aggregating(other) as front:
        status, text = await front.get(THINGS)
        assert status == 504
        assert "request did not complete within the allotted timeout" in text
        assert await front.get("/apis/things.example.com/v1") == (503, late)
        assert await front.get(f"{THINGS}?watch=1") == (503, late)
        monkeypatch.setattr(REQUEST_SECONDS, "value", 30)
        waiting = [asyncio.ensure_future(front.get(THINGS)) for _ in range(3)]
        first, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [each.result()[0] for each in first] == [429]
        assert (await front.get("/apis"))[0] == 200
        hung.set()
        assert sorted(status for status, _ in await asyncio.gather(*waiting)) == [200, 200, 429]


@pytest.mark.parametrize(
    ("address", "own"), [("127.0.0.1", ()), ("169.254.169.254", ()), ("192.0.2.7", ("192.0.2.7",))]
)
async def test_endpoints_do_not_lead_to_this_server_nor_to_this_host(
    other: OtherServer, address: str, own: tuple[str, ...]
) -> None:
    async with other.served():
        guard = Destinations(own=lambda: own, port=other.port)
        async with aggregating(other, destinations=guard, address=address) as front:
            assert await front.get(THINGS) == (
                503,
                "error trying to reach service: address not allowed\n",
            )
    assert not other.asked


async def test_an_external_name_may_be_that_of_this_host_but_not_of_this_server(
    other: OtherServer,
) -> None:
    async with other.served():
        reference = {"namespace": "shop", "name": "agg", "port": other.port}
        registered = api_service(caBundle=other.bundle, service=reference)
        for own_port, status in ((1, 200), (other.port, 503)):
            guard = Destinations(port=own_port)
            async with aggregating(other, registered, destinations=guard) as front:
                front.lookup.put(external("localhost"))
                assert (await front.get(THINGS))[0] == status


async def test_built_in_groups_step_aside_but_those_that_undo_it(other: OtherServer) -> None:
    path = "/apis/apps/v1/namespaces/a/deployments"
    other.pages[path] = other.pages["/apis/apps/v1"] = {"kind": "Ours"}
    own = ("apiregistration.k8s.io", "v1"), ("", "v1")
    delegated = [api_service(*each, caBundle=other.bundle) for each in (("apps", "v1"), *own)]
    async with other.served(), aggregating(other, *delegated) as front:
        assert await front.get(path) == (200, '{"kind":"Ours"}')
        assert await front.get("/apis/apps/v1") == (200, '{"kind":"Ours"}')
        assert front.delegation.remote.keys() == {("apps", "v1")}
        assert "APIService" in (await front.get("/apis/apiregistration.k8s.io/v1"))[1]
        assert "pods" in (await front.get("/api/v1"))[1]


def saying(said: bytes) -> Serve:
    """Return a server that answers so, and closes the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            await writer.drain()
        writer.close()

    return serve
