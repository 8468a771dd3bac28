"""Removes all of kubelite's network from the host."""

import asyncio

from kubelite.net.foreign_firewall import ForeignFirewall
from kubelite.net.nftables import Nftables
from kubelite.net.overlay import remove_routes
from kubelite.net.pod_network import BRIDGE, PodNetwork
from kubelite.net.ruleset import remove_all


async def remove_network() -> None:
    """Remove the rules, the bridge, the pods' links and the routes; nothing else must be running on them.

    Raises RulesUnavailable, RulesRefused, and PermissionError without root. IP forwarding stays as it is: others may
    rely on it by now.
    """
    nftables, network = Nftables(), PodNetwork()
    nftables.open()
    try:
        await nftables.run(remove_all())
        await ForeignFirewall(BRIDGE).close_again()
        await asyncio.to_thread(remove_routes)
        await network.remove_all()
    finally:
        await nftables.close()
        await network.stop()
