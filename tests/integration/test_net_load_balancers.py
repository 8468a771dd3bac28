"""Load balancers answer at a node's addresses, and at an address of a pool from the node that was chosen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from typing import Any

import msgspec
from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service

from integration.net_namespaces import ask, needs_root, shell
from integration.net_node import PODS, Node, on_a_node
from kubelite.api.errors import ServiceUnavailable
from kubelite.api.kinds.core.nodes import Node as NodeObject
from kubelite.api.kinds.core.nodes import NodeAddress, NodeStatus
from kubelite.api.kinds.core.services import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServiceStatus,
)
from kubelite.api.kinds.meta import Condition, ObjectMeta
from kubelite.api.machinery.load_balancing import ANNOUNCED
from kubelite.net import arp
from kubelite.net.announcer import Announcer
from kubelite.net.ruleset import ProxySettings

pytestmark = needs_root

NODE_ADDRESS, POOLED, ROUTER = "198.51.100.1", "198.51.100.77", "203.0.113.7"
OTHER_MAC = bytes.fromhex("020000000002")


def balanced(address: str, announcer: str = "", **spec: object) -> Service:
    ingress = [LoadBalancerIngress(ip=address, ipMode="VIP")]
    conditions = [Condition(type=ANNOUNCED, status="True", message=announcer)] if announcer else []
    status = ServiceStatus(loadBalancer=LoadBalancerStatus(ingress=ingress), conditions=conditions)
    item = service(**{"type": "LoadBalancer", **spec})  # type: ignore[arg-type]  # words of a spec
    return msgspec.structs.replace(item, status=status)


def this_node() -> NodeObject:
    addresses = [
        NodeAddress(type="InternalIP", address=NODE_ADDRESS),
        NodeAddress(type="ExternalIP", address=ROUTER),
    ]
    return NodeObject(metadata=ObjectMeta(name=NODE), status=NodeStatus(addresses=addresses))


@on_a_node
async def test_a_port_is_answered_at_all_addresses_of_the_node(node: Node) -> None:
    await node.put(this_node(), balanced(ROUTER), endpoint_slice(*PODS))
    both = {"one 10.42.0.1", "two 10.42.0.1"}
    for address in (NODE_ADDRESS, ROUTER):
        assert set(await ask(address, 80, times=30, pid=node.far)) == both
        assert set(await ask(address, 80, times=30, pid=node.one)) == both
        assert set(await ask(address, 80, times=30)) == both
    ranges = balanced(ROUTER, loadBalancerSourceRanges=["192.0.2.0/24"])
    await node.put(ranges)
    for address in (NODE_ADDRESS, ROUTER):
        assert await ask(address, 80, pid=node.far) == ["TimeoutError"]
    await node.put(balanced("203.0.113.99"))  # of another node
    assert await ask(NODE_ADDRESS, 80, pid=node.far) == ["ConnectionRefusedError"]


@on_a_node
async def test_without_endpoints_it_is_refused_and_udp_works(node: Node) -> None:
    ports = [port(53, "UDP", "dns"), port(80, "TCP", "http")]
    slices = endpoint_slice(*PODS, protocol="UDP", port_name="dns")
    await node.put(this_node(), balanced(ROUTER, ports=ports), slices)
    assert set(await ask(NODE_ADDRESS, 53, times=20, pid=node.far, kind="udp")) == {
        "one 10.42.0.1",
        "two 10.42.0.1",
    }
    assert await ask(NODE_ADDRESS, 80, pid=node.far) == ["ConnectionRefusedError"]


@on_a_node
async def test_the_local_policy_keeps_the_clients_address(node: Node) -> None:
    local = balanced(ROUTER, externalTrafficPolicy="Local")
    there = endpoint_slice(PODS[0], endpoint(PODS[1], node="elsewhere"))
    await node.put(this_node(), local, there)
    for address in (NODE_ADDRESS, ROUTER):
        assert set(await ask(address, 80, times=20, pid=node.far)) == {"one 198.51.100.2"}


class Api:
    """Answers the announcer's question with what the mirrors have, or not at all."""

    def __init__(self, node: Node) -> None:
        self._client = node.client
        self.is_away = False
        self.asked = 0

    def mirror(self, *arguments: Any, **words: Any) -> Any:
        return self._client.mirror(*arguments, **words)

    async def list(self, kind: type[Service], namespace: str, *, field_selector: str) -> Any:
        assert field_selector == "metadata.name=web"
        self.asked += 1
        if self.is_away:
            raise ServiceUnavailable("away")
        return self._client.mirror(kind).list(namespace)


@asynccontextmanager
async def announcing(node: Node) -> AsyncIterator[Api]:
    api: Any = Api(node)
    announcer = Announcer(api, ProxySettings(NODE), [NODE_ADDRESS])
    running = asyncio.create_task(announcer.run())
    try:
        yield api
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def forget(node: Node) -> None:
    """Let the machine outside ask anew where addresses are."""
    shell(f"nsenter -t {node.far} -n ip neigh flush all")


async def until(node: Node, expected: str) -> None:
    async with asyncio.timeout(20):
        while True:
            forget(node)
            [answer] = await ask(POOLED, 80, pid=node.far)
            if answer == expected:
                return


UNREACHABLE = "TimeoutError"  # nobody answers ARP


@on_a_node
async def test_the_chosen_node_answers_for_the_address_and_nobody_else_does(node: Node) -> None:
    await node.put(balanced(POOLED, NODE), endpoint_slice(PODS[0]))
    async with announcing(node):
        await until(node, "one 10.42.0.1")
        assert await ask(POOLED, 81, pid=node.far) == ["ConnectionRefusedError"]
        assert await ask(POOLED, 80) == ["one 10.42.0.1"]
        assert await ask(POOLED, 81) == ["ConnectionRefusedError"]
        assert POOLED not in shell("ip address")
        await node.put(balanced(POOLED, "another"))
        await until(node, UNREACHABLE)
        await node.put(balanced(POOLED, NODE))
        await until(node, "one 10.42.0.1")
    forget(node)
    assert await ask(POOLED, 80, pid=node.far) == [UNREACHABLE]


@on_a_node
async def test_an_address_of_a_node_is_never_announced(node: Node) -> None:
    """Also when somebody may write the status of Services: the address of a node is its own."""
    thief = NodeObject(
        metadata=ObjectMeta(name="other"),
        status=NodeStatus(addresses=[NodeAddress(type="InternalIP", address=POOLED)]),
    )
    await node.put(thief, balanced(POOLED, NODE), endpoint_slice(PODS[0]))
    async with announcing(node):
        forget(node)
        assert await ask(POOLED, 80, pid=node.far) == [UNREACHABLE]


@on_a_node
async def test_a_node_that_is_cut_off_ends_when_another_announces_the_address(node: Node) -> None:
    await node.put(balanced(POOLED, NODE), endpoint_slice(PODS[0]))
    async with announcing(node) as api:
        await until(node, "one 10.42.0.1")
        api.is_away = True
        announce(node)
        async with asyncio.timeout(5):
            while not api.asked:
                await asyncio.sleep(0.01)
        forget(node)
        assert await ask(POOLED, 80, pid=node.far) == [UNREACHABLE]
        api.is_away = False  # the API says that it is still this node's
        await until(node, "one 10.42.0.1")


ANNOUNCE = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
s.bind(("eth0", 0x0806))
s.sendto(bytes.fromhex(sys.argv[1]), ("eth0", 0x0806, 0, 0, b"\\xff" * 6))
"""


def announce(node: Node) -> None:
    """Announce the address from the machine outside."""
    own = IPv4Address(POOLED).packed
    packet = arp.Message(arp.REQUEST, OTHER_MAC, own, bytes(6), own).encode().hex()
    shell(f"nsenter -t {node.far} -n python3 -c '{ANNOUNCE}' {packet}")
