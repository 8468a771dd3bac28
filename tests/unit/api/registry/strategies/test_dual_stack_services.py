"""Services of a dual-stack cluster: their addresses, and what an update adds and gives back."""

from typing import Any

import pytest
from fakes.server import Server

from kubelite.api.errors import Invalid

JSON = dict[str, Any]
IP_ADDRESSES = "networking.k8s.io/v1/ipaddresses"
RANGES = "networking.k8s.io/v1/servicecidrs"


def service(name: str, **spec: Any) -> JSON:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


@pytest.fixture
async def server() -> Server:
    return Server(service_cidr="10.43.0.0/16,fd00:43::/112")


async def test_a_service_of_two_families_has_an_address_of_each(server: Server) -> None:
    made = await server.create("v1/services", service("web", ipFamilyPolicy="PreferDualStack"))
    first, second = made["spec"]["clusterIPs"]
    assert made["spec"]["clusterIP"] == first
    assert first.startswith("10.43.")
    assert second.startswith("fd00:43::")
    labels = server.get(IP_ADDRESSES, second)["metadata"]["labels"]
    assert labels["ipaddress.kubernetes.io/ip-family"] == "IPv6"
    assert server.names(IP_ADDRESSES) == sorted([first, second])
    await server.delete("v1/services", "web")
    assert server.names(IP_ADDRESSES) == []
    assert server.addresses._addresses.taken == 0


async def test_one_node_port_serves_both_families(server: Server) -> None:
    body = service("web", type="NodePort", ipFamilyPolicy="RequireDualStack")
    await server.create("v1/services", body)
    assert server.addresses._ports.taken == 1


async def test_a_service_may_be_of_the_secondary_family(server: Server) -> None:
    made = await server.create("v1/services", service("web", ipFamilies=["IPv6"]))
    assert made["spec"]["clusterIP"].startswith("fd00:43::")
    assert made["spec"]["ipFamilyPolicy"] == "SingleStack"


async def test_a_second_family_comes_and_goes(server: Server) -> None:
    made = await server.create("v1/services", service("web"))
    primary = made["spec"]["clusterIP"]
    patch = {"spec": {"ipFamilyPolicy": "RequireDualStack"}}
    both = await server.patch("v1/services", "web", patch)
    assert both["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert both["spec"]["clusterIPs"][0] == primary
    assert len(server.names(IP_ADDRESSES)) == 2
    kept = await server.patch("v1/services", "web", {"spec": {"selector": {"a": "b"}}})
    assert kept["spec"]["clusterIPs"] == both["spec"]["clusterIPs"]
    single = await server.patch("v1/services", "web", {"spec": {"ipFamilyPolicy": "SingleStack"}})
    assert (single["spec"]["clusterIPs"], single["spec"]["ipFamilies"]) == ([primary], ["IPv4"])
    assert server.names(IP_ADDRESSES) == [primary]
    assert server.addresses._addresses.taken == 1


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"ipFamilies": ["IPv6", "IPv4"]}, "may not change once set|expected an IPv6 value"),
        ({"ipFamilies": ["IPv4"]}, "must be 'SingleStack' to release the secondary IP family"),
        ({"clusterIPs": ["10.43.0.9"]}, "must be 'SingleStack' to release the secondary cluster"),
        ({"clusterIPs": ["10.43.0.9", "fd00:43::8"]}, "may not change once set"),
        ({"clusterIP": "10.43.0.8"}, "may not change once set"),
        ({"ipFamilyPolicy": "Both"}, "Unsupported value"),
    ],
)
async def test_what_a_service_keeps(server: Server, patch: JSON, message: str) -> None:
    addresses = ["10.43.0.9", "fd00:43::9"]
    body = service(
        "web", clusterIP=addresses[0], clusterIPs=addresses, ipFamilyPolicy="PreferDualStack"
    )
    await server.create("v1/services", body)
    with pytest.raises(Invalid, match=message):
        await server.patch("v1/services", "web", {"spec": patch})
    assert server.names(IP_ADDRESSES) == addresses
    assert server.addresses._addresses.taken == 2


async def test_a_failed_second_address_gives_back_the_first(server: Server) -> None:
    taken = service("a", clusterIP="fd00:43::9", clusterIPs=["fd00:43::9"], ipFamilies=["IPv6"])
    await server.create("v1/services", taken)
    addresses = ["10.43.0.9", "fd00:43::9"]
    body = service(
        "b", clusterIP=addresses[0], clusterIPs=addresses, ipFamilyPolicy="RequireDualStack"
    )
    with pytest.raises(Invalid, match="failed to allocate IP fd00:43::9: provided IP is already"):
        await server.create("v1/services", body)
    assert server.addresses._addresses.taken == 1


async def test_headless_services_have_families_and_no_addresses(server: Server) -> None:
    made = await server.create(
        "v1/services",
        service("a", clusterIP="None", selector={"a": "b"}, ipFamilyPolicy="PreferDualStack"),
    )
    assert made["spec"]["clusterIPs"] == ["None"]
    assert made["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    changed = await server.patch(
        "v1/services", "a", {"spec": {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}}
    )
    assert changed["spec"]["ipFamilies"] == ["IPv6"]
    assert server.addresses._addresses.taken == 0


async def test_a_service_without_addresses_gets_those_of_its_families_later(
    server: Server,
) -> None:
    body = service("a", type="ExternalName", externalName="example.com")
    await server.create("v1/services", body)
    patch = {
        "spec": {"type": "ClusterIP", "externalName": None, "ipFamilyPolicy": "PreferDualStack"}
    }
    changed = await server.patch("v1/services", "a", patch)
    assert len(changed["spec"]["clusterIPs"]) == 2
    patch = {
        "spec": {
            "type": "ExternalName",
            "externalName": "example.com",
            "clusterIP": None,
            "clusterIPs": None,
            "ipFamilies": None,
            "ipFamilyPolicy": None,
        }
    }
    changed = await server.patch("v1/services", "a", patch)
    assert {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"}.isdisjoint(changed["spec"])
    assert server.names(IP_ADDRESSES) == []


async def test_service_ranges_grow_by_a_family_and_change_in_no_other_way(server: Server) -> None:
    await server.create(RANGES, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.9.0.0/24"]}})
    for cidrs in (["10.8.0.0/24"], ["10.8.0.0/24", "fd00:9::/112"], ["10.9.0.0/24", "10.8.0.0/24"]):
        with pytest.raises(Invalid):
            await server.patch(RANGES, "more", {"spec": {"cidrs": cidrs}})
    both = ["10.9.0.0/24", "fd00:9::/112"]
    changed = await server.patch(RANGES, "more", {"spec": {"cidrs": both}})
    assert changed["spec"]["cidrs"] == both
    with pytest.raises(Invalid, match="field is immutable"):
        await server.patch(RANGES, "more", {"spec": {"cidrs": both[:1]}})
