"""Gives each node its part of the cluster's pod addresses."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Any

from kubelite.api.client.events import NORMAL
from kubelite.api.kinds.core.nodes import Node
from kubelite.control.options import Network, Options
from kubelite.control.runtime import Context, Key, Unretryable, Watch


class CIDRNotAvailable(Exception):
    """All parts of the cluster's addresses are taken."""


def free_part(whole: Network, prefix: int, taken: Iterable[str]) -> Network:
    """Return the first part of `whole` of length `prefix` that overlaps with nothing taken; raises CIDRNotAvailable."""
    used = [network for text in taken if (network := ip_network(text)).version == whole.version]
    blocked = {network for network in used if network.prefixlen == prefix}
    others = [network for network in used if network.prefixlen != prefix]
    for part in whole.subnets(new_prefix=prefix):
        if part not in blocked and not any(part.overlaps(other) for other in others):
            return part
    raise CIDRNotAvailable(f"no part of {whole} is free")


def parts_for(options: Options, nodes: Iterable[Node]) -> list[str]:
    """Return the networks of a new node, one for each of the cluster's; raises CIDRNotAvailable."""
    taken = [text for node in nodes for text in (node.spec.podCIDRs or [node.spec.podCIDR]) if text]
    return [
        str(
            free_part(
                whole,
                max(
                    whole.prefixlen,
                    options.node_prefix_v4 if whole.version == 4 else options.node_prefix_v6,
                ),
                taken,
            )
        )
        for whole in options.cluster_cidrs
    ]


class NodeIPAMController:
    """Reconciles nodes without addresses; one at a time, so that no two get the same."""

    name = "node-ipam-controller"
    identity = "node-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._nodes = context.mirror(Node)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch nodes that have none, and those that go and leave room."""
        return (
            Watch(Node, where=lambda _, after: after is not None and not after.spec.podCIDR),
            Watch(
                Node,
                self._without,
                where=lambda before, after: before is not None and after is None,
            ),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Give the node its part."""
        node = self._nodes.get(key.name)
        if node is None or node.spec.podCIDR or node.metadata.deletionTimestamp is not None:
            return None
        try:
            parts = parts_for(self._context.options, self._nodes.list())
        except CIDRNotAvailable as reason:
            self._context.events.event(
                node,
                NORMAL,
                "CIDRNotAvailable",
                f"Node {key.name} status is now: CIDRNotAvailable",
            )
            raise Unretryable(str(reason)) from reason
        await self._client.patch(
            Node,
            key.name,
            {
                "metadata": {"uid": node.metadata.uid},
                "spec": {"podCIDR": parts[0], "podCIDRs": parts},
            },
        )
        return None

    def _without(self, _gone: Node) -> Iterable[Key]:
        return (Key("", node.metadata.name) for node in self._nodes.list() if not node.spec.podCIDR)
