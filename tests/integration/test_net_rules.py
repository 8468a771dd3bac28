"""The kernel takes every ruleset that services can ask for, and every way from one to the next."""

import asyncio
from contextlib import ExitStack

from fakes.network_objects import NODE, endpoint, endpoint_slice, port, service
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from integration.net_namespaces import in_new_namespace, needs_root, shell
from integration.net_node import PODS, Node, on_a_node
from kubelite.net.nftables import Nftables
from kubelite.net.rule_watch import UNKNOWN
from kubelite.net.ruleset import ProxySettings, Ruleset, difference, merge, replace_all
from kubelite.net.services import service_rules

pytestmark = needs_root

SETTINGS = ProxySettings(node_name=NODE)
EMPTY = Ruleset()
# More than have a rule each; some overlap, some touch.
MANY_RANGES = [f"10.{number}.0.0/{size}" for number in range(6) for size in (15, 16, 24)]

states = st.lists(
    st.builds(
        lambda name, affinity, internal, external, ranges, protocol, addresses, local: (
            service_rules(
                service(
                    name,
                    f"10.43.1.{len(name)}",
                    type="LoadBalancer",
                    sessionAffinity=affinity,
                    internalTrafficPolicy=internal,
                    externalTrafficPolicy=external,
                    externalIPs=["203.0.113.1"],
                    loadBalancerSourceRanges=ranges,
                    ports=[port(80, protocol, node_port=30000 + len(name))],
                ),
                [
                    endpoint_slice(
                        *(
                            endpoint(f"10.42.0.{number}", NODE if local else "other")
                            for number in addresses
                        ),
                        service_name=name,
                        protocol=protocol,
                    )
                ],
                SETTINGS,
            )
        ),
        st.sampled_from(["a", "bb", "ccc"]),
        st.sampled_from(["None", "ClientIP"]),
        st.sampled_from(["Cluster", "Local"]),
        st.sampled_from(["Cluster", "Local"]),
        st.sampled_from([[], ["192.0.2.0/24", "0.0.0.0/1"], MANY_RANGES, MANY_RANGES[3:]]),
        st.sampled_from(["TCP", "UDP", "SCTP"]),
        st.sets(st.integers(2, 6), max_size=3),
        st.booleans(),
    ),
    max_size=3,
).map(merge)


def test_every_ruleset_and_every_difference_is_taken() -> None:
    async def main(_: ExitStack) -> None:
        nftables = Nftables()
        nftables.open()
        await nftables.run(replace_all(EMPTY, SETTINGS))
        loop = asyncio.get_running_loop()
        applied = EMPTY

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(states)
        def walk(after: Ruleset) -> None:
            nonlocal applied
            commands = difference(applied, after)
            if commands:
                asyncio.run_coroutine_threadsafe(nftables.run(commands), loop).result(10)
            applied = after

        await asyncio.to_thread(walk)
        grown = await nftables.run("list table ip kubelite\n")
        await nftables.run(replace_all(applied, SETTINGS))
        assert _lines(await nftables.run("list table ip kubelite\n")) == _lines(grown)
        await nftables.close()

    in_new_namespace(main)


def _lines(listing: str) -> list[str]:
    """The listing without order: nft lists chains in the order in which they were made."""
    return sorted(line.strip() for line in listing.splitlines())


@on_a_node
async def test_lost_messages_make_it_look_whether_all_is_there(node: Node) -> None:
    await node.put(service(), endpoint_slice(*PODS))
    node.proxy._changed_by_others({UNKNOWN})
    await asyncio.wait_for(node.proxy.applied(), 5)
    assert node.proxy.table.generation == 0
    node.proxy._watch.stop()  # so that nobody tells of this
    shell("nft flush chain ip kubelite service/default/web/tcp/80; nft delete table ip kubelite")
    node.proxy._changed_by_others({UNKNOWN})
    async with asyncio.timeout(5):
        while node.proxy.table.generation == 0:
            await asyncio.sleep(0.01)
        await node.proxy.applied()
    assert "service/default/web/tcp/80" in shell("nft list chains ip")
