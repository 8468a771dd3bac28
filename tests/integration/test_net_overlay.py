"""Pods of two nodes reach each other, over a shared link and across a network that knows nothing of pods."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Sequence
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
LEFT_V6, RIGHT_V6 = "2001:db8:1::1", "2001:db8:2::1"
RANGES = {"left": ("10.42.0.0/24", "fd42::/64"), "right": ("10.42.1.0/24", "fd42:0:0:1::/64")}


def node(name: str, addresses: str, *pod_cidrs: str) -> Node:
    """A node with addresses that have a comma between them."""
    listed = [NodeAddress(type="InternalIP", address=one) for one in addresses.split(",")]
    return Node(
        metadata=ObjectMeta(name=name),
        spec=NodeSpec(podCIDR=pod_cidrs[0], podCIDRs=list(pod_cidrs)),
        status=NodeStatus(addresses=listed),
    )


NODES = [node("left", LEFT, "10.42.0.0/24"), node("right", RIGHT, "10.42.1.0/24")]


class Side:
    """A node with one pod that answers with the node's name."""

    def __init__(self, item: Node, stack: ExitStack, nodes: Sequence[Node] = NODES) -> None:
        self._item = item
        self._stack = stack
        self.pod = 0
        self.client = MirroringClient()
        self.client.put(*nodes)

    async def run(self) -> None:
        name, cidrs = self._item.metadata.name, self._item.spec.podCIDRs
        self._network = PodNetwork()
        await self._network.start(*cidrs)
        self.pod = self._stack.enter_context(process_in_namespace())
        await self._network.attach(name, f"default/{name}", namespace_path(self.pod))
        self._stack.enter_context(server(name, 8080, self.pod))
        addresses = [entry.address for entry in self._item.status.addresses]
        overlay = Overlay(self.client.as_client(), name, addresses, *cidrs)
        self._task = asyncio.create_task(overlay.run())
        await asyncio.wait_for(overlay.applied(len(cidrs)), 5)
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

    def __init__(
        self, prefix: int, is_tunnelled: bool, nodes: Sequence[Node] = NODES, prefix_v6: int = 16
    ) -> None:
        self._nodes = nodes
        self._prefix = prefix
        self._prefix_v6 = prefix_v6
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
                side = Side(self._nodes[0], stack, self._nodes)
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
            # Until a link's own address is known to be unique, the kernel looks for no next hop on it.
            shell(f"{where} sh -c 'echo 0 > /proc/sys/net/ipv6/conf/up0/accept_dad'")
            shell(f"{where} ip link set up0 up")
            for other in others if self._is_tunnelled else ():
                shell(f"{where} ip route add {other}/32 dev up0")
            own_v6, other_v6 = (LEFT_V6, RIGHT_V6) if own == LEFT else (RIGHT_V6, LEFT_V6)
            shell(f"{where} ip addr add {own_v6}/{self._prefix_v6} dev up0 nodad")
            shell(f"{where} ip route replace {other_v6}/128 dev up0")

    async def _right(self, stack: ExitStack) -> None:
        side = Side(self._nodes[1], stack, self._nodes)
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


@pytest.mark.parametrize(
    ("addresses", "families", "prefixes"),
    [
        ((f"{LEFT},{LEFT_V6}", f"{RIGHT},{RIGHT_V6}"), (0, 1), (1, 16)),  # neighbours
        ((f"{LEFT},{LEFT_V6}", f"{RIGHT},{RIGHT_V6}"), (0, 1), (1, 128)),  # by IPv4 only
        ((LEFT, RIGHT), (0, 1), (32, 128)),  # both in a tunnel over IPv4
        ((f"{LEFT_V6},{LEFT}", f"{RIGHT_V6},{RIGHT}"), (1, 0), (32, 128)),  # or over IPv6
        ((LEFT_V6, RIGHT_V6), (1,), (1, 128)),
        ((LEFT_V6, RIGHT_V6), (1,), (1, 16)),
    ],
)
def test_pods_of_both_families(
    addresses: tuple[str, str], families: tuple[int, ...], prefixes: tuple[int, int]
) -> None:
    nodes = [
        node(name, address, *(RANGES[name][family] for family in families))
        for name, address in zip(RANGES, addresses, strict=True)
    ]
    is_tunnelled = prefixes[1] == 128

    async def story(side: Side) -> None:
        for family in families:
            target, own = (("10.42.1.2", "10.42.0.2"), ("fd42:0:0:1::2", "fd42::2"))[family]
            assert await ask(target, 8080, pid=side.pod) == [f"right {own}"]
        assert (TUNNEL in shell("ip link")) is is_tunnelled
        side.client.mirror(Node).remove("", "right")
        await asyncio.wait_for(side.overlay.applied(0), 5)
        assert "proto 142" not in shell("ip -6 route; ip -4 route")
        await side.stop()
        await asyncio.to_thread(remove_routes)
        assert TUNNEL not in shell("ip link")

    Stage(prefixes[0], prefixes[0] == 32, nodes, prefixes[1]).play(story)
