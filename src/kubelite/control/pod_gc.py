"""Deletes pods of nodes that are gone or out of service, and the oldest terminated pods above a limit."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from kubelite.api.errors import Conflict, NotFound
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.control.node_lifecycle import NODE_INDEX, node_of_pod
from kubelite.control.node_taints import OUT_OF_SERVICE, is_node_ready
from kubelite.control.pods import is_terminal
from kubelite.control.runtime import Context, Key, Watch

QUARANTINE_SECONDS = 40.0  # a node that comes back within this time keeps its pods
TERMINATED = Key("", "terminated pods")


class PodGCController:
    """Reconciles nodes that are gone or out of service, and the number of terminated pods."""

    name = "pod-garbage-collector"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._nodes = context.mirror(Node)
        self._pods = context.mirror(Pod)
        self._pods.add_index(NODE_INDEX, node_of_pod)
        self._pods.add_index("terminated", lambda pod: ("yes",) if is_terminal(pod) else ())
        self._due: dict[str, float] = {}  # loop time at which each missing node's quarantine ends

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch added, deleted and out-of-service nodes, and pods that are terminal or bound to no existing node."""
        return (
            Watch(Node, where=_came_went_or_out_of_service),
            Watch(Pod, self._keys_of_pod),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Delete the pods of the node, or the surplus of terminated pods."""
        if key == TERMINATED:
            await self._limit_terminated()
            return None
        node = self._nodes.get(key.name)
        pods = self._pods.indexed(NODE_INDEX, key.name)
        if not pods or node is not None:
            self._due.pop(key.name, None)
        if not pods:
            return None
        if node is not None:
            if _is_out_of_service(node):
                dying = (pod for pod in pods if pod.metadata.deletionTimestamp is not None)
                await self._remove(dying, "PodGC: node is out of service")
            return None
        now = asyncio.get_running_loop().time()
        left_seconds = self._due.setdefault(key.name, now + QUARANTINE_SECONDS) - now
        if left_seconds > 0:
            return left_seconds
        try:
            await self._client.get(Node, key.name)
        except NotFound:
            await self._remove(pods, "PodGC: node no longer exists")
        return None

    async def _remove(self, pods: Iterable[Pod], message: str) -> None:
        for pod in list(pods):
            try:
                if not is_terminal(pod):
                    await self._fail(pod, message)
                await self._client.delete(
                    Pod,
                    pod.metadata.name,
                    pod.metadata.namespace,
                    uid=pod.metadata.uid,
                    grace_seconds=0,
                )
            except (NotFound, Conflict):
                continue

    async def _fail(self, pod: Pod, message: str) -> None:
        """Set the pod's phase to Failed, so that its owner counts it as failed."""
        target = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": message,
            "lastTransitionTime": format_time(self._context.clock.now()),
        }
        await self._client.patch(
            Pod,
            pod.metadata.name,
            {
                "metadata": {"uid": pod.metadata.uid},
                "status": {"phase": "Failed", "conditions": [target]},
            },
            pod.metadata.namespace,
            patch_type="strategic",
            subresource="status",
        )

    async def _limit_terminated(self) -> None:
        ended = self._pods.indexed("terminated", "yes")
        surplus = len(ended) - self._context.options.terminated_pods_limit
        if surplus <= 0:
            return
        oldest = await self._context.offload.run(
            len(ended), lambda: sorted(ended, key=lambda pod: pod.metadata.creationTimestamp)
        )
        for pod in oldest[:surplus]:
            meta = pod.metadata
            try:
                await self._client.delete(
                    Pod, meta.name, meta.namespace, uid=meta.uid, grace_seconds=0
                )
            except (NotFound, Conflict):
                continue

    def _keys_of_pod(self, pod: Pod) -> Iterable[Key]:
        keys = []
        if is_terminal(pod):
            keys.append(TERMINATED)
        if pod.spec.nodeName:
            node = self._nodes.get(pod.spec.nodeName)
            if node is None or _is_out_of_service(node):
                keys.append(Key("", pod.spec.nodeName))
        return keys


def _is_out_of_service(node: Node) -> bool:
    return not is_node_ready(node) and any(
        taint.key == OUT_OF_SERVICE for taint in node.spec.taints
    )


def _came_went_or_out_of_service(before: Node | None, after: Node | None) -> bool:
    return before is None or after is None or _is_out_of_service(after)
