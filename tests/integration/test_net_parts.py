"""Parts of the network that are left to other programs: their rules go, and come back."""

import asyncio
from contextlib import suppress

from fakes.network_objects import endpoint_slice, service

from integration.net_namespaces import ask, needs_root
from integration.net_node import PODS, V4, Node, on_a_node, proxy_of
from integration.test_net_policies import NOTHING, SHUT, put_pods

pytestmark = needs_root


async def restart(node: Node, *, services: bool = True, policies: bool = True) -> None:
    """Replace the proxy, as after a start with other flags; the kernel keeps the rules meanwhile."""
    node.running.cancel()
    with suppress(asyncio.CancelledError):
        await node.running
    await node.proxy.stop()
    proxy = proxy_of(node.client, (V4,), has_services=services, has_policies=policies)
    node.proxy = node.network.listener = proxy
    await proxy.start()
    node.running = asyncio.create_task(proxy.run())
    async with asyncio.timeout(5):
        await proxy.applied()


@on_a_node
async def test_rules_of_what_is_switched_off_go_and_come_back(node: Node) -> None:
    await put_pods(node)
    await node.put(service(), endpoint_slice(PODS[0]), SHUT)
    assert await ask("10.43.0.5", 80, pid=node.two) == ["one 10.42.0.3"]
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    await restart(node, policies=False)
    assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]
    assert await ask("10.43.0.5", 80, pid=node.two) == ["one 10.42.0.3"]
    await node.put(SHUT)
    assert await ask(PODS[1], 8080, pid=node.one) == ["two 10.42.0.2"]
    await restart(node, services=False)
    assert await ask("10.43.0.5", 80, pid=node.two) != ["one 10.42.0.3"]
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
    await node.put(service(), endpoint_slice(PODS[0]))
    assert await ask("10.43.0.5", 80, pid=node.two) != ["one 10.42.0.3"]
    await restart(node)
    assert await ask("10.43.0.5", 80, pid=node.two) == ["one 10.42.0.3"]
    assert await ask(PODS[1], 8080, pid=node.one) == NOTHING
