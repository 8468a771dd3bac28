"""Removes all of kubelite's network from the host."""

import asyncio
from collections.abc import Collection
from contextlib import nullcontext, suppress

from kubelite.net import ipv6_host
from kubelite.net.families import IPV4, IPV6
from kubelite.net.foreign_firewall import ForeignFirewall
from kubelite.net.link_bindings import remove_all as remove_bindings
from kubelite.net.nftables import Nftables, RulesRefused
from kubelite.net.overlay import remove_routes
from kubelite.net.pod_network import BRIDGE, PodNetwork
from kubelite.net.ruleset import remove_all


async def remove_network(own: Collection[str]) -> bool:
    """Remove the rules, the bridge, the pods' links and the routes.

    False: nothing was removed, since pods beside those of the uids `own` are connected. They belong to another cluster,
    which has the same bridge and the same table. Raises RulesUnavailable, RulesRefused, and PermissionError without
    root. Forwarding of IPv4 stays as it is: others may rely on it by now. That of IPv6 is as it was before.
    """
    nftables, network = Nftables(), PodNetwork()
    nftables.open()
    try:
        if await network.connected() - frozenset(own):
            return False
        for family in (IPV4, IPV6):
            with suppress(RulesRefused) if family is IPV6 else nullcontext():
                await nftables.run(remove_all(family))  # a kernel may lack IPv6
            await ForeignFirewall(BRIDGE, family).close_again()
        with suppress(RulesRefused):  # nor need it have tables for bridges
            await nftables.run(remove_bindings())
        await asyncio.to_thread(remove_routes)
        await network.remove_all()
        await asyncio.to_thread(ipv6_host.restore)
        return True
    finally:
        await nftables.close()
        await network.stop()
