"""What load balancers are told."""

import asyncio
import json
import socket

import pytest
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service

from kubelite.limits import HEALTH_CONNECTIONS, HEALTH_SECONDS
from kubelite.net.health_ports import HealthPorts, LocalEndpoints, response
from kubelite.net.ruleset import ProxySettings
from kubelite.net.services import service_rules


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number: int = sock.getsockname()[1]
        return number


async def ask(number: int, request: bytes = b"GET / HTTP/1.1\r\n\r\n") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def test_the_answer() -> None:
    head, _, body = response(LocalEndpoints("default", "web", 2)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"X-Load-Balancing-Endpoint-Weight: 2\r\n" in head
    assert json.loads(body) == {
        "service": {"namespace": "default", "name": "web"},
        "localEndpoints": 2,
        "serviceProxyHealthy": True,
    }
    assert response(LocalEndpoints("default", "web", 0)).startswith(b"HTTP/1.1 503 ")


async def test_ports_come_and_go_with_services() -> None:
    ports, number = HealthPorts(), free_port()
    await ports.follow({number: LocalEndpoints("default", "web", 1)})
    assert (await ask(number)).startswith(b"HTTP/1.1 200")
    await ports.follow({number: LocalEndpoints("default", "web", 0)})
    assert (await ask(number)).startswith(b"HTTP/1.1 503")
    assert await ask(number, b"GET") == b""
    assert await ask(number, b"x" * 10_000) == b""
    await ports.stop()
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", number)) != 0


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HEALTH_CONNECTIONS, "value", 2)  # of which loopback has half
    ports, number = HealthPorts(), free_port()
    await ports.follow({number: LocalEndpoints("default", "web", 1)})
    silent, writer = await asyncio.open_connection("127.0.0.1", number)
    refused, refused_writer = await asyncio.open_connection("127.0.0.1", number)
    assert await refused.read() == b""
    refused_writer.close()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    assert (await silent.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    assert (await ask(number)).startswith(b"HTTP/1.1 200")
    await ports.stop()


async def test_a_silent_client_does_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HEALTH_SECONDS, "value", 0.01)
    ports, number = HealthPorts(), free_port()
    await ports.follow({number: LocalEndpoints("default", "web", 1)})
    async with asyncio.timeout(5):
        silent, writer = await asyncio.open_connection("127.0.0.1", number)
        assert await silent.read() == b""
    writer.close()
    await ports.stop()


async def test_a_taken_port_is_tried_again() -> None:
    ports = HealthPorts()
    with socket.create_server(("0.0.0.0", 0)) as taken:
        number = taken.getsockname()[1]
        await ports.follow({number: LocalEndpoints("default", "web", 1)})
    await ports.follow({number: LocalEndpoints("default", "web", 1)})
    assert (await ask(number)).startswith(b"HTTP/1.1 200")
    await ports.stop()


def test_only_ready_endpoints_of_this_node_count() -> None:
    item = service(
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=32000,
        ports=[port(80, name="a"), port(81, name="b")],
    )
    entries = [
        endpoint("10.42.0.2"),
        endpoint("10.42.0.3"),
        endpoint("10.42.1.2", "other"),
        endpoint("10.42.0.4", ready=False, serving=True, terminating=True),
    ]
    slices = [endpoint_slice(*entries, name=name, port_name=name) for name in ("a", "b")]
    settings = ProxySettings(node_name=NODE)
    found = service_rules(item, slices, settings).health_ports
    assert found == {32000: LocalEndpoints("default", "web", 2)}
    assert service_rules(item, [], settings).health_ports[32000].count == 0
