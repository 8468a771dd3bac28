import asyncio
from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import AlreadyExists, Invalid
from kubelite.api.kinds.networking import IPAddress
from kubelite.api.registry.addresses import ServiceAddresses
from kubelite.randomness import SeededRandomness

JSON = dict[str, Any]


def service(name: str, **spec: Any) -> JSON:
    ports = [{"port": 80, "protocol": "TCP"}]
    return {"metadata": {"name": name}, "spec": {"ports": ports, **spec}}


@pytest.fixture
async def server() -> Server:
    return Server()


async def test_a_service_gets_an_address_under_both_names(server: Server) -> None:
    spec = (await server.create("v1/services", service("web")))["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["clusterIP"].startswith("10.43.")
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    owner = server.get("networking.k8s.io/v1/ipaddresses", spec["clusterIP"])
    assert owner["spec"]["parentRef"] == {
        "resource": "services",
        "namespace": "default",
        "name": "web",
    }


async def test_headless_and_external_services_take_nothing(server: Server) -> None:
    headless = await server.create("v1/services", service("a", clusterIP="None"))
    assert headless["spec"]["clusterIPs"] == ["None"]
    body = service("b", type="ExternalName", externalName="example.com")
    external = await server.create("v1/services", body)
    assert "clusterIP" not in external["spec"]
    assert server.addresses._addresses.taken == 0


async def test_an_address_is_given_once(server: Server) -> None:
    await server.create("v1/services", service("a", clusterIP="10.43.0.10"))
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await server.create("v1/services", service("b", clusterIP="10.43.0.10"))
    with pytest.raises(Invalid, match="not in the valid range"):
        await server.create("v1/services", service("b", clusterIP="10.99.0.10"))
    await server.delete("v1/services", "a")
    await server.create("v1/services", service("b", clusterIP="10.43.0.10"))


async def test_an_address_that_somebody_recorded_is_taken(server: Server) -> None:
    record = {
        "metadata": {"name": "10.43.0.99"},
        "spec": {"parentRef": {"resource": "x", "name": "y"}},
    }
    await server.create("networking.k8s.io/v1/ipaddresses", record)
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await server.create("v1/services", service("a", clusterIP="10.43.0.99"))


async def test_who_stops_waiting_for_a_write_gives_nothing_back(server: Server) -> None:
    body = service("a", type="NodePort", clusterIP="10.43.0.10")
    write = asyncio.create_task(server.create("v1/services", body))
    await asyncio.sleep(0)  # now it waits for the store
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    assert server.get("v1/services", "a")["spec"]["clusterIP"] == "10.43.0.10"
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        await server.create("v1/services", service("b", clusterIP="10.43.0.10"))
    assert server.addresses._ports.taken == 1


async def test_services_made_at_once_get_different_numbers(server: Server) -> None:
    made = await asyncio.gather(
        *(server.create("v1/services", service(f"s{n}", type="NodePort")) for n in range(50))
    )
    assert len({one["spec"]["clusterIP"] for one in made}) == 50
    assert len({one["spec"]["ports"][0]["nodePort"] for one in made}) == 50


async def test_a_failed_create_gives_back_what_it_took(server: Server) -> None:
    await server.create("v1/services", service("a", type="NodePort"))
    with pytest.raises(AlreadyExists):
        await server.create("v1/services", service("a", type="NodePort"))
    await server.create("v1/services", service("b", type="NodePort"), dry_run=True)
    assert (server.addresses._addresses.taken, server.addresses._ports.taken) == (1, 1)


async def test_a_change_of_type_gives_back_what_is_not_needed(server: Server) -> None:
    made = await server.create("v1/services", service("a", type="NodePort"))
    assert 30000 <= made["spec"]["ports"][0]["nodePort"] <= 32767
    changed = await server.patch("v1/services", "a", {"spec": {"type": "ClusterIP"}})
    assert "nodePort" not in changed["spec"]["ports"][0]
    assert changed["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    patch = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    changed = await server.patch("v1/services", "a", patch)
    assert "clusterIP" not in changed["spec"]
    assert (server.addresses._addresses.taken, server.addresses._ports.taken) == (0, 0)
    assert server.names("networking.k8s.io/v1/ipaddresses") == []


async def test_an_update_without_the_given_numbers_keeps_them(server: Server) -> None:
    made = await server.create("v1/services", service("a", type="NodePort"))
    body = service("a", type="NodePort", selector={"app": "web"})
    updated = await server.update("v1/services", "a", body)
    assert updated["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    assert updated["spec"]["ports"] == made["spec"]["ports"]


async def test_two_protocols_of_one_port_may_share_a_node_port(server: Server) -> None:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    made = await server.create("v1/services", service("dns", type="NodePort", ports=ports))
    assert len({port["nodePort"] for port in made["spec"]["ports"]}) == 1


async def test_what_is_taken_is_found_again_after_a_restart(server: Server) -> None:
    made = await server.create("v1/services", service("a", type="NodePort"))
    again = ServiceAddresses(
        server.store,
        records=server.resources.of(IPAddress),
        cidr="10.43.0.0/16",
        node_ports=(30000, 32767),
        randomness=SeededRandomness(1),
    )
    assert (again._addresses.taken, again._ports.taken) == (1, 1)
    assert not again._ports.take(made["spec"]["ports"][0]["nodePort"])


async def test_a_load_balancer_with_local_traffic_gets_a_health_port(server: Server) -> None:
    body = service("a", type="LoadBalancer", externalTrafficPolicy="Local")
    made = await server.create("v1/services", body)
    assert made["spec"]["healthCheckNodePort"]
    await server.delete("v1/services", "a")
    assert server.addresses._ports.taken == 0
