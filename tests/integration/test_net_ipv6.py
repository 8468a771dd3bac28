"""Pods, services and policies by IPv6, on a node of both families and on one of IPv6 only."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.dns_servers import dns_server
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service
from unit.net.questions import question as encoded

from integration.net_namespaces import FAR_V6, NODE_V6, ask, needs_root, server, shell
from integration.net_node import PODS, V4, V6, Node, on_a_node_of
from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.pods import Pod, PodIP, PodSpec, PodStatus
from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import Condition, LabelSelector, ObjectMeta
from kubelite.api.kinds.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicySpec,
)
from kubelite.api.machinery.load_balancing import ANNOUNCED
from kubelite.net.announcer import Announcer
from kubelite.net.dns_wire import AAAA, parse_query, parse_response
from kubelite.net.reset import remove_network
from kubelite.net.upstream import Upstream
from kubelite.randomness import SystemRandomness

pytestmark = [
    *needs_root,
    pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="the host has IPv6 off"),
]

PODS_V6 = ("fd42::2", "fd42::3")
CLUSTER_V6, GATEWAY_V6 = "fd43::5", "fd42::1"
POOLED = "2001:db8:1::50"
SHUT = ["TimeoutError"]


def dual(**spec: Any) -> Service:
    return service(clusterIPs=["10.43.0.5", CLUSTER_V6], **spec)


def slices(*addresses: str, **words: Any) -> list[EndpointSlice]:
    v4 = [one for one in (addresses or PODS) if ":" not in one]
    v6 = [one for one in (addresses or PODS_V6) if ":" in one]
    return [
        *([endpoint_slice(*v4, **words)] if v4 else []),
        *([endpoint_slice(*v6, name="web-2", **words)] if v6 else []),
    ]


def pod(name: str, number: int, **labels: str) -> Pod:
    addresses = (PODS[number], PODS_V6[number])
    ports = [ContainerPort(containerPort=8080, hostPort=9000 + number)]
    return Pod(
        metadata=ObjectMeta(
            namespace="default", name=name, uid=name, labels={"app": name, **labels}
        ),
        spec=PodSpec(nodeName=NODE, containers=[Container(ports=ports)]),
        status=PodStatus(
            phase="Running", podIP=addresses[0], podIPs=[PodIP(ip=one) for one in addresses]
        ),
    )


async def put_pods(node: Node) -> None:
    await node.put(Namespace(metadata=ObjectMeta(name="default")), pod("one", 0), pod("two", 1))


@on_a_node_of(V4, V6)
async def test_pods_reach_one_another_and_the_world_by_both_families(node: Node) -> None:
    assert await ask(PODS[1], 8080, pid=node.one) == [f"two {PODS[0]}"]
    assert await ask(PODS_V6[1], 8080, pid=node.one) == [f"two {PODS_V6[0]}"]
    assert await ask(PODS_V6[1], 8080) == [f"two {GATEWAY_V6}"]
    assert await ask(PODS_V6[1], 8080, pid=node.far) == [f"two {FAR_V6}"]  # routed
    inside = shell(f"nsenter -t {node.one} -n ip -6 address show dev eth0")
    assert f"{PODS_V6[0]}/128 scope global" in inside
    assert "tentative" not in inside
    # Known again, with what they had.
    assert await node.network.addresses_in("one", f"/proc/{node.one}/ns/net") == (
        PODS[0],
        PODS_V6[0],
    )


@on_a_node_of(V4, V6)
async def test_pods_do_not_meet_by_the_addresses_of_their_links(node: Node) -> None:
    """No policy would see it: the bridge carries it past the host's rules."""
    for pid in (node.one, node.two):
        assert "fe80" not in shell(f"nsenter -t {pid} -n ip -6 address show dev eth0")


@on_a_node_of(V4, V6)
async def test_services(node: Node) -> None:
    await node.put(dual(type="NodePort", ports=[port(80, node_port=30080)]), *slices())
    for client in (node.one, "self"):
        answers = await ask(CLUSTER_V6, 80, times=20, pid=client)
        assert {text.split()[0] for text in answers} == {"one", "two"}
    assert {text.split()[0] for text in await ask("10.43.0.5", 80, times=20)} == {"one", "two"}
    found = await ask(NODE_V6, 30080, times=20, pid=node.far)
    assert set(found) == {f"one {GATEWAY_V6}", f"two {GATEWAY_V6}"}
    await node.put(*slices(*PODS, PODS_V6[0]))
    assert await ask(CLUSTER_V6, 80, pid=node.one) == [f"one {GATEWAY_V6}"]  # itself
    local = dual(type="NodePort", ports=[port(80, node_port=30080)], externalTrafficPolicy="Local")
    await node.put(local)
    assert await ask(NODE_V6, 30080, pid=node.far) == [f"one {FAR_V6}"]
    # Each family has endpoints of its own: without any it refuses, and the other one goes on.
    node.client.mirror(EndpointSlice).remove("default", "web-2")
    await asyncio.wait_for(node.proxy.applied(), 5)
    assert await ask(CLUSTER_V6, 80, pid=node.one) == ["ConnectionRefusedError"]
    assert (await ask("10.43.0.5", 80, pid=node.one))[0].split()[0] in ("one", "two")
    assert await ask("fd43::77", 80, pid=node.one) == ["ConnectionRefusedError"]


@on_a_node_of(V4, V6)
async def test_clients_stay_with_an_endpoint(node: Node) -> None:
    await node.put(dual(sessionAffinity="ClientIP"), *slices())
    assert len(set(await ask(CLUSTER_V6, 80, times=10, pid=node.one))) == 1
    before = await ask(CLUSTER_V6, 80, pid=node.two)
    node.proxy._families[1].table.generation += 1  # it is written anew, and the clients stay
    await node.put(service("other", "10.43.0.9"))
    assert set(await ask(CLUSTER_V6, 80, times=10, pid=node.two)) == set(before)


@on_a_node_of(V4, V6)
async def test_udp_flows_follow_the_endpoints(node: Node) -> None:
    ports = [port(53, "UDP")]
    await node.put(dual(ports=ports), *slices(PODS[0], PODS_V6[0], protocol="UDP"))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((CLUSTER_V6, 53))

        def talk() -> bytes:
            client.send(b"?")
            return client.recv(100).split()[0]

        assert await asyncio.to_thread(talk) == b"one"
        await node.put(*slices(PODS[0], PODS_V6[1], protocol="UDP"))
        assert await asyncio.to_thread(talk) == b"two"


@on_a_node_of(V4, V6)
async def test_host_ports(node: Node) -> None:
    await put_pods(node)
    assert await ask(NODE_V6, 9001, pid=node.far) == [f"two {FAR_V6}"]
    assert await ask("198.51.100.1", 9001, pid=node.far) == ["two 198.51.100.2"]
    assert (await ask("127.0.0.1", 9001))[0].startswith("two")
    assert (await ask(NODE_V6, 9001))[0].startswith("two")


@on_a_node_of(V4, V6)
async def test_policies(node: Node) -> None:
    await put_pods(node)
    two = LabelSelector(matchLabels={"app": "two"})

    def policy(*peers: NetworkPolicyPeer) -> NetworkPolicy:
        rules = [NetworkPolicyIngressRule(from_=list(peers))] if peers else []
        spec = NetworkPolicySpec(podSelector=two, policyTypes=["Ingress"], ingress=rules)
        return NetworkPolicy(metadata=ObjectMeta(namespace="default", name="p"), spec=spec)

    await node.put(policy())
    for address in (PODS[1], PODS_V6[1]):
        assert await ask(address, 8080, pid=node.one) == SHUT
    assert (await ask(PODS_V6[1], 8080))[0].startswith("two")  # the node itself may
    shell("ip -6 neigh flush dev kubelite0")  # neighbours are found all the same
    assert (await ask(PODS_V6[1], 8080))[0].startswith("two")
    one = LabelSelector(matchLabels={"app": "one"})
    await node.put(policy(NetworkPolicyPeer(podSelector=one)))
    assert await ask(PODS_V6[1], 8080, pid=node.one) == [f"two {PODS_V6[0]}"]
    assert await ask(PODS_V6[1], 8080, pid=node.far) == SHUT
    far = IPBlock(cidr="2001:db8:1::/64")
    await node.put(policy(NetworkPolicyPeer(ipBlock=far)))
    assert await ask(PODS_V6[1], 8080, pid=node.far) == [f"two {FAR_V6}"]
    assert await ask(PODS_V6[1], 8080, pid=node.one) == SHUT
    without = IPBlock(cidr=far.cidr, except_=[f"{FAR_V6}/128"])
    await node.put(policy(NetworkPolicyPeer(ipBlock=without)))
    assert await ask(PODS_V6[1], 8080, pid=node.far) == SHUT


@on_a_node_of(V6)
async def test_egress_policies_of_a_node_of_ipv6_only(node: Node) -> None:
    status = PodStatus(phase="Running", podIP=PODS_V6[0], podIPs=[PodIP(ip=PODS_V6[0])])
    alone = msgspec.structs.replace(pod("one", 0), status=status)
    await node.put(Namespace(metadata=ObjectMeta(name="default")), alone)
    assert await ask(PODS_V6[1], 8080, pid=node.one) == [f"two {PODS_V6[0]}"]
    spec = NetworkPolicySpec(podSelector=LabelSelector(), policyTypes=["Egress"])
    await node.put(NetworkPolicy(metadata=ObjectMeta(namespace="default", name="p"), spec=spec))
    shell(f"nsenter -t {node.one} -n ip -6 neigh flush all; ip -6 neigh flush dev kubelite0")
    assert await ask(PODS_V6[1], 8080, pid=node.one) == SHUT
    assert (await ask(PODS_V6[0], 8080))[0].startswith("one")
    # Nor does an address of its link lead to the node, which one with the right to may give itself.
    own = shell("ip -6 address show dev kubelite0 scope link").partition("inet6 ")[2]
    shell(f"nsenter -t {node.one} -n ip address add fe80::2/64 dev eth0 nodad")
    gateway = f"{own.partition('/')[0]}%eth0"
    with server("node", 8088, "self"):
        assert await ask(gateway, 8088, pid=node.one) == SHUT
        node.running.cancel()
        shell("nft delete table bridge kubelite")  # which binds pods to their addresses
        assert await ask(gateway, 8088, pid=node.one) == SHUT
        shell("nft delete table ip6 kubelite")
        assert (await ask(gateway, 8088, pid=node.one))[0].startswith("node")


@on_a_node_of(V6)
async def test_a_node_of_ipv6_only(node: Node) -> None:
    alone = service(ip=CLUSTER_V6, type="NodePort", ports=[port(80, node_port=30080)])
    await node.put(alone, endpoint_slice(*PODS_V6))
    assert {text.split()[0] for text in await ask(CLUSTER_V6, 80, times=20)} == {"one", "two"}
    assert await ask(NODE_V6, 30080, pid=node.far) in (
        [f"one {GATEWAY_V6}"],
        [f"two {GATEWAY_V6}"],
    )
    assert "10.4" not in shell(f"ip address show dev kubelite0; nsenter -t {node.one} -n ip addr")
    assert "table ip kubelite" not in shell("nft list tables")


@on_a_node_of(V6, V4)
async def test_names(node: Node) -> None:
    both = service(ip=CLUSTER_V6, clusterIPs=[CLUSTER_V6, "10.43.0.5"])
    await node.put(both, service("bare", "None"))
    await node.put(endpoint_slice(endpoint(PODS_V6[1]), service_name="bare"))
    while "tentative" in (inside := shell("ip -6 address show dev kubelite0 scope link")):
        await asyncio.sleep(0.01)  # the kernel takes a moment, also without asking the link
    # By its number: the event loop looks names up in a thread that may be in the namespace of another test.
    index = shell("ip -o link show dev kubelite0").partition(":")[0]
    own = f"{inside.partition('inet6 ')[2].partition('/')[0]}%{index}"
    upstream = Upstream(lambda: (), SystemRandomness())
    names = dns_server(node.client, upstream, ("fd43::a", 53), ("10.43.0.10", 53), (own, 53))
    await names.start()
    running = asyncio.create_task(names.run())
    try:
        for kind, address in (("aaaa", CLUSTER_V6), ("a", "10.43.0.5")):
            for at in ("fd43::a", "10.43.0.10"):
                name = "web.default.svc.cluster.local"
                question = f"nsenter -t {node.one} -n busybox nslookup -type={kind} {name} {at}"
                assert f"Address: {address}" in await asyncio.to_thread(shell, question)
        name = "bare.default.svc.cluster.local"
        question = f"nsenter -t {node.one} -n busybox nslookup -type=aaaa {name} fd43::a"
        assert f"Address: {PODS_V6[1]}" in await asyncio.to_thread(shell, question)
        # A resolver outside may have an address of a link's own, which needs the link's number.
        outside = Upstream(lambda: ((own, 53),), SystemRandomness())
        asked = encoded("web.default.svc.cluster.local", AAAA)
        for by_tcp in (False, True):
            answered = await outside.ask(asked, parse_query(asked), by_tcp=by_tcp)
            assert parse_response(answered).answers[0].data == IPv6Address(CLUSTER_V6).packed
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await names.stop()


def balanced(chosen: str) -> Service:
    ingress = [LoadBalancerIngress(ip=POOLED, ipMode="VIP")]
    conditions = [Condition(type=ANNOUNCED, status="True", message=chosen)]
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress), conditions=conditions)
    return msgspec.structs.replace(dual(type="LoadBalancer"), status=status)


@asynccontextmanager
async def announcing(node: Node, name: str = NODE) -> AsyncIterator[None]:
    settings = msgspec.structs.replace(V6, node_name=name)
    announcer = Announcer(node.client.as_client(), settings, ["198.51.100.1", NODE_V6])
    running = asyncio.create_task(announcer.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def until_answered(node: Node, expected: str) -> None:
    async with asyncio.timeout(20):
        while True:
            shell(f"nsenter -t {node.far} -n ip -6 neigh flush all")
            [answer] = await ask(POOLED, 80, pid=node.far)
            if answer.startswith(expected):
                return


@on_a_node_of(V4, V6)
async def test_the_chosen_node_answers_for_an_address_of_a_pool(node: Node) -> None:
    await node.put(balanced(NODE), endpoint_slice(PODS_V6[0]))
    async with announcing(node):
        await until_answered(node, "one")
        assert await ask(POOLED, 81, pid=node.far) == ["ConnectionRefusedError"]
        assert POOLED not in shell("ip address")
        # Also a question that goes to this node alone, as a neighbour asks whether it is still there.
        shell(f"nsenter -t {node.far} -n ip -6 neigh change {POOLED} dev eth0 nud probe")
        async with asyncio.timeout(5):
            while "REACHABLE" not in shell(
                f"nsenter -t {node.far} -n ip -6 neigh show {POOLED} nud reachable"
            ):
                await asyncio.sleep(0.05)
        await node.put(balanced("another"))
        await until_answered(node, "TimeoutError")
        # A neighbour learns of the new machine without asking: it is told.
        wrong = "02:00:00:00:00:99"
        shell(
            f"nsenter -t {node.far} -n ip -6 neigh replace {POOLED} lladdr {wrong} dev eth0 nud stale"
        )
        await node.put(balanced(NODE))
        async with asyncio.timeout(5):
            while wrong in shell(f"nsenter -t {node.far} -n ip -6 neigh show {POOLED}"):
                await asyncio.sleep(0.05)
        assert (await ask(POOLED, 80, pid=node.far))[0].startswith("one")
    shell(f"nsenter -t {node.far} -n ip -6 neigh flush all")
    assert await ask(POOLED, 80, pid=node.far) == ["TimeoutError"]


@on_a_node_of(V4, V6)
async def test_the_settings_of_the_host_come_back(node: Node) -> None:
    assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "1\n"
    assert Path("/proc/sys/net/ipv6/conf/uplink0/accept_ra").read_text() == "2\n"
    node.running.cancel()
    assert await remove_network(["one", "two"])
    assert Path("/proc/sys/net/ipv6/conf/all/forwarding").read_text() == "0\n"
    assert Path("/proc/sys/net/ipv6/conf/uplink0/accept_ra").read_text() == "1\n"
    assert "kubelite" not in shell("nft list tables; ip link")
