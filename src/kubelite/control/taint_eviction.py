"""Deletes pods whose node has a NoExecute taint that they do not tolerate, or not for longer."""

from collections.abc import Iterable, Sequence
from typing import Any

from kubelite.api.client.events import NORMAL
from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.control.node_lifecycle import NODE_INDEX, node_of_pod
from kubelite.control.node_taints import leave_at
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch


class TaintEvictionController:
    """Reconciles bound pods."""

    name = "taint-eviction-controller"
    identity = "node-controller"
    workers = 4

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._nodes = context.mirror(Node)
        self._pods = context.mirror(Pod)
        self._pods.add_index(NODE_INDEX, node_of_pod)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch the taints of nodes, and pods that are bound or change their tolerations."""
        return (
            Watch(Node, self._pods_of_node, where=_taints_changed),
            Watch(Pod, where=_placed_or_tolerating),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Evict the pod once its toleration ends; else return the seconds until then."""
        pod = self._pods.get(key.name, key.namespace)
        if pod is None or pod.metadata.deletionTimestamp is not None or is_terminal(pod):
            return None
        node = self._nodes.get(pod.spec.nodeName) if pod.spec.nodeName else None
        if node is None:
            return None
        now = self._context.clock.now()
        deadline = leave_at(node.spec.taints, pod.spec.tolerations, now)
        if deadline is None:
            return None
        if deadline > now:
            return (deadline - now).total_seconds()
        message = f"Marking for deletion Pod {key.namespace}/{key.name}"
        self._context.events.event(pod, NORMAL, "TaintManagerEviction", message)
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": format_time(now),
        }
        try:
            await self._client.patch(
                Pod,
                key.name,
                {"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [target]}},
                key.namespace,
                patch_type="strategic",
                subresource="status",
            )
            await self._client.delete(Pod, key.name, key.namespace, uid=pod.metadata.uid)
        except NotFound:
            return None
        return None

    def _pods_of_node(self, node: Node) -> Iterable[Key]:
        pods = self._pods.indexed(NODE_INDEX, node.metadata.name)
        return (Key(pod.metadata.namespace, pod.metadata.name) for pod in pods)


def _taints_changed(before: Node | None, after: Node | None) -> bool:
    if after is None:
        return False
    return before is None or before.spec.taints != after.spec.taints


def _placed_or_tolerating(before: Pod | None, after: Pod | None) -> bool:
    if after is None or not after.spec.nodeName:
        return False
    return (
        before is None
        or before.spec.nodeName != after.spec.nodeName
        or before.spec.tolerations != after.spec.tolerations
    )
