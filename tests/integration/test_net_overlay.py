"""Pods of two nodes reach each other, over a shared link and across a network that knows nothing of pods."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable
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
from kubelite.node.network import namespace_path

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
        await self._network.attach(name, f"default/{name}", namespace_path(self.pod))
        self._stack.enter_context(server(name, 8080, self.pod))
        address = self._item.status.addresses[0].address
        overlay = Overlay(self.client.as_client(), name, [address], cidr)
        self._task = asyncio.create_task(overlay.run())
        await asyncio.wait_for(overlay.applied(1), 5)
        self.overlay = overlay

    async def stop(self) -> None:
        """End the node's network; harmless when it has ended."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._network.stop()


MOVED = "198.51.100.77"


class Stage:
    """Two nodes with a link between them; the right one runs in a thread of its own, in a namespace of its own."""

    def __init__(self, prefix: int, is_tunnelled: bool) -> None:
        self._prefix = prefix
        self._is_tunnelled = is_tunnelled
        self._is_right_up = threading.Event()
        self._updates: queue.SimpleQueue[Node | None] = queue.SimpleQueue()  # None: the end

    def play(self, story: Callable[[Side], Awaitable[None]]) -> None:
        """Run a story on the left node once both are up, each with its pod."""

        async def left(stack: ExitStack) -> None:
            machine = stack.enter_context(process_in_namespace())
            self._connect(machine)
            beside = asyncio.create_task(asyncio.to_thread(in_namespace_of, machine, self._right))
            try:
                side = Side(NODES[0], stack)
                await side.run()
                await asyncio.to_thread(self._is_right_up.wait, 10)
                await story(side)
                await side.stop()
            finally:
                self._updates.put(None)
                await beside

        in_new_namespace(left)

    def put_right(self, item: Node) -> None:
        """Let the right node see another state of a node."""
        self._updates.put(item)

    def _connect(self, machine: int) -> None:
        shell(f"ip link add up0 type veth peer name up0 netns {machine}")
        for where, own, others in (
            ("", LEFT, (RIGHT,)),
            (f"nsenter -t {machine} -n", RIGHT, (LEFT, MOVED)),
        ):
            shell(f"{where} ip addr add {own}/{self._prefix} dev up0")
            shell(f"{where} ip link set up0 up")
            for other in others if self._is_tunnelled else ():
                shell(f"{where} ip route add {other}/32 dev up0")

    async def _right(self, stack: ExitStack) -> None:
        side = Side(NODES[1], stack)
        try:
            await side.run()
            self._is_right_up.set()
            while (item := await asyncio.to_thread(self._updates.get, timeout=30)) is not None:
                side.client.put(item)
            await side.stop()
        finally:
            self._is_right_up.set()


on_both_links = pytest.mark.parametrize(("prefix", "is_tunnelled"), [(1, False), (32, True)])


@on_both_links
def test_pods_of_two_nodes(prefix: int, is_tunnelled: bool) -> None:
    async def story(side: Side) -> None:
        assert await ask("10.42.1.2", 8080, pid=side.pod) == ["right 10.42.0.2"]
        assert (await ask("10.42.1.2", 8080))[0].startswith("right")
        links = shell("ip link")
        assert (TUNNEL in links) is is_tunnelled
        if is_tunnelled:
            assert "mtu 1450" in next(line for line in links.splitlines() if TUNNEL in line)
        side.client.mirror(Node).remove("", "right")
        await asyncio.wait_for(side.overlay.applied(0), 5)
        assert "10.42.1.0" not in shell("ip route")
        await side.stop()
        await asyncio.to_thread(remove_routes)
        assert TUNNEL not in shell("ip link")

    Stage(prefix, is_tunnelled).play(story)


@on_both_links
def test_a_node_that_moves_is_reached_at_its_new_address(prefix: int, is_tunnelled: bool) -> None:
    stage, moved = Stage(prefix, is_tunnelled), node("left", MOVED, "10.42.0.0/24")

    async def story(side: Side) -> None:
        assert await ask("10.42.1.2", 8080, pid=side.pod) == ["right 10.42.0.2"]
        shell(f"ip addr add {MOVED}/{prefix} dev up0 && ip addr del {LEFT}/{prefix} dev up0")
        if not is_tunnelled:  # the kernel takes addresses of one range away together
            shell(f"ip addr replace {MOVED}/{prefix} dev up0")
        side.client.put(moved)
        side.overlay.move([MOVED])
        stage.put_right(moved)
        async with asyncio.timeout(10):
            while await ask("10.42.1.2", 8080, pid=side.pod) != ["right 10.42.0.2"]:
                pass
        assert (f"local {MOVED}" in shell("ip -d link")) is is_tunnelled
        assert LEFT not in shell("ip -d link; ip route")

    stage.play(story)
