"""Services carry real traffic between real namespaces."""

import asyncio
import socket
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service

from integration.net_namespaces import (
    ask,
    needs_root,
    server,
    shell,
)
from integration.net_node import PODS, Node, on_a_node
from kubelite.api.kinds.core.containers import Container, ContainerPort
from kubelite.api.kinds.core.nodes import Node as KubernetesNode
from kubelite.api.kinds.core.pods import Pod, PodSpec, PodStatus
from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.reset import remove_network

pytestmark = needs_root


@on_a_node
async def test_all_endpoints_are_reached_from_node_and_pods(node: Node) -> None:
    await node.put(service(), endpoint_slice(*PODS))
    from_node = await ask("10.43.0.5", 80, times=40)
    assert set(from_node) == {"one 10.42.0.1", "two 10.42.0.1"}
    from_pod = await ask("10.43.0.5", 80, times=40, pid=node.one)
    # a pod that reaches itself sees its node as the client (hairpin), others see the pod
    assert set(from_pod) == {"one 10.42.0.1", "two 10.42.0.2"}


@on_a_node
async def test_hints_keep_traffic_in_the_zone_that_the_node_is_in_now(node: Node) -> None:
    one, two = (
        endpoint(address, for_zones=[zone])
        for address, zone in (("10.42.0.2", "a"), ("10.42.0.3", "b"))
    )
    await node.put(service(), endpoint_slice(one, two))
    for zone, expected in (("a", {"one"}), ("b", {"two"}), ("", {"one", "two"})):
        labels = {"topology.kubernetes.io/zone": zone} if zone else {}
        await node.put(KubernetesNode(metadata=ObjectMeta(name=NODE, labels=labels)))
        answers = await ask("10.43.0.5", 80, times=30)
        assert {answer.split()[0] for answer in answers} == expected


@on_a_node
async def test_udp_and_several_ports(node: Node) -> None:
    ports = [port(53, "UDP", "dns"), port(80, "TCP", "http")]
    await node.put(
        service(ports=ports),
        endpoint_slice(*PODS, name="a", protocol="UDP", port_name="dns"),
        endpoint_slice(PODS[0], name="b", protocol="TCP", port_name="http"),
    )
    counts = Counter(await ask("10.43.0.5", 53, times=30, pid=node.one, kind="udp"))
    assert set(counts) == {"one 10.42.0.1", "two 10.42.0.2"}
    assert set(await ask("10.43.0.5", 80, times=10)) == {"one 10.42.0.1"}


@on_a_node
async def test_node_port(node: Node) -> None:
    await node.put(service(type="NodePort", ports=[port(node_port=30080)]), endpoint_slice(*PODS))
    both = {"one 10.42.0.1", "two 10.42.0.1"}
    assert set(await ask("198.51.100.1", 30080, times=30, pid=node.far)) == both
    assert set(await ask("198.51.100.1", 30080, times=30, pid=node.one)) == both
    assert set(await ask("198.51.100.1", 30080, times=30)) == both
    assert set(await ask("127.0.0.1", 30080, times=30)) == both


@on_a_node
async def test_node_port_with_local_policy_keeps_the_clients_address(node: Node) -> None:
    await node.put(
        service(type="NodePort", ports=[port(node_port=30080)], externalTrafficPolicy="Local"),
        endpoint_slice(PODS[0], endpoint(PODS[1], node="elsewhere")),
    )
    assert set(await ask("198.51.100.1", 30080, times=20, pid=node.far)) == {"one 198.51.100.2"}
    assert {line.split()[0] for line in await ask("10.43.0.5", 80, times=30)} == {"one", "two"}
    await node.put(endpoint_slice(endpoint(PODS[1], node="elsewhere")))
    assert await ask("198.51.100.1", 30080, pid=node.far) == ["TimeoutError"]
    assert (await ask("198.51.100.1", 30080, pid=node.one))[0].startswith("two")


@on_a_node
async def test_internal_policy_local_never_leaves_the_node(node: Node) -> None:
    slices = endpoint_slice(PODS[0], endpoint(PODS[1], node="elsewhere"))
    await node.put(service(internalTrafficPolicy="Local"), slices)
    assert set(await ask("10.43.0.5", 80, times=20)) == {"one 10.42.0.1"}
    await node.put(endpoint_slice(endpoint(PODS[1], node="elsewhere")))
    assert await ask("10.43.0.5", 80) == ["TimeoutError"]


@on_a_node
async def test_without_endpoints_it_is_refused_at_once(node: Node) -> None:
    await node.put(
        service(
            type="NodePort",
            ports=[port(80, node_port=30080, name="t"), port(80, "UDP", "u", node_port=30080)],
        )
    )
    refused = ["ConnectionRefusedError"]
    loop = asyncio.get_running_loop()
    started = loop.time()
    for kind in ("tcp", "udp"):
        # what the node itself sends by UDP fails right where it is sent
        own = refused if kind == "tcp" else ["PermissionError"]
        assert await ask("10.43.0.5", 80, kind=kind) == own
        assert await ask("10.43.0.5", 80, pid=node.one, kind=kind) == refused
        assert await ask("198.51.100.1", 30080, pid=node.far, kind=kind) == refused
    assert await ask("10.43.0.99", 80, pid=node.one) == refused  # no such service
    assert await ask("10.43.0.99", 80) == refused
    assert loop.time() - started < 4  # eight processes; a lost packet would cost a second each


@on_a_node
async def test_session_affinity(node: Node) -> None:
    affine = service(sessionAffinity="ClientIP")
    await node.put(affine, endpoint_slice(*PODS))
    first = await ask("10.43.0.5", 80, times=30, pid=node.two)
    assert len(set(first)) == 1
    await node.put(service(name="other", ip="10.43.0.6"))  # other changes leave it alone
    assert set(await ask("10.43.0.5", 80, times=10, pid=node.two)) == set(first)
    rest = PODS[1] if first[0].startswith("one") else PODS[0]
    await node.put(endpoint_slice(rest))
    then = await ask("10.43.0.5", 80, times=10, pid=node.two)
    assert len(set(then)) == 1
    assert then[0].split()[0] != first[0].split()[0]


@on_a_node
async def test_external_addresses_and_source_ranges(node: Node) -> None:
    status = ServiceStatus(
        loadBalancer=LoadBalancerStatus(ingress=[LoadBalancerIngress(ip="203.0.113.7")])
    )
    balanced = service(type="LoadBalancer", externalIPs=["203.0.113.8"])

    balanced = msgspec.structs.replace(balanced, status=status)
    await node.put(balanced, endpoint_slice(PODS[0]))
    for address in ("203.0.113.7", "203.0.113.8"):
        assert await ask(address, 80, pid=node.far) == ["one 10.42.0.1"]
    spec = msgspec.structs.replace(balanced.spec, loadBalancerSourceRanges=["192.0.2.0/24"])
    await node.put(msgspec.structs.replace(balanced, spec=spec))
    assert await ask("203.0.113.7", 80, pid=node.far) == ["TimeoutError"]
    assert await ask("203.0.113.8", 80, pid=node.far) == ["one 10.42.0.1"]


@on_a_node
async def test_the_api_server_on_the_node(node: Node) -> None:
    api = endpoint_slice("198.51.100.1", service_name="kubernetes", port=6443, port_name="https")
    ports = [port(443, name="https")]
    with server("api", 6443, "self"):
        await node.put(service("kubernetes", "10.43.0.1", ports=ports), api)
        assert await ask("10.43.0.1", 443, pid=node.one) == ["api 10.42.0.2"]
        assert (await ask("10.43.0.1", 443))[0].startswith("api")


@on_a_node
async def test_pods_reach_the_outside_as_their_node(node: Node) -> None:
    with server("far", 9000, node.far):
        assert await ask("198.51.100.2", 9000, pid=node.one) == ["far 198.51.100.1"]
        assert await ask("198.51.100.2", 9000, pid=node.one, kind="udp") == ["far 198.51.100.1"]


def host_port_pod(
    host_ip: str = "", *, protocol: str = "TCP", address: str = PODS[0], number: int = 8888
) -> Pod:
    port = ContainerPort(containerPort=8080, hostPort=number, hostIP=host_ip, protocol=protocol)
    return Pod(
        metadata=ObjectMeta(namespace="default", name="one"),
        spec=PodSpec(nodeName=NODE, containers=[Container(name="c", ports=[port])]),
        status=PodStatus(phase="Running", podIP=address),
    )


class Talker:
    """A client that never falls silent: one socket, so one flow."""

    def __init__(self, address: str, number: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(2.0)
        self._socket.connect((address, number))

    def __enter__(self) -> "Talker":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self) -> str:
        """Return who answers, or the name of the error; blocks."""
        try:
            self._socket.send(b"?")
            return self._socket.recv(100).decode().split()[0]
        except OSError as error:
            return type(error).__name__


@on_a_node
async def test_host_ports(node: Node) -> None:
    await node.put(host_port_pod())
    assert await ask("198.51.100.1", 8888, pid=node.far) == ["one 198.51.100.2"]
    assert await ask("198.51.100.1", 8888, pid=node.one) == ["one 10.42.0.1"]
    assert await ask("198.51.100.1", 8888, pid=node.two) == ["one 10.42.0.3"]
    assert await ask("127.0.0.1", 8888) == ["one 10.42.0.1"]
    await node.put(host_port_pod("127.0.0.1"))
    assert await ask("198.51.100.1", 8888, pid=node.far) == ["ConnectionRefusedError"]
    assert await ask("127.0.0.1", 8888) == ["one 10.42.0.1"]


@on_a_node
async def test_udp_clients_that_never_fall_silent_follow_the_endpoints(node: Node) -> None:
    await node.put(service(ports=[port(53, "UDP")]), endpoint_slice(PODS[0], protocol="UDP"))
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: object) -> None:
            heard.put_nowait(data)

    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=("10.43.0.5", 53))
    transport.sendto(b"?")
    assert (await asyncio.wait_for(heard.get(), 2)).startswith(b"one")
    await node.put(endpoint_slice(PODS[1], protocol="UDP"))
    transport.sendto(b"?")
    assert (await asyncio.wait_for(heard.get(), 2)).startswith(b"two")
    transport.close()


@on_a_node
async def test_udp_clients_of_a_host_port_follow_the_pod_that_has_it(node: Node) -> None:
    with Talker("198.51.100.1", 8888) as outer, Talker("127.0.0.1", 8888) as inner:
        for client in (outer, inner):
            assert client.ask() == "ConnectionRefusedError"  # the flow is tracked from here on
        await node.put(host_port_pod(protocol="UDP"))
        assert (outer.ask(), inner.ask()) == ("one", "one")
        await node.put(host_port_pod(protocol="UDP", address=PODS[1]))
        assert (outer.ask(), inner.ask()) == ("two", "two")
        node.client.mirror(Pod).remove("default", "one")
        await asyncio.wait_for(node.proxy.applied(), 5)
        assert (outer.ask(), inner.ask()) == ("ConnectionRefusedError",) * 2


@on_a_node
async def test_udp_clients_of_a_node_port_follow_a_service_that_comes_later(node: Node) -> None:
    with Talker("198.51.100.1", 30053) as client:
        assert client.ask() == "ConnectionRefusedError"
        item = service(type="NodePort", ports=[port(53, "UDP", node_port=30053)])
        await node.put(item, endpoint_slice(PODS[1], protocol="UDP"))
        assert client.ask() == "two"


@on_a_node
async def test_a_host_port_does_not_take_the_clusters_dns_address(node: Node) -> None:
    """A pod with host port 53, as of a DNS server for the home, must not answer for the cluster."""
    with server("dns", 53, "self"):
        await node.put(host_port_pod(number=53))
        assert await ask("198.51.100.1", 53, pid=node.far) == ["one 198.51.100.2"]
        assert (await ask("10.43.0.10", 53, pid=node.two))[0].startswith("dns ")


@pytest.mark.parametrize(
    "disturbance",
    ["nft flush ruleset", "nft delete table ip kubelite", "nft flush chain ip kubelite dispatch"],
)
def test_rules_come_back_when_somebody_removes_them(disturbance: str) -> None:
    @on_a_node
    async def check(node: Node) -> None:
        await node.put(service(), endpoint_slice(*PODS))
        shell(disturbance)
        async with asyncio.timeout(3):
            while node.proxy.table.generation == 0:
                await asyncio.sleep(0.01)
            await node.proxy.applied()
        assert {line.split()[0] for line in await ask("10.43.0.5", 80, times=20)} == {"one", "two"}

    check()


@on_a_node
async def test_a_host_that_forwards_nothing_lets_pods_through(node: Node) -> None:
    shell("iptables -P FORWARD DROP")
    await node.put(service(), endpoint_slice(*PODS))
    for _ in range(50):
        if "kubelite" in shell("iptables -S FORWARD"):
            break
        await asyncio.sleep(0.05)
    assert (await ask("10.43.0.5", 80, pid=node.one))[0].split()[0] in ("one", "two")
    assert await ask("10.42.0.3", 8080, pid=node.one) == ["two 10.42.0.2"]
    node.running.cancel()
    rules, links = shell("nft list ruleset"), shell("ip link")
    assert not await remove_network({"uid-of-another-cluster"})
    assert (shell("nft list ruleset"), shell("ip link")) == (rules, links)
    assert await remove_network({"one", "two"})
    assert "kubelite" not in shell("iptables -S FORWARD; nft list ruleset; ip -d link; ip route")
    assert await remove_network(())  # of nothing


@on_a_node
async def test_pods_do_not_reach_what_listens_on_the_nodes_loopback(node: Node) -> None:
    await node.put(service(), endpoint_slice(*PODS))
    shell(
        f"nsenter -t {node.one} -n sh -c 'ip addr flush dev lo; ip route add 127.0.0.1 via 10.42.0.1"
        " src 10.42.0.2; sysctl -qw net.ipv4.conf.eth0.route_localnet=1'"
    )
    with server("node", 7000, "self"):
        assert await ask("10.42.0.1", 7000, pid=node.one) == ["node 10.42.0.2"]
        assert await ask("127.0.0.1", 7000, pid=node.one) == ["TimeoutError"]


@on_a_node
async def test_after_a_refusal_the_whole_table_is_written(node: Node) -> None:
    await node.put(service(), endpoint_slice(*PODS))
    shell("nft add chain ip kubelite service/default/other/tcp/80")  # in the way of a rule to come
    shell("nft 'add element ip kubelite services { 10.43.0.6 . tcp . 80 : drop }'")
    await node.put(service("other", "10.43.0.6"), endpoint_slice(PODS[0], service_name="other"))
    assert await ask("10.43.0.6", 80) == ["one 10.42.0.1"]
    assert (await ask("10.43.0.5", 80))[0].split()[0] in ("one", "two")


@on_a_node
async def test_the_nft_program_does_as_well(node: Node) -> None:
    node.proxy.table._nftables._program = "/usr/sbin/nft"
    await node.put(service(), endpoint_slice(*PODS))
    assert {line.split()[0] for line in await ask("10.43.0.5", 80, times=20)} == {"one", "two"}
    shell("nft flush ruleset")
    while node.proxy.table.generation == 0:
        await asyncio.sleep(0.01)
    await asyncio.wait_for(node.proxy.applied(), 3)
    assert {line.split()[0] for line in await ask("10.43.0.5", 80, times=20)} == {"one", "two"}
    before = node.proxy.table.generation
    await node.put(service("other", "10.43.0.6"))
    assert node.proxy.table.generation == before  # our own changes are not taken for others'


@on_a_node
async def test_a_restart_takes_over_what_is_there(node: Node) -> None:
    await node.put(service(), service("gone", "10.43.0.7"), endpoint_slice(*PODS))
    node.running.cancel()
    await asyncio.wait([node.running])
    node.client.mirror(Service).remove("default", "gone")
    node.running = asyncio.create_task(node.proxy.run())
    await asyncio.wait_for(node.proxy.applied(), 5)
    node.client.put(service("new", "10.43.0.8"), endpoint_slice(PODS[0], service_name="new"))
    await asyncio.wait_for(node.proxy.applied(), 5)
    assert await ask("10.43.0.8", 80) == ["one 10.42.0.1"]
    assert "10.43.0.7" not in shell("nft list table ip kubelite")


@on_a_node
async def test_a_bridge_that_comes_after_the_rules(node: Node) -> None:
    await node.put(service(type="NodePort", ports=[port(node_port=30080)]), endpoint_slice(PODS[0]))
    switch = Path("/proc/sys/net/ipv4/conf/kubelite0/route_localnet")
    switch.write_text("0")
    await node.network.start("10.42.0.0/24")
    assert switch.read_text() == "1\n"
    assert await ask("127.0.0.1", 30080) == ["one 10.42.0.1"]


@on_a_node
async def test_the_program_reads_whatever_else_is_in_an_object(node: Node) -> None:
    named = port(80, name="http; flush ruleset")
    evil = endpoint_slice("127.0.0.1", PODS[0], port_name="http; flush ruleset")
    await node.put(service(ports=[named]), evil)
    with server("node", 8080, "self"):
        assert set(await ask("10.43.0.5", 80, times=10, pid=node.two)) == {"one 10.42.0.3"}


@on_a_node
async def test_clients_stay_with_their_endpoint_over_a_restart(node: Node) -> None:
    await node.put(service(sessionAffinity="ClientIP"), endpoint_slice(*PODS))
    first = await ask("10.43.0.5", 80, pid=node.two)
    for _ in range(4):
        node.running.cancel()
        await asyncio.wait([node.running])
        node.proxy.table._applied_generation = -1  # as a new process begins
        node.running = asyncio.create_task(node.proxy.run())
        await asyncio.sleep(0)
        await asyncio.wait_for(node.proxy.applied(), 5)
        assert await ask("10.43.0.5", 80, times=5, pid=node.two) == first * 5
