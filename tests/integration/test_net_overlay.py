"""Pods of two nodes reach each other, over a shared link and across a network that knows nothing of pods."""

import asyncio
import threading
from contextlib import ExitStack, suppress

import pytest
from fakes.mirrored import MirroringClient

from integration.net_namespaces import (
    ask,
    in_namespace_of,
    in_new_namespace,
    needs_root,
    process_in_namespace,
    server,
    shell,
)
from kubelite.api.kinds.core.nodes import Node, NodeAddress, NodeSpec, NodeStatus
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.net.overlay import TUNNEL, Overlay, remove_routes
from kubelite.net.pod_network import PodNetwork

pytestmark = needs_root

LEFT, RIGHT = "198.51.100.1", "203.0.113.1"


def node(name: str, address: str, pod_cidr: str) -> Node:
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(podCIDR=pod_cidr),
        status=NodeStatus(addresses=[NodeAddress(type="InternalIP", address=address)]),
    )


NODES = [node("left", LEFT, "10.42.0.0/24"), node("right", RIGHT, "10.42.1.0/24")]


class Side:
    """A node with one pod that answers with the node's name."""

    def __init__(self, item: Node, stack: ExitStack) -> None:
        self._item = item
        self._stack = stack
        self.pod = 0
        self.client = MirroringClient()
        self.client.put(*NODES)

    async def run(self) -> None:
        name, cidr = self._item.metadata.name, self._item.spec.podCIDR
        self._network = PodNetwork()
        await self._network.start(cidr)
        self.pod = self._stack.enter_context(process_in_namespace())
        await self._network.attach(name, f"default/{name}", self.pod)
        self._stack.enter_context(server(name, 8080, self.pod))
        address = self._item.status.addresses[0].address
        overlay = Overlay(self.client.as_client(), name, address, cidr)
        self._task = asyncio.create_task(overlay.run())
        await asyncio.wait_for(overlay.applied(1), 5)
        self.overlay = overlay

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._network.stop()


@pytest.mark.parametrize(("prefix", "is_tunnelled"), [(1, False), (32, True)])
def test_pods_of_two_nodes(prefix: int, is_tunnelled: bool) -> None:
    is_right_up, may_end = threading.Event(), threading.Event()

    async def right(stack: ExitStack) -> None:
        side = Side(NODES[1], stack)
        try:
            await side.run()
            is_right_up.set()
            await asyncio.to_thread(may_end.wait, 30)
            await side.stop()
        finally:
            is_right_up.set()

    async def left(stack: ExitStack) -> None:
        machine = stack.enter_context(process_in_namespace())
        shell(f"ip link add up0 type veth peer name up0 netns {machine}")
        for where, own, other in (("", LEFT, RIGHT), (f"nsenter -t {machine} -n", RIGHT, LEFT)):
            shell(f"{where} ip addr add {own}/{prefix} dev up0 && {where} ip link set up0 up")
            if is_tunnelled:
                shell(f"{where} ip route add {other}/32 dev up0")
        beside = asyncio.create_task(asyncio.to_thread(in_namespace_of, machine, right))
        try:
            side = Side(NODES[0], stack)
            await side.run()
            await asyncio.to_thread(is_right_up.wait, 10)
            assert await ask("10.42.1.2", 8080, pid=side.pod) == ["right 10.42.0.2"]
            assert (await ask("10.42.1.2", 8080))[0].startswith("right")
            links = shell("ip link")
            assert (TUNNEL in links) is is_tunnelled
            side.client.mirror(Node).remove("", "right")
            await asyncio.wait_for(side.overlay.applied(0), 5)
            assert "10.42.1.0" not in shell("ip route")
            await side.stop()
            await asyncio.to_thread(remove_routes)
            assert TUNNEL not in shell("ip link")
        finally:
            may_end.set()
            await beside

    in_new_namespace(left)


MOVED = "198.51.100.77"


@pytest.mark.parametrize(("prefix", "is_tunnelled"), [(1, False), (32, True)])
def test_a_node_that_moves_is_reached_at_its_new_address(prefix: int, is_tunnelled: bool) -> None:
    is_right_up, has_moved, may_end = threading.Event(), threading.Event(), threading.Event()
    moved = node("left", MOVED, "10.42.0.0/24")

    async def right(stack: ExitStack) -> None:
        side = Side(NODES[1], stack)
        try:
            await side.run()
            is_right_up.set()
            await asyncio.to_thread(has_moved.wait, 30)
            side.client.put(moved)
            await asyncio.to_thread(may_end.wait, 30)
            await side.stop()
        finally:
            is_right_up.set()

    async def left(stack: ExitStack) -> None:
        machine = stack.enter_context(process_in_namespace())
        shell(f"ip link add up0 type veth peer name up0 netns {machine}")
        for where, own, others in (
            ("", LEFT, (RIGHT,)),
            (f"nsenter -t {machine} -n", RIGHT, (LEFT, MOVED)),
        ):
            shell(f"{where} ip addr add {own}/{prefix} dev up0 && {where} ip link set up0 up")
            for other in others if is_tunnelled else ():
                shell(f"{where} ip route add {other}/32 dev up0")
        beside = asyncio.create_task(asyncio.to_thread(in_namespace_of, machine, right))
        try:
            side = Side(NODES[0], stack)
            await side.run()
            await asyncio.to_thread(is_right_up.wait, 10)
            assert await ask("10.42.1.2", 8080, pid=side.pod) == ["right 10.42.0.2"]
            shell(f"ip addr add {MOVED}/{prefix} dev up0 && ip addr del {LEFT}/{prefix} dev up0")
            if not is_tunnelled:  # the kernel takes addresses of one range away together
                shell(f"ip addr replace {MOVED}/{prefix} dev up0")
            side.client.put(moved)
            side.overlay.move(MOVED)
            has_moved.set()
            async with asyncio.timeout(10):
                while await ask("10.42.1.2", 8080, pid=side.pod) != ["right 10.42.0.2"]:
                    pass
            assert (f"local {MOVED}" in shell("ip -d link")) is is_tunnelled
            assert LEFT not in shell("ip -d link; ip route")
            await side.stop()
        finally:
            has_moved.set()
            may_end.set()
            await beside

    in_new_namespace(left)
