"""Addresses of a pool move from nodes that are lost, and only from these."""

import asyncio
from ipaddress import IPv4Address

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.services import Service
from kubelite.api.machinery.load_balancing import FINALIZER, addresses_of, announcer_of
from kubelite.control.load_balancers import SILENCE_SECONDS
from kubelite.control.options import LoadBalancing
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import simulated

FIRST = int(IPv4Address("192.0.2.100"))
POOL = LoadBalancing(pool=((FIRST, FIRST + 20),))
NUMBER = 6


def addresses(cluster: SimulatedCluster) -> dict[str, list[str]]:
    return {one.metadata.name: list(addresses_of(one)) for one in balanced(cluster)}


def announcers(cluster: SimulatedCluster) -> dict[str, str]:
    return {one.metadata.name: announcer_of(one) for one in balanced(cluster)}


def balanced(cluster: SimulatedCluster) -> list[Service]:
    return [one for one in cluster.all(Service) if one.spec.type == "LoadBalancer"]


@simulated
async def test_addresses_stay_over_a_restart_and_move_from_a_lost_node_within_seconds() -> None:
    async with SimulatedCluster(1, nodes=3, options={"load_balancing": POOL}) as cluster:
        for number in range(NUMBER):
            spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
            await cluster.create(Service, {"metadata": {"name": f"s{number}"}, "spec": spec})
        await cluster.until(lambda: all(announcers(cluster).values()), seconds=60)
        given, chosen = addresses(cluster), announcers(cluster)
        assert len({text for texts in given.values() for text in texts}) == NUMBER
        await cluster.restart(away_seconds=30)
        lost = chosen["s0"]
        others = {name: node for name, node in chosen.items() if node != lost}
        for _ in range(40):
            assert announcers(cluster) == chosen
            assert addresses(cluster) == given
            await asyncio.sleep(1)
        await cluster.lose_node(lost)
        seconds = await cluster.until(lambda: lost not in announcers(cluster).values(), step=0.5)
        assert seconds <= SILENCE_SECONDS + 1
        assert addresses(cluster) == given
        assert others.items() <= announcers(cluster).items()
        assert all(one.metadata.finalizers == [FINALIZER] for one in balanced(cluster))
        await cluster.client.delete(Service, "s0", "default")
        await cluster.until(lambda: len(balanced(cluster)) == NUMBER - 1, seconds=60)
        reasons = {one.reason for one in cluster.all(Event) if one.involvedObject.name == "s0"}
        assert reasons >= {"EnsuringLoadBalancer", "EnsuredLoadBalancer", "DeletedLoadBalancer"}
