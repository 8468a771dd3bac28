"""A node in a network namespace, with pods, the service proxy and a machine outside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress

from fakes.mirrored import MirroringClient
from fakes.network_objects import NODE

from integration.net_namespaces import in_new_namespace, outside, process_in_namespace, server
from kubelite.api.client.events import EventRecorder
from kubelite.clock import SystemClock
from kubelite.net.pod_network import PodNetwork
from kubelite.net.ruleset import ProxySettings
from kubelite.net.service_proxy import ServiceProxy
from kubelite.node.network import namespace_path
from kubelite.offload import WorkerThread
from kubelite.randomness import SystemRandomness


class Node:
    """A node with two serving pods, 10.42.0.2 (one) and 10.42.0.3 (two), and a machine outside."""

    def __init__(
        self,
        client: MirroringClient,
        proxy: ServiceProxy,
        network: PodNetwork,
        one: int,
        two: int,
        far: int,
    ) -> None:
        self.network = network
        self.client = client
        self.proxy = proxy
        self.one = one
        self.two = two
        self.far = far
        self.running = asyncio.create_task(proxy.run())

    async def put(self, *items: object) -> None:
        self.client.put(*items)  # type: ignore[arg-type]  # each is a kind
        async with asyncio.timeout(5):
            await self.proxy.applied()


V4 = ProxySettings(node_name=NODE)
V6 = ProxySettings(NODE, "fd42::/56", "fd43::/112", ("fd43::a",))
RANGES = {
    V4.cluster_cidr: "10.42.0.0/24",
    V6.cluster_cidr: "fd42::/64",
}  # of the cluster and of the node


def proxy_of(
    client: MirroringClient, settings: Sequence[ProxySettings] = (V4,), **parts: bool
) -> ServiceProxy:
    api = client.as_client()
    events = EventRecorder(api, SystemClock(), SystemRandomness(), component="kube-proxy")
    return ServiceProxy(api, settings, WorkerThread(), events, **parts)


@asynccontextmanager
async def running_node(
    stack: ExitStack, settings: Sequence[ProxySettings] = (V4,)
) -> AsyncIterator[Node]:
    far = stack.enter_context(outside())
    client = MirroringClient()
    proxy = proxy_of(client, settings)
    local = [address for one in settings for address in one.local_addresses]
    await proxy.start()
    network = PodNetwork(local_addresses=local, listener=proxy, bindings=proxy.bindings)
    await network.start(*(RANGES[one.cluster_cidr] for one in settings))
    one, two = (stack.enter_context(process_in_namespace()) for _ in range(2))
    for name, pid in (("one", one), ("two", two)):
        await network.attach(name, f"default/{name}", namespace_path(pid))
        stack.enter_context(server(name, 8080, pid))
    node = Node(client, proxy, network, one, two, far)
    try:
        await asyncio.wait_for(proxy.applied(), 5)
        yield node
    finally:
        node.running.cancel()
        with suppress(asyncio.CancelledError):
            await node.running
        await node.proxy.stop()
        await network.stop()


def on_a_node(test: Callable[[Node], Awaitable[None]]) -> Callable[[], None]:
    return on_a_node_of(V4)(test)


def on_a_node_of(
    *settings: ProxySettings,
) -> Callable[[Callable[[Node], Awaitable[None]]], Callable[[], None]]:
    """Run a test on a node of the families of `settings`, the primary one first."""

    def decorate(test: Callable[[Node], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            async def main(stack: ExitStack) -> None:
                async with running_node(stack, settings) as node:
                    await test(node)

            in_new_namespace(main)

        run.__name__ = test.__name__
        return run

    return decorate


PODS = ("10.42.0.2", "10.42.0.3")
