"""A thousand changes of services and endpoints while connections are made: none of these may fail."""

import asyncio
from collections import Counter

from fakes.network_objects import endpoint, endpoint_slice, port, service

from integration.net_namespaces import ask, needs_root
from integration.net_node import PODS, Node, on_a_node

pytestmark = needs_root

CHANGES = 1000
BATCH = (
    20  # changes between two looks at the kernel: rounds hold several of them, as on a busy cluster
)


async def changes(node: Node) -> None:
    """Change the service that is used, and come and go with others."""
    for number in range(0, CHANGES, BATCH):
        for step in range(number, number + BATCH):
            name, address = f"other-{step % 50}", f"10.43.1.{step % 50 + 1}"
            one = PODS[step % 2]
            match step % 5:
                case 0:
                    node.client.put(endpoint_slice(one))
                case 1:
                    ending = endpoint(PODS[0], ready=False, serving=True, terminating=True)
                    node.client.put(endpoint_slice(ending, PODS[1]))
                case 2:
                    node.client.put(endpoint_slice(*PODS))
                case 3:
                    node.client.put(service(name, address), endpoint_slice(one, service_name=name))
                case _:
                    ports = [port(node_port=30080), port(81 + step % 7, name="more")]
                    node.client.put(service(type="NodePort", ports=ports))
        async with asyncio.timeout(10):
            await node.proxy.applied()


async def connect(
    where: int | str, address: str, number: int, until: asyncio.Task[None]
) -> Counter[str]:
    """Connect again and again; what answered, or the names of errors."""
    counts: Counter[str] = Counter()
    while not until.done():
        told = await ask(address, number, times=50, pid=where)
        counts.update(line.split()[0] for line in told)
    return counts


@on_a_node
async def test_no_connection_fails_while_a_thousand_things_change(node: Node) -> None:
    await node.put(service(type="NodePort", ports=[port(node_port=30080)]), endpoint_slice(*PODS))
    changing = asyncio.create_task(changes(node))
    counts: Counter[str] = Counter()
    for told in await asyncio.gather(
        connect(node.one, "10.43.0.5", 80, changing),
        connect("self", "10.43.0.5", 80, changing),
        connect(node.far, "198.51.100.1", 30080, changing),
    ):
        counts += told
    await changing
    assert set(counts) == {"one", "two"}, counts
    assert sum(counts.values()) > CHANGES
