"""Bad input and hostile clients, against a real server process whose memory stays bounded."""

import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from clients.conftest import ServerProcess
from clients.door import Door, status

MEMORY_GROWTH_MAX_MB = 150
PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def door(server: ServerProcess) -> Iterator[Door]:
    made = Door(server.kubeconfig, server.process.pid)
    before = made.memory_mb()
    yield made
    assert made.memory_mb() - before < MEMORY_GROWTH_MAX_MB
    assert made.ask("GET", "/readyz") == 200


DEEP = 100_000
LAUGHS = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"[" * DEEP, "application/json", 400),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "application/json", 400),
        (
            b'{"metadata":{"name":"a"},"data":' + b'{"a":' * 300 + b"1" + b"}" * 301,
            "application/json",
            400,
        ),
        (b"- " * 50_000, "application/yaml", 400),
        (b"{a: " * 20_000, "application/yaml", 400),
        (LAUGHS.encode(), "application/yaml", 400),
        (b'{"metadata":{"name":"\xff\xfe"}}', "application/json", 400),
        (b"a: \xff", "application/yaml", 400),
        (b"k8s\x00" + b"\x0a" * 1000, "application/vnd.kubernetes.protobuf", 400),
        (b"\x00\x01", "application/vnd.kubernetes.protobuf", 400),
        (b"{}", "text/html", 415),
        (b"x" * (3 * 1024 * 1024 + 1), "application/json", 413),
        (
            b'{"metadata":{"name":"big"},"data":{"a":"%b"}}' % (b"x" * 2_000_000),
            "application/json",
            422,
        ),
    ],
)
def test_bodies(door: Door, body: bytes, content_type: str, expected: int) -> None:
    found = door.ask("POST", PATH, body, content_type)
    assert found == expected or (expected == 422 and found == 413)


def test_a_body_of_100_megabytes_is_refused_and_not_kept(door: Door) -> None:
    before = door.memory_mb()
    with door.open() as connection:
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n".encode()
        )
        assert status(connection) == 413
    with door.open() as connection:
        connection.sendall(
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with suppress(OSError):  # it may close before it has read all
            for _ in range(1600):
                connection.sendall(chunk)
        assert status(connection) == 413
    assert door.memory_mb() - before < 50


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default%2f..%2fkube-system/secrets",
        "/api/v1/namespaces/default/../kube-system/secrets",
        "/api/v1/namespaces/%2e%2e/secrets",
        "/api/v1//secrets",
        "//api/v1/secrets",
        "/api/v1/namespaces/default/secrets/a%00b",
    ],
)
def test_smuggled_paths(door: Door, path: str) -> None:
    assert door.ask("GET", path) == 400


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 500 + "\r\n", 431),
        ("GET / HTTP/1.1\r\nX: " + "y" * 200_000 + "\r\n\r\n", 431),
        ("GET /" + "y" * 200_000 + " HTTP/1.1\r\n\r\n", 431),
        ("nonsense\r\n\r\n", 400),
    ],
)
def test_smuggled_and_oversized_heads(door: Door, head: str, expected: int) -> None:
    with door.open() as connection:
        connection.sendall(head.encode())
        assert status(connection) == expected


@pytest.fixture
def many_files() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(10_000, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_half_open_connections(door: Door, many_files: int) -> None:
    with ExitStack() as open_ones:
        for _ in range(many_files):
            open_ones.enter_context(socket.create_connection(door.address, timeout=20))
        started = time.monotonic()
        assert door.ask("GET", "/readyz") == 200
        assert time.monotonic() - started < 5


def test_trickled_requests_hold_nobody_up(door: Door) -> None:
    with ExitStack() as open_ones:
        slow = [open_ones.enter_context(door.open()) for _ in range(100)]
        for connection in slow:
            connection.sendall(b"GET /readyz HT")
        for connection in slow[:50]:
            connection.sendall(b"TP/1.1\r\nHost: x\r\nX-Slow: ")
        assert door.ask("GET", "/readyz") == 200


def test_without_proof_there_is_little_to_see(door: Door) -> None:
    door_context = ssl.create_default_context()
    door_context.check_hostname = False
    door_context.verify_mode = ssl.CERT_NONE
    for path, expected in (
        ("/readyz", 200),
        ("/version", 200),
        ("/api/v1/namespaces", 403),
        ("/metrics", 403),
        ("/openapi/v2", 403),
    ):
        plain = socket.create_connection(door.address, timeout=20)
        with door_context.wrap_socket(plain) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert status(connection) == expected, path
    plain = socket.create_connection(door.address, timeout=20)
    with door_context.wrap_socket(plain) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n\r\n")
        assert status(connection) == 401
