"""Removes all of kubelite's network from the host."""

import asyncio
from collections.abc import Collection

from kubelite.net.foreign_firewall import ForeignFirewall
from kubelite.net.nftables import Nftables
from kubelite.net.overlay import remove_routes
from kubelite.net.pod_network import BRIDGE, PodNetwork
from kubelite.net.ruleset import remove_all


async def remove_network(own: Collection[str]) -> bool:
    """Remove the rules, the bridge, the pods' links and the routes.

    False: nothing was removed, since pods beside those of the uids `own` are connected. They belong to another cluster,
    which has the same bridge and the same table. Raises RulesUnavailable, RulesRefused, and PermissionError without
    root. IP forwarding stays as it is: others may rely on it by now.
    """
    nftables, network = Nftables(), PodNetwork()
    nftables.open()
    try:
        if await network.connected() - frozenset(own):
            return False
        await nftables.run(remove_all())
        await ForeignFirewall(BRIDGE).close_again()
        await asyncio.to_thread(remove_routes)
        await network.remove_all()
        return True
    finally:
        await nftables.close()
        await network.stop()
