"""The server at the level of the connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from fakes.serving import parts_of, serving

from kubelite.api.auth.caller import Allowed
from kubelite.api.errors import APIError, BadRequest, Expired, NotFound
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.machinery.shaping.go import GoShape
from kubelite.api.registry.options import ReadOptions, WatchOptions, WriteOptions
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.strategy import Strategy
from kubelite.api.registry.table import ResourceTable
from kubelite.api.registry.verbs import Listed, Verbs, Written
from kubelite.api.registry.watch import Deliver, Drain, Form, Watching
from kubelite.limits import HEAD_SECONDS
from kubelite.metrics import REGISTRY
from kubelite.offload import AtOnce

CONFIG_MAPS = Resource(
    group="",
    version="v1",
    plural="configmaps",
    singular="configmap",
    kind=ConfigMap.gvk,
    type=ConfigMap,
    namespaced=True,
    short_names=("cm",),
    storage="configmaps.core",
    shape=GoShape(ConfigMap),
    strategy=Strategy(),
)
STORED = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"resourceVersion":"7","name":"a"}}'
PATH = "/api/v1/namespaces/default/configmaps"


class OneWatch:
    """A watch that the test feeds."""

    def __init__(self, form: Form, deliver: Deliver, present: Sequence[bytes]) -> None:
        self.form = form
        self.deliver = deliver
        self.present = present
        self.closed = asyncio.Event()

    def send(self, event_type: str, value: bytes) -> None:
        self.deliver([self.form.event(event_type, value)])

    async def begin(self, drain: Drain) -> None:
        for value in self.present:
            self.send("ADDED", value)
            await drain()

    def bookmark(self) -> None:
        self.send("BOOKMARK", b'{"kind":"ConfigMap"}')

    def close(self) -> None:
        self.closed.set()


class FixedVerbs(Verbs):
    """Verbs that answer what the test says: what is tested is the way to them and back."""

    def __init__(self) -> None:
        self.resources = ResourceTable([CONFIG_MAPS])
        self.offload = AtOnce()
        self.created: list[tuple[dict[str, Any], WriteOptions]] = []
        self.items: Sequence[bytes] = (STORED, STORED)
        self.watching: asyncio.Queue[OneWatch] = asyncio.Queue()
        self.watch_error: APIError | None = None
        self.present: Sequence[bytes] = (STORED,)  # what a watch begins with

    async def get(self, allowed: Allowed, options: ReadOptions) -> bytes:
        if allowed.attributes.name != "a":
            raise NotFound(f'configmaps "{allowed.attributes.name}" not found')
        return STORED

    async def list(self, allowed: Allowed, options: ReadOptions) -> Listed:
        return Listed(items=self.items, resource_version="9", continue_token="t", remaining=3)

    async def create(
        self, allowed: Allowed, body: dict[str, Any], options: WriteOptions
    ) -> Written:
        self.created.append((body, options))
        return Written(body=STORED, created=True, warnings=('mind the "gap"\n',))

    async def watch(
        self,
        allowed: Allowed,
        options: WatchOptions,
        form: Form,
        deliver: Deliver,
        expired: Callable[[APIError], None],
    ) -> Watching:
        if isinstance(self.watch_error, BadRequest):
            raise self.watch_error
        watch = OneWatch(form, deliver, () if self.watch_error else self.present)
        if self.watch_error is not None:
            expired(self.watch_error)
        self.watching.put_nowait(watch)
        return watch


@pytest.fixture
def verbs() -> FixedVerbs:
    return FixedVerbs()


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Raw:
    """A connection on which the test writes bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def answer(self) -> Answer:
        status, headers = await self.head()
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(status, headers, body)

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        self.send(method, path, body, **headers)
        return await self.answer()

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]


@asynccontextmanager
async def connected(verbs: Verbs, **options: Any) -> AsyncIterator[Raw]:
    async with serving(parts_of(verbs), **options) as (_, port), opened(port) as raw:
        yield raw


@asynccontextmanager
async def opened(port: int) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


async def test_get_answers_the_stored_bytes(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        answer = await raw.ask("GET", f"{PATH}/a", Audit_ID="id-1")
        assert (answer.status, answer.body) == (200, STORED)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-cache, private"
        assert answer.headers["audit-id"] == "id-1"
        raw.send("HEAD", f"{PATH}/a")
        status, headers = await raw.head()
        assert (status, headers["content-length"]) == (200, str(len(STORED)))
        again = await raw.ask("GET", f"{PATH}/b")
        assert (again.status, again.json["reason"]) == (404, "NotFound")


async def test_list_joins_the_items(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        answer = await raw.ask("GET", PATH)
    assert answer.json["kind"] == "ConfigMapList"
    assert answer.json["metadata"] == {
        "resourceVersion": "9",
        "continue": "t",
        "remainingItemCount": 3,
    }
    assert len(answer.json["items"]) == 2


async def test_long_answers_are_compressed_when_asked(verbs: FixedVerbs) -> None:
    verbs.items = [STORED] * 3000
    async with connected(verbs) as raw:
        packed = await raw.ask("GET", PATH, Accept_Encoding="gzip, deflate")
        plain = await raw.ask("GET", PATH)
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) // 10


async def test_very_long_answers_go_out_in_slices(verbs: FixedVerbs) -> None:
    verbs.items = [STORED] * 50_000
    async with serving(parts_of(verbs)) as (_, port), opened(port) as raw, opened(port) as other:
        raw.send("GET", PATH)
        await raw.head()
        assert (await other.ask("GET", "/version")).status == 200  # though the first is not read
        size = 0
        while size < 50_000 * (len(STORED) + 1):
            part = await raw.reader.read(1 << 20)
            assert part
            size += len(part)


async def test_metadata_yaml_and_pretty(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        metadata = await raw.ask(
            "GET",
            f"{PATH}/a",
            Accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        )
        yaml = await raw.ask("GET", f"{PATH}/a", Accept="application/yaml")
        pretty = await raw.ask("GET", f"{PATH}/a?pretty=true")
        refused = await raw.ask("GET", f"{PATH}/a", Accept="text/html")
    assert metadata.json == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "7", "name": "a"},
    }
    assert b"kind: ConfigMap" in yaml.body
    assert yaml.headers["content-type"] == "application/yaml"
    assert b'\n  "kind": "ConfigMap"' in pretty.body
    assert (refused.status, refused.json["reason"]) == (406, "NotAcceptable")


async def test_create_passes_body_and_options_and_shows_warnings(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        answer = await raw.ask(
            "POST", f"{PATH}?dryRun=All", b'{"metadata":{"name":"a"}}', User_Agent="kubectl/v1"
        )
    assert answer.status == 201
    assert answer.headers["warning"] == '299 - "mind the \\"gap\\" "'
    body, options = verbs.created[0]
    assert body == {"metadata": {"name": "a"}}
    assert (options.dry_run, options.field_manager) == (True, "kubectl")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"a":"\xff"}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"x", "text/plain", 415),
    ],
)
async def test_bodies_that_are_refused(
    verbs: FixedVerbs, body: bytes, content_type: str, status: int
) -> None:
    async with connected(verbs) as raw:
        answer = await raw.ask("POST", PATH, body, Content_Type=content_type)
    assert answer.status == status
    assert not verbs.created


async def test_a_huge_body_is_refused_before_it_is_read(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        raw.writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n".encode()
        )
        answer = await raw.answer()
    assert answer.status == 413
    assert answer.json["message"] == "Request entity too large: limit is 3145728"


async def test_a_client_that_waits_to_be_asked_for_the_body(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        raw.writer.write(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n".encode()
        )
        assert (await raw.head())[0] == 100
        raw.writer.write(b"{}")
        assert (await raw.answer()).status == 201


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/namespaces/default/wishes", 404),
        ("GET", f"{PATH}/a/status", 404),
        ("TRACE", f"{PATH}/a", 405),
        ("GET", "/nowhere", 404),
        ("POST", "/version", 405),
        ("GET", "/api/v1/namespaces/a%2f..%2fb/configmaps", 400),
        ("GET", "/version", 200),
        ("GET", "/readyz", 200),
        ("GET", f"{PATH}?timeoutSeconds=x", 400),
        ("GET", f"{PATH}?timeoutSeconds=5", 200),
        ("GET", f"{PATH}?watch=1&timeoutSeconds=x", 400),
        ("GET", f"{PATH}/a?timeoutSeconds=x", 200),
        ("DELETE", f"{PATH}?timeoutSeconds=x", 400),
        ("GET", f"{PATH}?limit=x", 400),
        ("GET", "/metrics", 200),
        ("GET", "/", 200),
        ("GET", "/api", 200),
        ("GET", "/apis", 200),
        ("GET", "/api/v1", 200),
        ("GET", "/api/v2", 404),
    ],
)
async def test_paths(verbs: FixedVerbs, method: str, path: str, status: int) -> None:
    async with connected(verbs) as raw:
        assert (await raw.ask(method, path)).status == status


async def test_an_unknown_caller_gets_401(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        answer = await raw.ask("GET", PATH, Authorization="Bearer bad")
    assert (answer.status, answer.json["reason"]) == (401, "Unauthorized")
    assert "www-authenticate" in answer.headers


async def test_a_bug_is_an_internal_error_that_tells_nothing(
    verbs: FixedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(allowed: Allowed, options: ReadOptions) -> bytes:
        raise RuntimeError("secret")

    monkeypatch.setattr(verbs, "get", broken)
    async with connected(verbs) as raw:
        answer = await raw.ask("GET", f"{PATH}/a")
    assert answer.status == 500
    assert b"secret" not in answer.body


async def test_a_watch_delivers_and_ends_in_time_with_a_bookmark(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        raw.send("GET", f"{PATH}?watch=true&timeoutSeconds=1")
        status, headers = await raw.head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert await raw.chunk() == b'{"type":"ADDED","object":%s}\n' % STORED
        watch = await verbs.watching.get()
        watch.send("MODIFIED", b"{}")
        assert await raw.chunk() == b'{"type":"MODIFIED","object":{}}\n'
        assert b"BOOKMARK" in await raw.chunk()
        assert await raw.chunk() == b""
        assert watch.closed.is_set()
        assert (await raw.ask("GET", f"{PATH}/a")).status == 200  # the connection is still good


async def test_a_watch_of_the_lost_past_gets_an_error_event(verbs: FixedVerbs) -> None:
    verbs.watch_error = Expired("too old resource version: 1 (9)")
    async with connected(verbs) as raw:
        raw.send("GET", f"{PATH}?watch=true")
        assert (await raw.head())[0] == 200
        event = msgspec.json.decode(await raw.chunk())
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
        assert await raw.chunk() == b""


async def test_a_watch_that_is_refused_answers_with_the_status(verbs: FixedVerbs) -> None:
    verbs.watch_error = BadRequest("no")
    async with connected(verbs) as raw:
        assert (await raw.ask("GET", f"{PATH}?watch=true")).status == 400


async def test_a_watcher_that_leaves_is_forgotten(verbs: FixedVerbs) -> None:
    async with serving(parts_of(verbs)) as (server, port):
        async with opened(port) as raw:
            raw.send("GET", f"{PATH}?watch=true")
            await raw.head()
            watch = await verbs.watching.get()
            assert server.watch_count == 1
        await watch.closed.wait()
        assert server.watch_count == 0


async def test_a_watcher_that_does_not_read_is_dropped(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        raw.send("GET", f"{PATH}?watch=true")
        await raw.head()
        watch = await verbs.watching.get()
        line = b'"' + b"x" * 1_000_000 + b'"'
        for _ in range(40):
            watch.send("MODIFIED", line)
        await watch.closed.wait()


async def test_what_a_watch_begins_with_may_be_read_slowly(verbs: FixedVerbs) -> None:
    line = b'"' + b"x" * 1_000_000 + b'"'
    verbs.present = [line] * 20
    async with connected(verbs) as raw:
        raw.send("GET", f"{PATH}?watch=true")
        watch = await verbs.watching.get()
        await raw.head()
        watch.send("MODIFIED", b"{}")
        sizes = [len(await raw.chunk()) for _ in range(len(verbs.present) + 1)]
        assert sum(size > len(line) for size in sizes) == len(verbs.present)
        for _ in range(40):  # but what comes later is bounded as ever
            watch.send("MODIFIED", line)
        await watch.closed.wait()


async def test_watches_end_cleanly_when_the_server_stops(verbs: FixedVerbs) -> None:
    async with serving(parts_of(verbs)) as (server, port), opened(port) as raw:
        raw.send("GET", f"{PATH}?watch=true")
        await raw.head()
        await raw.chunk()
        await server.stop(1.0)
        assert b"BOOKMARK" in await raw.chunk()
        assert await raw.chunk() == b""


async def test_a_made_up_subresource_is_not_counted_by_its_name(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        assert (await raw.ask("GET", f"{PATH}/a/wishes")).status == 404
    assert "wishes" not in REGISTRY.exposition()


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
async def test_heads_that_do_not_come_are_not_waited_for(
    verbs: FixedVerbs, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(HEAD_SECONDS, "value", 0.01)
    async with connected(verbs) as raw, asyncio.timeout(5):
        raw.writer.write(said)
        assert await raw.reader.read() == b""


async def test_the_next_head_has_its_own_deadline(
    verbs: FixedVerbs, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connected(verbs) as raw, asyncio.timeout(5):
        assert (await raw.ask("GET", "/version")).status == 200
        monkeypatch.setattr(HEAD_SECONDS, "value", 0.01)
        raw.writer.write(b"GET / HT")
        assert await raw.reader.read() == b""


async def test_connections_are_bounded(verbs: FixedVerbs) -> None:
    async with serving(parts_of(verbs), connections_max=1) as (_, port), opened(port) as first:
        first.send("GET", f"{PATH}?watch=true")
        await first.head()
        async with opened(port) as second:
            assert await second.reader.read() == b""
        (await verbs.watching.get()).send("MODIFIED", b"{}")
        await first.chunk()
        assert await first.chunk() == b'{"type":"MODIFIED","object":{}}\n'


async def test_an_idle_connection_gives_its_place_to_a_new_one(verbs: FixedVerbs) -> None:
    async with serving(parts_of(verbs), connections_max=1) as (_, port), opened(port) as first:
        assert (await first.ask("GET", "/version")).status == 200
        async with opened(port) as second:
            assert (await second.ask("GET", "/version")).status == 200
            assert await first.reader.read() == b""


async def test_headers_are_bounded(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        raw.writer.write(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000 + b"\r\n")
        assert (await raw.head())[0] == 431


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n", b"3\r\nabcd\r\n", b"2\r\n{}\r\nx\r\n"])
async def test_a_body_with_a_bad_chunk_is_a_bad_request(
    verbs: FixedVerbs, bad: bytes, at_once: bool
) -> None:
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n"
    begin = f"{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    async with connected(verbs) as raw:
        if at_once:
            raw.writer.write(begin + bad + b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            raw.writer.write(begin)
            await asyncio.sleep(0.01)
            raw.writer.write(bad)
        text = await asyncio.wait_for(raw.reader.read(), 5)
    assert text.startswith(b"HTTP/1.1 400 ")
    assert b"\r\nConnection: close\r\n" in text
    assert text.count(b"HTTP/1.1") == 1  # the end of the body is not known: nothing follows
    assert not verbs.created


async def test_a_client_that_leaves_amid_its_body_gets_no_answer(verbs: FixedVerbs) -> None:
    async with connected(verbs) as raw:
        raw.writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n".encode())
        raw.writer.write(b"Transfer-Encoding: chunked\r\n\r\n5\r\n{")
        await raw.writer.drain()
        await asyncio.sleep(0.01)
        raw.writer.transport.abort()
        await asyncio.sleep(0.01)
        assert not verbs.created
