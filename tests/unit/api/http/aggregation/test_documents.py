"""Documents of other API servers: fetched within bounds, whatever comes; and probes."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import web
from fakes.aggregated import OtherServer, Serve, aggregating, api_service, endpoints

from kubelite.api.auth.caller import Caller
from kubelite.api.errors import NotFound, ServiceUnavailable
from kubelite.api.http.aggregation.documents import Documents, Unfetched
from kubelite.api.http.aggregation.identity import AGGREGATOR
from kubelite.api.http.delegation import APIServiceProbe, registration_of
from kubelite.api.kinds.core.services import Service
from kubelite.limits import AGGREGATED_DISCOVERY, AGGREGATED_DISCOVERY_SECONDS, AGGREGATED_READ

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def other(tmp_path: Path) -> OtherServer:
    return OtherServer(tmp_path)


async def fetch(other: OtherServer) -> str:
    """Return the body of a document, or why it could not be fetched."""
    # Nothing is delegated, so discovery does not ask meanwhile.
    async with aggregating(other, api_service(is_available=False, caBundle=other.bundle)) as front:
        aggregation = front.delegation.opened()
        documents: Documents = aggregation.discovery._documents
        try:
            found = await documents.fetch(
                registration_of(api_service(caBundle=other.bundle)),
                "/apis",
                caller=AGGREGATOR,
                accept="application/json",
                limit=AGGREGATED_DISCOVERY,
                seconds=AGGREGATED_DISCOVERY_SECONDS,
                etag='"one"',
            )
        except Unfetched as error:
            return str(error)
        return f"{found.status} {found.body.decode()} {found.etag}"


def endless(head: bytes, part: bytes) -> tuple[Serve, list[int]]:
    """Return a server that sends without end, and the bytes that it got rid of."""
    sent = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            while not writer.is_closing():
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)  # else the loop never tells that the connection is lost
                sent[0] += len(part)
        writer.transport.abort()

    return serve, sent


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (HEAD + b"Content-Length: 10000000000\r\n\r\n", b"a" * 65536),
        (HEAD + b"\r\n", b"a" * 65536),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"a" * 65536 + b"\r\n"),
        (HEAD, b"A: " + b"a" * 1000 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
async def test_documents_without_end_are_read_to_their_bound(
    other: OtherServer, head: bytes, part: bytes
) -> None:
    other.serve, sent = endless(head, part)
    async with other.served(), asyncio.timeout(60):
        assert "200 a" not in await fetch(other)
    # What the sockets of both sides hold comes on top.
    assert sent[0] < 4 * AGGREGATED_DISCOVERY.value + 16 * 1024 * 1024


async def test_compressed_documents_are_not_expanded(other: OtherServer) -> None:
    other.serve, sent = endless(HEAD + b"Content-Encoding: gzip\r\n\r\n", b"\x1f\x8b" * 30_000)
    async with other.served():
        assert "the document is compressed" in await fetch(other)
    assert sent[0] < 16 * 1024 * 1024


async def test_a_slow_drip_ends_in_time(
    other: OtherServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AGGREGATED_DISCOVERY_SECONDS, "value", 0.2)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
            while not writer.is_closing():
                writer.write(b"a")
                await asyncio.sleep(0.01)
        writer.transport.abort()

    other.serve = drip
    async with other.served():
        assert await fetch(other) == "context deadline exceeded"


async def test_an_answer_in_one_piece(other: OtherServer) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b'\r\nIf-None-Match: "one"\r\n' in head
        assert b"\r\nX-Remote-User: system:kube-aggregator\r\n" in head
        assert b"\r\nX-Remote-Group: system:masters\r\n" in head
        writer.write(HEAD + b'Etag: "two"\r\nContent-Length: 2\r\n\r\n{}')
        writer.close()

    other.serve = serve
    async with other.served():
        assert await fetch(other) == '200 {} "two"'


async def probed(other: OtherServer, *, with_service: bool = True) -> str:
    registered = api_service(caBundle=other.bundle, is_available=False)
    async with aggregating(other, registered) as front:
        if not with_service:
            front.lookup.remove(Service, "agg", "shop")
        return await APIServiceProbe(front.delegation).probe(registered)


async def test_probes(other: OtherServer, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/apis/things.example.com/v1"
    async with other.served():
        url = f"https://127.0.0.1:{other.port}{path}"
        assert (
            await probed(other)
            == f"failing or missing response from {url}: bad status from {url}: 404"
        )
        other.pages[path] = {"kind": "APIResourceList"}
        assert await probed(other) == ""
        assert await probed(other, with_service=False) == 'service "agg" not found'
        (asked, *_) = other.read
        assert asked.path == path
        assert asked.all("X-Remote-User") == ["system:kube-aggregator"]
        assert asked.all("X-Remote-Group") == ["system:masters"]
    assert await probed(other) == (
        f'failing or missing response from {url}: Get "{url}": '
        f"dial tcp 127.0.0.1:{other.port}: connect: connection refused"
    )
    monkeypatch.setattr(AGGREGATED_DISCOVERY_SECONDS, "value", 0.1)
    hanging = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hanging.wait()
        writer.close()

    other.serve = hang
    async with other.served():
        url = f"https://127.0.0.1:{other.port}{path}"
        assert await probed(other) == (
            f'failing or missing response from {url}: Get "{url}": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)"
        )
        hanging.set()


async def test_one_endpoint_that_answers_is_enough(other: OtherServer) -> None:
    other.pages["/apis/things.example.com/v1"] = {}
    async with other.served():
        registered = api_service(caBundle=other.bundle, is_available=False)
        async with aggregating(other, registered) as front:
            front.lookup.put(endpoints(1, slice_name="closed")[1])
            assert await APIServiceProbe(front.delegation).probe(registered) == ""


async def read(other: OtherServer, *, is_available: bool = True) -> bytes:
    """Read as the controller of autoscalers does."""
    registered = api_service(is_available=is_available, caBundle=other.bundle)
    caller = Caller("system:serviceaccount:kube-system:hpa", ("system:serviceaccounts",))
    async with aggregating(other, registered) as front:
        path = "/apis/things.example.com/v1/namespaces/a/things?labelSelector=app%3Dweb"
        return await front.delegation.read("things.example.com", "v1", path, caller)


async def test_a_component_reads_with_its_own_identity(other: OtherServer) -> None:
    other.pages["/apis/things.example.com/v1/namespaces/a/things"] = {"items": [1]}
    async with other.served():
        assert await read(other) == b'{"items":[1]}'
    (asked,) = [one for one in other.read if "labelSelector" in one.path]
    assert asked.path.endswith("?labelSelector=app%3Dweb")
    assert asked.all("X-Remote-User") == ["system:serviceaccount:kube-system:hpa"]
    assert asked.all("X-Remote-Group") == ["system:serviceaccounts"]
    assert asked.shown == "front-proxy-client"


async def test_a_component_gets_the_error_of_the_other_server(other: OtherServer) -> None:
    status = {"kind": "Status", "message": "no such metric", "reason": "NotFound", "code": 404}
    other.answer = lambda _: _later(web.json_response(status, status=404))
    async with other.served():
        with pytest.raises(NotFound, match="no such metric"):
            await read(other)


async def _later(answer: web.Response) -> web.Response:
    return answer


async def test_a_component_is_told_that_the_other_server_is_down(other: OtherServer) -> None:
    async with other.served():
        with pytest.raises(ServiceUnavailable, match=r"currently unable to handle the request$"):
            await read(other, is_available=False)
    with pytest.raises(ServiceUnavailable, match="currently unable to handle the request: error"):
        await read(other)


async def test_an_answer_to_a_component_is_bounded(other: OtherServer) -> None:
    other.serve, sent = endless(HEAD + b"\r\n", b"a" * 65536)
    async with other.served(), asyncio.timeout(60):
        with pytest.raises(ServiceUnavailable):
            await read(other)
    assert sent[0] < 2 * AGGREGATED_READ.value + 16 * 1024 * 1024
