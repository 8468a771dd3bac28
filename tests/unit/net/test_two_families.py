"""Rules and names of both families: each has its own addresses, endpoints and table."""

from ipaddress import ip_network

from fakes.network_objects import endpoint, endpoint_slice, port, service

from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.pods import Pod, PodIP, PodSpec, PodStatus
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from kubelite.net.dns_wire import AAAA, ANY, NAME_ERROR, PTR, SRV, A, parse_name
from kubelite.net.families import IPV4, IPV6
from kubelite.net.policies import members, policy_rules
from kubelite.net.records import ZoneSettings, answer
from kubelite.net.ruleset import ProxySettings, Ruleset, keep_clients, replace_all
from kubelite.net.services import host_port_rules, service_rules

V4 = ProxySettings(node_name="node-1")
V6 = ProxySettings("node-1", "fd42::/56", "fd43::/112", ("fd43::a",))
SLICES = [endpoint_slice("10.42.0.2"), endpoint_slice("FD42::2", "fd42:0::3", name="web-2")]
DUAL = service(clusterIPs=["10.43.0.5", "fd43::5"])


def test_a_service_has_the_rules_of_each_family_it_has() -> None:
    v4, v6 = (service_rules(DUAL, SLICES, settings) for settings in (V4, V6))
    assert ("services", "10.43.0.5 . tcp . 80") in v4.elements
    assert ("services", "fd43::5 . tcp . 80") in v6.elements
    [chain] = v6.chains.values()
    assert chain[0] == "ip6 saddr != fd42::/56 jump mark-masquerade"
    assert "{ 0 : fd42::2 . 8080, 1 : fd42::3 . 8080 }" in chain[1]
    alone = service_rules(service(ip="fd43::5"), SLICES, V6)
    assert alone == v6
    assert service_rules(service(), SLICES, V6) == Ruleset()
    one = service_rules(DUAL, [endpoint_slice("fd42::2")], V6)
    assert one.chains["service/default/web/tcp/80"][1].endswith("dnat ip6 to [fd42::2]:8080")


def test_a_family_without_endpoints_is_refused_alone() -> None:
    assert service_rules(DUAL, SLICES[:1], V6).elements == {
        ("service-filter", "fd43::5 . tcp . 80"): "goto refuse"
    }


def test_no_name_in_a_rule_has_a_colon() -> None:
    found = service_rules(service(ip="fd43::5", sessionAffinity="ClientIP"), SLICES, V6)
    assert found.sets
    assert not any(":" in name for name in (*found.chains, *found.sets))
    listing = "table ip6 kubelite {\n\tset NAME {\n\t\telements = { fd42::7 expires 9s }\n\t}\n}"
    name = next(iter(found.sets))
    kept = keep_clients(listing.replace("NAME", name), found, IPV6)
    assert kept == f"add element ip6 kubelite {name} {{ fd42::7 expires 9s }}\n"


def test_a_health_check_is_answered_once() -> None:
    local = service(
        clusterIPs=["10.43.0.5", "fd43::5"],
        type="LoadBalancer",
        externalTrafficPolicy="Local",
        healthCheckNodePort=30999,
    )
    assert service_rules(local, SLICES, V4).health_ports[30999].count == 1
    assert service_rules(local, SLICES, V6).health_ports == {}


def test_source_ranges_and_external_addresses_are_those_of_the_family() -> None:
    found = service(
        clusterIPs=["10.43.0.5", "fd43::5"],
        type="NodePort",
        ports=[port(80, node_port=30080)],
        externalIPs=["198.51.100.9", "2001:DB8::9", "fd43::77", "fe80::1%eth0"],
    )
    elements = service_rules(found, SLICES, V6).elements
    keys = {key for collection, key in elements if collection != "hairpin"}
    assert keys == {
        "fd43::5 . tcp . 80",
        "2001:db8::9 . tcp . 80",
        "tcp . 30080",
    }


def test_the_table_of_ipv6() -> None:
    text = replace_all(Ruleset(), V6)
    assert text.startswith(
        "add table ip6 kubelite\ndelete table ip6 kubelite\ntable ip6 kubelite {"
    )
    assert "type ipv6_addr . inet_proto . inet_service : verdict" in text
    assert "ip6 saddr fd42::/56 ip6 daddr != { fd42::/56, ff00::/8 }" in text
    assert "nd-neighbor-solicit" in text
    assert " ip saddr" not in text
    assert " ip daddr" not in text
    four = replace_all(Ruleset(), V4)
    assert "ip6" not in four
    # The same rules, two about neighbours, and two that leave ::1 to the node's own processes.
    assert text.count("\n") <= four.count("\n") + 4
    assert text.count("ip6 daddr ::1/128 return") == 2


def pod(*addresses: str, host_ip: str = "") -> Pod:
    ports = [ContainerPort(containerPort=80, hostPort=8080, hostIP=host_ip)]
    return Pod(
        metadata=ObjectMeta(namespace="default", name="p", uid="u"),
        spec=PodSpec(nodeName="node-1", containers=[Container(ports=ports)]),
        status=PodStatus(
            podIP=addresses[0], podIPs=[PodIP(ip=one) for one in addresses], phase="Running"
        ),
    )


def test_host_ports() -> None:
    both = pod("fd42::2", "10.42.0.2")
    assert host_port_rules([both], IPV6).elements["any-host-ports", "tcp . 8080"] == "fd42::2 . 80"
    assert host_port_rules([both]).elements["any-host-ports", "tcp . 8080"] == "10.42.0.2 . 80"
    at = pod("fd42::2", "10.42.0.2", host_ip="2001:DB8::1")
    assert ("host-ports", "2001:db8::1 . tcp . 8080") in host_port_rules([at], IPV6).elements
    assert host_port_rules([at]).elements == {}
    anywhere = pod("fd42::2", "10.42.0.2", host_ip="::")
    assert ("any-host-ports", "tcp . 8080") in host_port_rules([anywhere], IPV6).elements
    assert host_port_rules([anywhere]).elements == {}


def of_policy(*blocks: IPBlock, ports: int = 1) -> Ruleset:
    peers = [NetworkPolicyPeer(ipBlock=block) for block in blocks]
    wanted = [NetworkPolicyPort(port=number + 1) for number in range(ports)]
    spec = NetworkPolicySpec(ingress=[NetworkPolicyIngressRule(from_=peers, ports=wanted)])
    item = NetworkPolicy(metadata=ObjectMeta(namespace="default", name="p"), spec=spec)
    found = members([pod("10.42.0.2", "fd42::2")], "node-1", {}, IPV6)
    return policy_rules([item], found, {"default": {}}, IPV6)


def test_policies() -> None:
    four, six = IPBlock(cidr="10.0.0.0/8"), IPBlock(cidr="FD00::/8", except_=["fd00:1::/32"])
    found = of_policy(four, six)
    assert ("ingress-pods", "fd42::2") in found.elements
    [chain] = found.chains.values()
    assert chain == ("ip6 saddr fd00::/8 ip6 saddr != fd00:1::/32 tcp dport 1 return", "drop")
    large = of_policy(four, six, ports=40)
    assert any("type ipv6_addr; flags interval" in text for text in large.sets.values())
    everything = of_policy(IPBlock(cidr="::/0"), ports=40)
    assert not any("ip6 saddr" in line for chain in everything.chains.values() for line in chain)


def test_the_addresses_that_are_connected_count_by_family() -> None:
    told = pod("10.42.0.2", "fd42::2")
    attached = {"u": ("10.42.0.9",)}
    assert [one.address for one in members([told], "node-1", attached, IPV4)] == ["10.42.0.9"]
    assert members([told], "node-1", attached, IPV6) == []


class TwoFamilies:
    """A zone with a service, and a headless one, of both families."""

    bare = service("bare", "None", ports=[port(80, name="http")])
    of_bare = [
        endpoint_slice(endpoint("10.42.0.2", hostname="db"), service_name="bare", port_name="http"),
        endpoint_slice(
            endpoint("fd42::2", hostname="db"), endpoint("fd42::3"), service_name="bare"
        ),
    ]

    def has_namespace(self, name: str) -> bool:
        return name == "default"

    def service(self, namespace: str, name: str) -> Service | None:
        return {"web": DUAL, "bare": self.bare}.get(name)

    def slices(self, namespace: str, name: str) -> list[EndpointSlice]:
        return self.of_bare

    def services_at(self, address: str) -> list[Service]:
        return [DUAL] if address in DUAL.spec.clusterIPs else []

    def slices_of_host(self, namespace: str, name: str, host: str) -> list[EndpointSlice]:
        return self.of_bare

    def slices_at(self, address: str) -> list[EndpointSlice]:
        return self.of_bare if address == "fd42::3" else []


SETTINGS = ZoneSettings(networks=tuple(map(ip_network, ("fd42::/56", "fd43::/112", "10.0.0.0/8"))))


def asked(name: str, kind: int) -> list[str]:
    found = answer(parse_name(name), kind, TwoFamilies(), SETTINGS)
    assert found is not None
    if found.code:
        return [f"code {found.code}"]
    return [f"{record.record_type} {record.data.hex()}" for record in found.records]


WEB, BARE = "web.default.svc.cluster.local", "bare.default.svc.cluster.local"
SIX = "fd43" + "0" * 26 + "05"


def test_names_of_services() -> None:
    assert asked(WEB, A) == ["1 0a2b0005"]
    assert asked(WEB, AAAA) == [f"28 {SIX}"]
    assert asked(WEB, ANY) == ["1 0a2b0005", f"28 {SIX}"]


def test_names_of_endpoints() -> None:
    assert asked(BARE, A) == ["1 0a2a0002"]
    assert len(asked(BARE, AAAA)) == 2
    assert len(asked(f"db.{BARE}", ANY)) == 2
    assert len(asked(f"fd42--3.{BARE}", AAAA)) == 1
    assert len(asked(f"_http._tcp.{BARE}", SRV)) == 1


def test_names_of_pods() -> None:
    assert asked("fd42--2.default.pod.cluster.local", AAAA) == ["28 fd42" + "0" * 26 + "02"]
    assert asked("fd42--2.default.pod.cluster.local", A) == []
    for wrong in ("fd42-2", "web", "fd42--2--3", "1-2-3-256", "fd42--2%lo"):
        assert asked(f"{wrong}.default.pod.cluster.local", AAAA) == [f"code {NAME_ERROR}"]


def reverse(hexadecimal: str) -> str:
    return ".".join(reversed(hexadecimal)) + ".ip6.arpa"


def test_addresses() -> None:
    [record] = asked(reverse(SIX), PTR)
    assert b"web".hex() in record
    [record] = asked(reverse("fd42" + "0" * 27 + "3"), PTR)
    assert b"fd42--3".hex() in record
    assert asked(reverse("fd43" + "0" * 27 + "6"), PTR) == [f"code {NAME_ERROR}"]
    for outside in (
        reverse("2001" + "0" * 28),
        "1.ip6.arpa",
        reverse("g" * 32),
        reverse("ab" * 33),
    ):
        assert answer(parse_name(outside), PTR, TwoFamilies(), SETTINGS) is None
