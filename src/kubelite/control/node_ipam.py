"""Allocates each node a pod CIDR from the cluster's."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from kubelite.api.client.events import NORMAL
from kubelite.api.kinds.core.nodes import Node
from kubelite.control.node_ranges import CIDRNotAvailable, NodeRanges
from kubelite.control.runtime import Context, Key, Watch

log = logging.getLogger(__name__)


class NodeIPAMController:
    """Reconciles nodes without a pod CIDR; one at a time, so that no two get the same.

    If no CIDR is free a node gets one event and waits until another node is gone.
    """

    name = "node-ipam-controller"
    identity = "node-controller"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._events = context.events
        self._nodes = context.mirror(Node)
        self._ranges = NodeRanges(context.options)
        self._waiting: set[str] = set()  # names of nodes for which no CIDR was free
        context.follow(Node, self._node_changed)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch nodes without a pod CIDR, and nodes that release one."""
        return (
            Watch(Node, where=_asks),
            Watch(Node, self._those_waiting, where=_gives_back),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Write the node's pod CIDRs."""
        node = self._nodes.get(key.name)
        if node is None or node.spec.podCIDR or node.metadata.deletionTimestamp is not None:
            self._waiting.discard(key.name)
            return None
        try:
            parts = self._ranges.free()
        except CIDRNotAvailable as reason:
            self._refuse(node, reason)
            return None
        await self._client.patch(
            Node,
            key.name,
            {
                "metadata": {"uid": node.metadata.uid},
                "spec": {"podCIDR": parts[0], "podCIDRs": parts},
            },
        )
        self._waiting.discard(key.name)
        return None

    def _node_changed(self, before: Node | None, after: Node | None) -> None:
        self._ranges.node_changed(before, after)
        if after is None and before is not None:
            self._waiting.discard(before.metadata.name)

    def _refuse(self, node: Node, reason: CIDRNotAvailable) -> None:
        name = node.metadata.name
        if name in self._waiting:
            return
        if not self._waiting:
            log.warning(
                "no pod addresses are left for nodes: they wait until another node goes",
                extra={"node": name, "reason": str(reason)},
            )
        self._waiting.add(name)
        message = f"Node {name} status is now: CIDRNotAvailable"
        self._events.event(node, NORMAL, "CIDRNotAvailable", message)

    def _those_waiting(self, _: Node) -> Iterable[Key]:
        return [Key("", name) for name in sorted(self._waiting)]


def _asks(before: Node | None, after: Node | None) -> bool:
    """Return whether a node has newly no pod CIDR; its later status reports do not matter."""
    return (
        after is not None
        and not after.spec.podCIDR
        and (before is None or bool(before.spec.podCIDR) or _is_other(before, after))
    )


def _gives_back(before: Node | None, after: Node | None) -> bool:
    return (
        before is not None
        and bool(before.spec.podCIDR)
        and (after is None or after.spec.podCIDRs != before.spec.podCIDRs)
    )


def _is_other(before: Node, after: Node) -> bool:
    return before.metadata.uid != after.metadata.uid
