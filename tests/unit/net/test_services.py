"""Which rules a service, or a pod with host ports, gets."""

import msgspec
import pytest
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service

from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.core.services import (
    ClientIPConfig,
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
    SessionAffinityConfig,
)
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.ruleset import ProxySettings, Ruleset, merge
from kubelite.net.services import host_port_rules, is_cut, service_rules, share_of

SETTINGS = ProxySettings(node_name=NODE)
CHAIN = "service/default/web/tcp/80"
EXTERNAL = "external/default/web/tcp/80"
CLUSTER = ("services", "10.43.0.5 . tcp . 80")
REFUSED = ("service-filter", "10.43.0.5 . tcp . 80")
ONE, TWO, FAR = "10.42.0.2", "10.42.0.3", "10.42.1.2"


def rules(item: Service, *slices: EndpointSlice) -> Ruleset:
    return service_rules(item, slices, SETTINGS)


def balanced(*addresses: str) -> str:
    if len(addresses) == 1:
        return f"meta l4proto tcp dnat ip to {addresses[0]}:8080"
    choices = ", ".join(f"{number} : {address} . 8080" for number, address in enumerate(addresses))
    return f"meta l4proto tcp dnat ip addr . port to numgen random mod {len(addresses)} map {{ {choices} }}"


def test_a_cluster_address_leads_to_all_ready_endpoints() -> None:
    found = rules(
        service(), endpoint_slice(TWO, endpoint(FAR, "other"), endpoint("10.42.0.9", ready=False))
    )
    assert found.elements[CLUSTER] == f"goto {CHAIN}"
    assert found.chains[CHAIN] == (
        "ip saddr != 10.42.0.0/16 jump mark-masquerade",
        balanced(TWO, FAR),
    )
    assert ("hairpin", f"{TWO} . {TWO}") in found.elements
    assert ("hairpin", f"{FAR} . {FAR}") not in found.elements


def test_endpoints_of_several_slices_are_taken_once() -> None:
    found = rules(service(), endpoint_slice(ONE, TWO), endpoint_slice(TWO, name="other"))
    assert found.chains[CHAIN][-1] == balanced(ONE, TWO)


@pytest.mark.parametrize(
    ("endpoints", "chosen"),
    [
        ([endpoint(ONE), endpoint(TWO, ready=False, serving=True, terminating=True)], [ONE]),
        ([endpoint(TWO, ready=False, serving=True, terminating=True)], [TWO]),
        ([endpoint(ONE, ready=None)], [ONE]),
        ([endpoint(TWO, ready=False, serving=False, terminating=True)], []),
        ([endpoint(TWO, ready=False, serving=True, terminating=False)], []),
    ],
)
def test_ending_endpoints_serve_only_when_no_other_does(
    endpoints: list[object], chosen: list[str]
) -> None:
    found = rules(service(), endpoint_slice(*endpoints))  # type: ignore[arg-type]  # endpoints
    if chosen:
        assert found.chains[CHAIN][-1] == balanced(*chosen)
    else:
        assert found.elements == {REFUSED: "goto refuse"}


def test_without_endpoints_every_way_in_refuses() -> None:
    item = service(type="NodePort", ports=[port(node_port=30080)], externalIPs=["203.0.113.8"])
    assert rules(item).elements == {
        REFUSED: "goto refuse",
        ("service-filter", "203.0.113.8 . tcp . 80"): "goto refuse",
        ("node-port-filter", "tcp . 30080"): "goto refuse",
    }


@pytest.mark.parametrize(
    "item",
    [
        service(ip="None"),
        service(ip=""),
        service(ip="fd00::5"),
        service(type="ExternalName", externalName="example.org"),
        service(ip="10.43.0.10"),
    ],
)
def test_no_rules_for_services_without_an_address_to_serve(item: Service) -> None:
    assert rules(item, endpoint_slice(ONE)) == Ruleset()


def test_ports_match_by_name_and_protocol() -> None:
    item = service(ports=[port(53, "UDP", "dns"), port(53, "TCP", "dns-tcp")])
    found = rules(item, endpoint_slice(ONE, protocol="UDP", port_name="dns", port=5353))
    assert found.elements["services", "10.43.0.5 . udp . 53"] == "goto service/default/web/udp/53"
    assert found.elements["service-filter", "10.43.0.5 . tcp . 53"] == "goto refuse"
    assert (
        found.chains["service/default/web/udp/53"][-1] == f"meta l4proto udp dnat ip to {ONE}:5353"
    )
    assert found.udp_endpoints == {("10.43.0.5", 53): frozenset({ONE})}


def test_node_port_hides_the_client() -> None:
    item = service(type="NodePort", ports=[port(node_port=30080)])
    found = rules(item, endpoint_slice(ONE))
    assert found.elements["node-ports", "tcp . 30080"] == f"goto {EXTERNAL}"
    assert found.chains[EXTERNAL] == ("jump mark-masquerade", f"goto {CHAIN}")


def test_external_policy_local_keeps_the_client_and_the_node() -> None:
    item = service(type="NodePort", ports=[port(node_port=30080)], externalTrafficPolicy="Local")
    found = rules(item, endpoint_slice(ONE, endpoint(FAR, "other")))
    assert found.chains[EXTERNAL] == (
        f"ip saddr 10.42.0.0/16 goto {CHAIN}",
        "fib saddr type local jump mark-masquerade",
        f"fib saddr type local goto {CHAIN}",
        balanced(ONE),
    )
    nothing_here = rules(item, endpoint_slice(endpoint(FAR, "other")))
    assert nothing_here.chains[EXTERNAL][-1] == "drop"


def test_internal_policy_local() -> None:
    item = service(internalTrafficPolicy="Local", type="NodePort", ports=[port(node_port=30080)])
    found = rules(item, endpoint_slice(ONE, endpoint(FAR, "other")))
    assert found.chains[CHAIN][-1] == balanced(ONE)
    assert found.chains[EXTERNAL][-1] == "goto anywhere/default/web/tcp/80"
    assert found.chains["anywhere/default/web/tcp/80"] == (balanced(ONE, FAR),)
    assert rules(item, endpoint_slice(endpoint(FAR, "other"))).elements[REFUSED] == "drop"


@pytest.mark.parametrize("policy", ["internalTrafficPolicy", "externalTrafficPolicy"])
def test_an_ending_endpoint_that_serves_its_node_alone_reaches_itself(policy: str) -> None:
    ending = endpoint(ONE, ready=False, serving=True, terminating=True)
    found = rules(service(**{policy: "Local"}), endpoint_slice(ending, endpoint(FAR, "other")))
    assert ("hairpin", f"{ONE} . {ONE}") in found.elements


def test_affinity_remembers_clients_by_endpoint() -> None:
    config = SessionAffinityConfig(clientIP=ClientIPConfig(timeoutSeconds=60))
    item = service(sessionAffinity="ClientIP", sessionAffinityConfig=config)
    found = rules(item, endpoint_slice(ONE, TWO))
    clients = f"clients/default/web/tcp/80/{ONE}/8080/60"
    assert found.sets[clients] == "type ipv4_addr; flags dynamic,timeout; timeout 60s;"
    assert len(found.sets) == 2
    chain = f"endpoint/default/web/tcp/80/{ONE}/8080"
    assert found.chains[chain] == (f"update @{clients} {{ ip saddr }}", balanced(ONE))
    assert f"ip saddr @{clients} goto {chain}" in found.chains[CHAIN]


def test_load_balancer_source_ranges_fence_only_its_address() -> None:
    item = service(
        type="LoadBalancer",
        ports=[port(node_port=30080)],
        externalIPs=["203.0.113.8"],
        loadBalancerSourceRanges=[" 192.0.2.7/24"],
    )
    ingress = [
        LoadBalancerIngress(ip="203.0.113.7"),
        LoadBalancerIngress(ip="203.0.113.9", ipMode="Proxy"),
    ]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress))
    found = rules(msgspec.structs.replace(item, status=status), endpoint_slice(ONE))
    fence = "firewall/default/web/tcp/80"
    assert found.chains[fence] == ("ip saddr 192.0.2.0/24 return", "drop")
    filtered = {key: value for (where, key), value in found.elements.items() if "filter" in where}
    assert filtered == {"203.0.113.7 . tcp . 80": f"goto {fence}"}
    assert ("services", "203.0.113.8 . tcp . 80") in found.elements
    assert ("services", "203.0.113.9 . tcp . 80") not in found.elements


def test_every_external_address_of_a_family_leads_to_the_service_and_is_fenced() -> None:
    item = service(
        type="LoadBalancer",
        externalIPs=["203.0.113.7", "203.0.113.8", "2001:db8::8", "203.0.113.8"],
        loadBalancerSourceRanges=["192.0.2.0/24"],
    )
    ingress = [
        LoadBalancerIngress(ip=text) for text in ("203.0.113.9", "203.0.113.10", "2001:db8::9")
    ]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress))
    item = msgspec.structs.replace(item, status=status)
    found = rules(item, endpoint_slice(ONE))
    keys = {key for where, key in found.elements if where == "services"}
    external = {f"203.0.113.{number} . tcp . 80" for number in (7, 8, 9, 10)}
    assert keys == {CLUSTER[1], *external}
    fenced = {key for where, key in found.elements if where == "service-filter"}
    assert fenced == {"203.0.113.9 . tcp . 80", "203.0.113.10 . tcp . 80"}
    refused = rules(item).elements
    assert {key for where, key in refused if where == "service-filter"} == keys


def test_no_service_takes_a_machines_own_loopback() -> None:
    taken = ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.5"]
    ingress = [LoadBalancerIngress(ip=text) for text in taken]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress))
    item = service(type="LoadBalancer", externalIPs=taken)
    found = rules(msgspec.structs.replace(item, status=status), endpoint_slice(ONE))
    assert {key for where, key in found.elements if where == "services"} == {CLUSTER[1]}


def test_addresses_of_load_balancers_that_are_left_out_are_told_of() -> None:
    ports = [port(number, name=f"p{number}") for number in range(1, 101)]
    item = service(type="LoadBalancer", ports=ports)
    each = share_of(item)
    for count in (each, each + 1):
        ingress = [
            LoadBalancerIngress(ip=f"203.0.{number // 250}.{number % 250}")
            for number in range(count)
        ]
        status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress))
        assert is_cut(msgspec.structs.replace(item, status=status), []) == (count > each)


def test_a_node_answers_at_its_own_addresses_for_load_balancers_that_have_one_of_them() -> None:
    item = service(type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.0/24"])
    ingress = [LoadBalancerIngress(ip="203.0.113.7", ipMode="VIP")]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress))
    item = msgspec.structs.replace(item, status=status)
    own = msgspec.structs.replace(SETTINGS, node_addresses=("10.0.0.1", "203.0.113.7"))
    found = service_rules(item, [endpoint_slice(ONE)], own)
    assert found.elements["node-ports", "tcp . 80"] == f"goto {EXTERNAL}"
    # Behind a router the packets have the node's inner address, where they are fenced as well.
    assert found.elements["node-port-filter", "tcp . 80"] == "goto firewall/default/web/tcp/80"
    assert found.elements["services", "203.0.113.7 . tcp . 80"] == f"goto {EXTERNAL}"
    refusing = service_rules(item, [], own)
    assert refusing.elements["node-port-filter", "tcp . 80"] == "goto refuse"
    other = msgspec.structs.replace(SETTINGS, node_addresses=("10.0.0.2",))
    elsewhere = service_rules(item, [endpoint_slice(ONE)], other)
    assert not any(where.startswith("node-port") for where, _ in elsewhere.elements)
    proxied = [LoadBalancerIngress(ip="203.0.113.7", ipMode="Proxy")]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=proxied))
    by_proxy = service_rules(
        msgspec.structs.replace(item, status=status), [endpoint_slice(ONE)], own
    )
    assert not any(where.startswith("node-port") for where, _ in by_proxy.elements)


def test_no_service_takes_over_the_addresses_of_pods_and_other_services() -> None:
    thief = service("thief", "10.43.0.9", externalIPs=["10.43.0.1", "10.42.0.5", "203.0.113.7"])
    taken = [LoadBalancerIngress(ip="10.43.0.2"), LoadBalancerIngress(ip="203.0.113.8")]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=taken))
    for kind in ("ClusterIP", "LoadBalancer"):
        spec = msgspec.structs.replace(thief.spec, type=kind)
        found = rules(
            msgspec.structs.replace(thief, spec=spec, status=status),
            endpoint_slice(ONE, service_name="thief"),
        )
        addresses = {
            key.partition(" ")[0] for (where, key) in found.elements if where == "services"
        }
        wanted = {"10.43.0.9", "203.0.113.7"} | (
            {"203.0.113.8"} if kind == "LoadBalancer" else set()
        )
        assert addresses == wanted


@pytest.mark.parametrize("address", ["10.42.0.2 . 80 } ; flush ruleset", "127.0.0.1", "::1", ""])
def test_no_host_ports_for_what_is_no_address_of_a_pod(address: str) -> None:
    assert not host_port_rules([pod(address=address)]).elements


def pod(name: str = "a", address: str = ONE, *, host_ip: str = "", on_host: bool = False) -> Pod:
    number = ContainerPort(containerPort=80, hostPort=8888, hostIP=host_ip)
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(containers=[Container(name="c", ports=[number])], hostNetwork=on_host),
        status=PodStatus(phase="Running", podIP=address),
    )


def test_host_ports() -> None:
    found = host_port_rules([pod(), pod("b", TWO), pod("c", TWO, host_ip="127.0.0.1")])
    assert found.elements == {
        ("any-host-ports", "tcp . 8888"): f"{ONE} . 80",
        ("host-ports", "127.0.0.1 . tcp . 8888"): f"{TWO} . 80",
        ("hairpin", f"{ONE} . {ONE}"): "",
        ("hairpin", f"{TWO} . {TWO}"): "",
    }


def test_host_ports_of_udp_say_where_their_flows_should_lead() -> None:
    def udp(host_ip: str = "", address: str = ONE) -> Pod:
        number = ContainerPort(containerPort=80, hostPort=8888, hostIP=host_ip, protocol="UDP")
        spec = PodSpec(containers=[Container(name="c", ports=[number])])
        return msgspec.structs.replace(pod(address=address), spec=spec)

    assert host_port_rules([pod()]).udp_endpoints == {}
    assert host_port_rules([udp(), udp(address=TWO), udp("127.0.0.1", TWO)]).udp_endpoints == {
        ("", 8888): frozenset({ONE}),  # the first has it, as in the rules
        ("127.0.0.1", 8888): frozenset({TWO}),
    }


def test_a_port_that_two_kinds_of_rules_claim_keeps_the_flows_of_both() -> None:
    parts = [Ruleset(udp_endpoints={("", 30053): frozenset({address})}) for address in (ONE, TWO)]
    assert merge(parts).udp_endpoints == {("", 30053): frozenset({ONE, TWO})}


def test_no_host_ports_for_pods_on_the_nodes_network_without_address_or_ended() -> None:
    ended = msgspec.structs.replace(pod(), status=PodStatus(phase="Succeeded", podIP=ONE))
    assert host_port_rules([pod(on_host=True), pod(address=""), ended]) == Ruleset()
