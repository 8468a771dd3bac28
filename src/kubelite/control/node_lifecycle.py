"""Marks nodes that no longer report as Unknown, and taints nodes by their conditions.

A node reports by renewing its lease or changing its status. A report only moves a deadline, which is kept in the
loop's time, so that a jump of the wall clock fails no node.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL
from kubelite.api.errors import NotFound
from kubelite.api.kinds.coordination import Lease
from kubelite.api.kinds.core.nodes import Node, NodeCondition
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.control.node_taints import is_node_ready, node_condition, wanted_taints
from kubelite.control.pods import condition, is_terminal
from kubelite.control.runtime import Context, Key, Watch

LEASES = "kube-node-lease"
REPORTED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
MARGIN_SECONDS = 0.01
NODE_INDEX = "node name"


def node_of_pod(pod: Pod) -> tuple[str, ...]:
    """Index pods by the name of their node."""
    return (pod.spec.nodeName,) if pod.spec.nodeName else ()


def unknown_conditions(node: Node, now: datetime) -> list[NodeCondition]:
    """Return the conditions of a node that no longer reports: those that it should report become Unknown."""
    date = format_time(now)
    changed = list(node.status.conditions)
    for condition_type in REPORTED:
        current = node_condition(node, condition_type)
        if current is None:
            changed.append(
                NodeCondition(
                    type=condition_type,
                    status="Unknown",
                    reason="NodeStatusNeverUpdated",
                    message="Kubelet never posted node status.",
                    lastHeartbeatTime=node.metadata.creationTimestamp,
                    lastTransitionTime=date,
                )
            )
        elif current.status != "Unknown":
            changed[changed.index(current)] = replace(
                current,
                status="Unknown",
                reason="NodeStatusUnknown",
                message="Kubelet stopped posting node status.",
                lastTransitionTime=date,
            )
    return changed


class NodeLifecycleController:
    """Reconciles nodes."""

    name = "node-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._nodes = context.mirror(Node)
        self._pods = context.mirror(Pod)
        self._pods.add_index(NODE_INDEX, node_of_pod)
        self._reported: dict[str, float] = {}  # loop time of each node's last report

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch nodes and their leases."""
        return (
            Watch(Node, self._keys_of_node, where=self._node_changed),
            Watch(Lease, _node_of_lease, where=self._renewed),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Set a silent node's conditions to Unknown, its pods to not ready, and update the taints.

        Return the seconds until the node counts as silent, or None if it does.
        """
        node = self._nodes.get(key.name)
        if node is None:
            self._reported.pop(key.name, None)
            return None
        grace = self._context.options.node_grace_seconds
        now_seconds = asyncio.get_running_loop().time()
        silent_seconds = now_seconds - self._reported.setdefault(key.name, now_seconds)
        if silent_seconds >= grace:
            node = await self._mark_unknown(node)
        if not is_node_ready(node):
            await self._mark_pods(node)
        now = self._context.clock.now()
        evicting = any(map(is_node_ready, self._nodes.list()))
        taints = wanted_taints(node, evicting=evicting, now=now)
        if taints != node.spec.taints:
            await self._client.patch(
                Node,
                key.name,
                {
                    "metadata": {"resourceVersion": node.metadata.resourceVersion},
                    "spec": {"taints": to_builtins(taints)},
                },
            )
        # Rounding could requeue the node just before its deadline again and again, so add a margin.
        return grace - silent_seconds + MARGIN_SECONDS if silent_seconds < grace else None

    async def _mark_unknown(self, node: Node) -> Node:
        conditions = unknown_conditions(node, self._context.clock.now())
        if conditions == node.status.conditions:
            return node
        status = replace(node.status, conditions=conditions)
        self._context.events.event(
            node,
            NORMAL,
            "NodeNotReady",
            f"Node {node.metadata.name} status is now: NodeNotReady",
        )
        return await self._client.update(replace(node, status=status), "status")

    async def _mark_pods(self, node: Node) -> None:
        """Set the pods of a node that is not ready to not ready, which removes them from their services."""
        date = format_time(self._context.clock.now())
        for pod in self._pods.indexed(NODE_INDEX, node.metadata.name):
            found = condition(pod, "Ready")
            if found is None or found.status != "True" or is_terminal(pod):
                continue
            patch = {"type": "Ready", "status": "False", "lastTransitionTime": date}
            try:
                await self._client.patch(
                    Pod,
                    pod.metadata.name,
                    {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [patch]}},
                    pod.metadata.namespace,
                    patch_type="strategic",
                    subresource="status",
                )
            except NotFound:
                continue

    def _node_changed(self, before: Node | None, after: Node | None) -> bool:
        """Count a new heartbeat as a report, and return whether the change matters.

        This controller's own change to Unknown has no new heartbeat.
        """
        if after is not None and (before is None or _reports(before, after)):
            self._reported[after.metadata.name] = asyncio.get_running_loop().time()
        return (
            before is None
            or after is None
            or is_node_ready(before) != is_node_ready(after)
            or before.spec != after.spec
            or _statuses(before) != _statuses(after)
        )

    def _keys_of_node(self, node: Node) -> Iterable[Key]:
        """Return the key of the node; with fewer than two ready nodes all keys, since eviction may start or stop."""
        nodes = self._nodes.list()
        few = sum(1 for _ in islice(filter(is_node_ready, nodes), 2)) < 2
        return (Key("", one.metadata.name) for one in ((node, *nodes) if few else (node,)))

    def _renewed(self, _before: Lease | None, after: Lease | None) -> bool:
        if after is None or after.metadata.namespace != LEASES:
            return False
        name = after.metadata.name
        self._reported[name] = asyncio.get_running_loop().time()
        node = self._nodes.get(name)
        ready = node_condition(node, "Ready") if node is not None else None
        # A renewal matters only for a node marked Unknown. For any other the delayed requeue finds out whether it is
        # silent.
        return ready is not None and ready.status == "Unknown"


def _reports(before: Node, after: Node) -> bool:
    beats = [one.lastHeartbeatTime for one in before.status.conditions]
    return beats != [one.lastHeartbeatTime for one in after.status.conditions]


def _statuses(node: Node) -> list[tuple[str, str]]:
    return [(one.type, one.status) for one in node.status.conditions]


def _node_of_lease(lease: Lease) -> tuple[Key, ...]:
    return (Key("", lease.metadata.name),)
