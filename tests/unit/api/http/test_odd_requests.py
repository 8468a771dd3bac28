"""Whatever a client sends, it is answered below 500 or not at all, and the log has no error; over a real socket."""

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.http.app import APIServer
from kubelite.api.http.assembly import assemble
from kubelite.api.http.destinations import Destinations
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.nodes import (
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeDaemonEndpoints,
    NodeStatus,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SetClock, SystemClock
from kubelite.config import Config
from kubelite.control_plane import ControlPlane
from kubelite.randomness import SeededRandomness
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.memory_engine import MemoryEngine

EVERYTHING = "rules: [{level: RequestResponse}]"
DIGITS = b"9" * 5000
CONFIGMAPS = b"/api/v1/namespaces/default/configmaps"
TRUSTED = b"Authorization: Bearer trusted"
PLAIN_ERRORS = "apply of "  # of a configuration that does not fit its type: 500, as upstream
TIMEOUTS = {"list?resourceVersion=2**63"}  # a revision that may come: 504 after a wait, as upstream
NODE_HOSTS = {
    "long-label": "a" * 70 + ".example",
    "empty-label": "a..b",
    "leading-dot": ".example",
    "not-idna": "\u2024\ud7ff",
    "space": "a b",
    "nul": "a\0b",
    "long": "a." * 200,
    "bad-port": "192.0.2.1",
}


class Lines(LineLog):
    def __init__(self) -> None:
        super().__init__(Path("unused"), Bounds(), SystemClock())
        self.lines: list[bytes] = []

    def put(self, line: bytes) -> None:
        self.lines.append(line)


def get(path: bytes, *fields: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    lines = [method + b" " + path + b" HTTP/" + version, b"Host: x", *fields]
    return b"\r\n".join([*lines, b"", b""])


def trusted(path: bytes, *fields: bytes, method: bytes = b"GET") -> bytes:
    return get(path, TRUSTED, *fields, method=method)


def posted(path: bytes, body: bytes, *fields: bytes, method: bytes = b"POST") -> bytes:
    return trusted(path, b"Content-Length: %d" % len(body), *fields, method=method) + body


HEADS = {
    "missing host": b"GET / HTTP/1.1\r\n\r\n",
    "missing host, 1.0": b"GET / HTTP/1.0\r\n\r\n",
    "two hosts": get(b"/", b"Host: y"),
    "odd host": b'GET / HTTP/1.1\r\nHost: "><script>\xff\r\n\r\n',
    "both lengths": get(b"/", b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"abc",
    "both lengths, other order": get(b"/", b"Transfer-Encoding: chunked", b"Content-Length: 3")
    + b"0\r\n\r\n",
    "two lengths": get(b"/", b"Content-Length: 3", b"Content-Length: 4") + b"abcd",
    "length of many digits": get(b"/", b"Content-Length: " + DIGITS),
    "negative length": get(b"/", b"Content-Length: -1"),
    "length with plus": get(b"/", b"Content-Length: +1") + b"a",
    "unknown coding": get(b"/", b"Transfer-Encoding: gzip"),
    "chunked twice": get(b"/", b"Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "chunk size of many digits": get(b"/", b"Transfer-Encoding: chunked", method=b"POST")
    + DIGITS
    + b"\r\n",
    "bad chunk": get(CONFIGMAPS, b"Transfer-Encoding: chunked", TRUSTED, method=b"POST")
    + b"zz\r\n",
    "no version": b"GET /\r\n\r\n",
    "version 0.9": b"GET / HTTP/0.9\r\n\r\n",
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version of many digits": b"GET / HTTP/" + DIGITS + b"\r\n\r\n",
    "tls hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "nothing but lines": b"\r\n\r\n\r\n\r\nGET",
    "zeros": b"\0" * 100,
    "line feeds alone": b"GET / HTTP/1.1\nHost: x\n\n",
    "folded header": get(b"/", b"X-A: b", b" folded"),
    "header without colon": get(b"/", b"nocolon"),
    "header without name": get(b"/", b": value"),
    "space before colon": get(b"/", b"X-A : b"),
    "control bytes in a header": get(b"/", b"X-A: a\x01b"),
    "NUL in a header": get(b"/", b"X-A: a\0b"),
    "carriage return in a header": get(b"/", b"X-A: a\rb"),
    "DEL in a header": get(b"/", b"User-Agent: a\x7fb"),
    "old websocket": get(
        b"/", b"Sec-WebSocket-Key1: 1", b"Upgrade: websocket", b"Connection: upgrade"
    ),
    "unknown method": get(b"/", method=b"WISH"),
    "lower case method": get(b"/", method=b"get"),
    "connect": get(b"example:443", method=b"CONNECT"),
    "connect, bad port": get(b"example:99999999", method=b"CONNECT"),
    "connect a path": get(b"/", method=b"CONNECT"),
    "options of all": get(b"*", method=b"OPTIONS"),
    "get of all": get(b"*"),
    "absolute": get(b"http://x/version"),
    "absolute without a host": get(b"http:///version"),
    "absolute with a bad port": get(b"http://x:abc/version"),
    "absolute with odd brackets": get(b"http://[::1/version"),
    "other scheme": get(b"file:///etc/passwd"),
    "no slash": get(b"version"),
    "bytes in the path": get(b"/api/v1/\xff\xfe"),
    "UTF-8 in the path": get("/api/v1/namespaces/é".encode(), TRUSTED),
    "escaped bytes in the path": get(b"/api/v1/namespaces/%ff%fe", TRUSTED),
    "surrogate in the path": get(b"/api/v1/namespaces/%ED%A0%80", TRUSTED),
    "half an escape": get(b"/api/v1/namespaces/%e", TRUSTED),
    "bytes behind a proxy": get(b"/api/v1/namespaces/default/pods/a/proxy/\xff%ff", TRUSTED),
    "other methods on a proxy that does not exist": b"".join(
        trusted(CONFIGMAPS + b"/a/proxy", method=method) for method in (b"OPTIONS", b"GET", b"PUT")
    ),
    "NUL in the path": get(b"/api/v1/namespaces/%00", TRUSTED),
    "line feed in the path": get(b"/api/v1/namespaces/a%0ab", TRUSTED),
    "long path": get(b"/" + b"a" * 100_000),
    "deep path": get(b"/a" * 50_000),
    "long line": get(b"/" + b"a" * 200_000),
    "long header": get(b"/", b"X-A: " + b"a" * 200_000),
    "many headers": get(b"/", *[b"X: y"] * 1000),
    "upgrade to nothing": get(b"/version", b"Upgrade: ", b"Connection: upgrade"),
    "upgrade to odd bytes": get(b"/version", b"Upgrade: \xff", b"Connection: upgrade"),
    "upgrade of a list": trusted(CONFIGMAPS, b"Upgrade: websocket", b"Connection: upgrade"),
    "websocket without a key": trusted(
        CONFIGMAPS + b"?watch=1",
        b"Upgrade: websocket",
        b"Connection: upgrade",
        b"Sec-WebSocket-Version: 13",
    ),
    "websocket with an odd key": trusted(
        CONFIGMAPS + b"?watch=1&timeoutSeconds=1",
        b"Upgrade: websocket",
        b"Connection: upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: \xff",
    ),
    "websocket protocol of odd bytes": trusted(
        CONFIGMAPS + b"?watch=1&timeoutSeconds=1",
        b"Upgrade: websocket",
        b"Connection: upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: a",
        b"Sec-WebSocket-Protocol: \xff, base64url.bearer.authorization.k8s.io.\xfe",
    ),
    "odd expectation": posted(CONFIGMAPS, b"{}", b"Expect: \xff"),
}
FIELDS = (
    "Accept", "Accept-Encoding", "Audit-ID", "Authorization", "Connection", "Content-Type", "Cookie", "Host2",
    "If-None-Match", "Range", "Referer", "User-Agent", "X-Forwarded-For", "X-Remote-User",
)  # fmt: skip
VALUES = {
    "bytes": b"\xff\xfe",
    "surrogate": b"\xed\xa0\x80",
    "overlong": b"\xc0\xaf",
    "UTF-8": "é\u2028\u0085".encode(),
    "C1 controls": b"\xc2\x80\xc2\x9b31m",
    "digits": DIGITS,
    "empty": b"",
    "long": b"a" * 60_000,
    "separators": b",;=\"'\\/()<>{}[]@:?" * 50,
    "quality": b"application/json;q=" + DIGITS + b",a/b;q=nan,c/d;q=inf,*/*;q=-1;as=" + b"\xff",
}
BEARERS = {
    "bytes": b"\xff\xfe", "UTF-8": "é".encode(), "dots": b"..", "many dots": b"." * 5000,
    "json web token of bytes": b"e30.\xff.\xff", "not base64": b"a.b.c", "long": b"a" * 50_000, "empty": b"",
    "surrogate": b"\xed\xa0\x80.\xed\xa0\x80.\xed\xa0\x80",
    "bootstrap": b"abcdef.\xff123456789abcde",
    "kid of digits": b"eyJhbGciOiJFUzI1NiIsImtpZCI6OTk5OX0.e30.AAAA",
    "none": b"eyJhbGciOiJub25lIn0.e30.",
}  # fmt: skip
NUMBERS = (
    b"limit",
    b"timeoutSeconds",
    b"resourceVersion",
    b"gracePeriodSeconds",
    b"tailLines",
    b"sinceSeconds",
    b"limitBytes",
)
QUERIES = {
    **{f"{name.decode()}={label}": name + b"=" + value
       for name in NUMBERS
       for label, value in {
           "many digits": DIGITS, "minus": b"-", "minus many": b"-" + DIGITS, "plus": b"%2B1", "float": b"1e309",
           "underscore": b"1_0", "arabic": b"%D9%A1", "space": b"+1", "nan": b"nan", "superscript": b"%C2%B2",
           "2**63": b"9223372036854775808", "-2**63": b"-9223372036854775808",
       }.items()},
    "timeout of digits": b"timeout=" + DIGITS + b"s",
    "timeout of 60 digits": b"timeout=" + b"9" * 60 + b"h",
    "timeout minus": b"timeout=-1s",
    "timeout superscript": b"timeout=%C2%B2s",
    "timeout of nothing": b"timeout=.s",
    "continue of bytes": b"continue=%ff",
    "continue of UTF-8": b"continue=%C3%A9",
    "continue of many digits": b"continue=eyJydiI6" + b"OTk5" * 2000 + b"fQ",
    "continue not base64": b"continue=a",
    "continue of a list": b"continue=W10",
    "raw bytes": b"labelSelector=\xff\xfe",
    "escaped bytes": b"labelSelector=%ff%fe",
    "raw bytes in a name": b"\xff=1",
    "selector of digits": b"labelSelector=a%3E" + DIGITS,
    "selector of parentheses": b"labelSelector=" + b"a in (" .replace(b" ", b"%20") * 5000,
    "selector of commas": b"labelSelector=" + b"," * 50_000,
    "field selector of odd parts": b"fieldSelector=%3D%3D%3D,%5C,metadata.name%3D%5C",
    "field selector of NUL": b"fieldSelector=metadata.name%3D%00",
    "many parameters": b"&".join([b"a=1"] * 2000),
    "many equal signs": b"=" * 50_000,
    "watch of many": b"watch=1&watch=0&timeoutSeconds=" + DIGITS,
    "resourceVersionMatch": b"resourceVersionMatch=%00",
    "pretty": b"pretty=%00",
    "dryRun of bytes": b"dryRun=%ff",
    "fieldManager of control bytes": b"fieldManager=%0a%0d%00",
    "propagation of lines": b"propagationPolicy=%0a",
    "sinceTime": b"sinceTime=99999-99-99T99:99:99Z",
    "stream of lines": b"stream=%0aforged",
    "container of lines": b"container=%0aforged",
    "sendInitialEvents": b"sendInitialEvents=true&watch=1",
    "allowWatchBookmarks": b"allowWatchBookmarks=%00&watch=1&timeoutSeconds=1",
}  # fmt: skip
IMPERSONATIONS = {
    f"{name}: {label}": (name.encode() + b": " + value,)
    for name in (
        "Impersonate-User",
        "Impersonate-Group",
        "Impersonate-Uid",
        "Impersonate-Extra-%ff",
        "Impersonate-Extra-a",
    )
    for label, value in VALUES.items()
    if value
}
PATHS = {
    "list": CONFIGMAPS,
    "log": b"/api/v1/namespaces/default/pods/a/log",
    "exec": b"/api/v1/namespaces/default/pods/a/exec",
    "portforward": b"/api/v1/namespaces/default/pods/a/portforward",
}

APPS = b"/apis/apps/v1/namespaces/default/"
TEMPLATE = (
    b'"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},'
    b'"spec":{"containers":[{"name":"a","image":"a"}]}}'
)
BODIES = {
    "many digits": (CONFIGMAPS, b'{"data":' + DIGITS + b"}"),
    "many digits of a known field": (CONFIGMAPS, b'{"metadata":{"name":"b","generation":' + DIGITS + b"}}"),
    "exponent": (CONFIGMAPS, b'{"metadata":{"name":"b","generation":1e99999}}'),
    "surrogate": (CONFIGMAPS, b'{"metadata":{"name":"b"},"data":{"a":"\\ud800"}}'),
    "lines in a name": (CONFIGMAPS, b'{"metadata":{"name":"b\\n2026-01-01T00:00:00.000Z ERROR forged"}}'),
    "percentage": (
        APPS + b"deployments",
        b'{"metadata":{"name":"b"},"spec":{"strategy":{"rollingUpdate":{"maxSurge":"' + DIGITS
        + b'%"}},' + TEMPLATE + b"}}",
    ),
    "deletion cost": (
        b"/api/v1/namespaces/default/pods",
        b'{"metadata":{"name":"b","annotations":{"controller.kubernetes.io/pod-deletion-cost":"' + DIGITS
        + b'"}},"spec":{"containers":[{"name":"a","image":"a"}]}}',
    ),
    "sysctl": (CONFIGMAPS, b"[" * 5000),
}  # fmt: skip
YAMLS = {
    "many digits": b"metadata: {name: c, generation: " + DIGITS + b"}",
    "4000 digits": b"metadata: {name: c, generation: " + DIGITS[:4000] + b"}",
    "hexadecimal digits": b"metadata: {name: c, generation: 0x" + DIGITS * 10 + b"}",
    "bytes": b"metadata: {name: \xff}",
    "escapes": b'metadata: {name: c}\ndata: {a: "\\uD800"}',
    "date": b"metadata: {name: c, creationTimestamp: 99999-99-99}",
}


def _user(label: str) -> list[bytes]:
    return [] if label.startswith("Impersonate-User") else [b"Impersonate-User: a"]


CASES: dict[str, bytes] = {
    **{f"body of {label}": posted(path, body) for label, (path, body) in BODIES.items()},
    **{
        f"YAML of {label}": posted(CONFIGMAPS, body, b"Content-Type: application/yaml")
        for label, body in YAMLS.items()
    },
    **{
        f"apply of {label}": posted(
            CONFIGMAPS + b"/c?fieldManager=a", b"apiVersion: v1\nkind: ConfigMap\n" + body,
            b"Content-Type: application/apply-patch+yaml", method=b"PATCH",
        )
        for label, body in YAMLS.items()
    },
    **HEADS,
    **{
        f"{name}: {label}": trusted(CONFIGMAPS, name.encode() + b": " + value)
        if name != "Authorization"
        else get(CONFIGMAPS, name.encode() + b": " + value)
        for name in FIELDS
        for label, value in VALUES.items()
    },
    **{f"bearer {label}": get(CONFIGMAPS, b"Authorization: Bearer " + value) for label, value in BEARERS.items()},
    **{f"list?{label}": trusted(PATHS["list"] + b"?" + query) for label, query in QUERIES.items()},
    **{f"log?{label}": trusted(PATHS["log"] + b"?" + query) for label, query in QUERIES.items()},
    **{
        f"delete?{label}": trusted(CONFIGMAPS + b"/absent?" + query, method=b"DELETE")
        for label, query in QUERIES.items()
    },
    **{
        f"create?{label}": posted(CONFIGMAPS + b"?" + query, b'{"metadata":{"generateName":"a"}}')
        for label, query in QUERIES.items()
    },
    **{
        f"as {label}": trusted(CONFIGMAPS, *_user(label), *fields)
        for label, fields in IMPERSONATIONS.items()
    },
    **{
        f"proxied port of {label}": trusted(b"/api/v1/" + kind + b"/a:" + digits + b"/proxy/")
        for kind in (b"nodes", b"namespaces/default/pods", b"namespaces/default/services")
        for label, digits in {kind.decode() + " digits": DIGITS, kind.decode() + " other digits": "²".encode()}.items()
    },
    **{f"exec {label}": trusted(PATHS["exec"] + b"?command=%0a&" + query) for label, query in QUERIES.items()},
    **{f"forward port {label}": trusted(PATHS["portforward"] + b"?ports=" + value) for label, value in
       {"digits": DIGITS, "bytes": b"%ff", "minus": b"-1", "empty": b""}.items()},
}  # fmt: skip


@asynccontextmanager
async def cluster() -> AsyncIterator[tuple[int, Lines]]:
    clock, randomness = SetClock(datetime(2026, 9, 1, tzinfo=UTC)), SeededRandomness(1)
    plane = ControlPlane(
        EmbeddedStore(MemoryEngine(), clock=clock),
        clock=clock,
        randomness=randomness,
        signing_keys=[new_key()],
        certificates=ClientCertificates([], clock),
        config=Config(),
        static_tokens=StaticTokens("trusted,admin,1,system:masters"),
    )
    await plane.bootstrap("192.0.2.1", 6443)
    root = plane.client(Caller("root", ("system:masters",)), "test")
    await root.create(ConfigMap(metadata=ObjectMeta(name="a", namespace="default")))
    for name, host in NODE_HOSTS.items():
        node = await root.create(Node(metadata=ObjectMeta(name=name)))
        port = 70_000 if name == "bad-port" else 10_250
        status = NodeStatus(
            addresses=[NodeAddress(type="Hostname", address=host)],
            daemonEndpoints=NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(Port=port)),
        )
        await root.update(msgspec.structs.replace(node, status=status), "status")
    lines = Lines()
    parts = assemble(
        plane.verbs,
        plane.authenticator,
        plane.authorizer,
        clock=clock,
        randomness=randomness,
        node_tls=ssl.create_default_context(),
        address=lambda: "127.0.0.1:6443",
        destinations=Destinations(),
        auditor=Auditor(AuditPolicy.read(EVERYTHING), lines, clock, randomness),
    )
    server = APIServer(parts, ssl_context=None)
    port = await server.start("127.0.0.1", 0)
    try:
        yield port, lines
    finally:
        await server.stop(0.1)


async def statuses(port: int, sent: bytes) -> list[int]:
    """Send bytes and then an ordinary request; return the statuses of all answers until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = bytearray()
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            with suppress(TimeoutError):  # what is not complete has no answer
                received += await asyncio.wait_for(reader.read(65536), 0.3)
            writer.write(get(b"/version", b"Connection: close"))
            while data := await reader.read(65536):
                received += data
    except ConnectionError:
        pass  # what it had to say was said
    finally:
        writer.close()
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d+) ", received)]


@pytest.mark.timeout(300)
async def test_odd_requests_are_the_clients_fault(caplog: pytest.LogCaptureFixture) -> None:
    wrong: dict[str, object] = {}
    async with cluster() as (port, lines):
        for label, sent in CASES.items():
            caplog.clear()
            try:
                found = await statuses(port, sent)
            except TimeoutError:
                wrong[label] = "no end"
                continue
            errors = [
                record.getMessage() + " " + str(record.exc_info[1] if record.exc_info else "")
                for record in caplog.records
                if record.levelno >= logging.WARNING or record.exc_info
            ]
            is_known = label in TIMEOUTS or label.startswith(PLAIN_ERRORS)
            if not found or (max(found) >= 500 and not is_known) or errors:
                wrong[label] = (found, errors)
        assert await statuses(port, b"") == [200]
    assert not wrong, "\n".join(f"{label}: {what}" for label, what in wrong.items())
    for line in lines.lines:
        assert b"\n" not in line
        msgspec.json.decode(line)


@pytest.mark.parametrize("name", NODE_HOSTS)
async def test_nodes_that_cannot_be_reached_are_refused(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster() as (port, _):
        found = await statuses(port, trusted(b"/api/v1/nodes/" + name.encode() + b"/proxy/pods"))
    assert found[0] in (400, 503)  # no such host, or none that can be reached
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
