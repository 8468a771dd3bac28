"""A manifest folder that exists only in memory."""

import asyncio
from collections.abc import Callable
from typing import Any

from kubelite.api.kinds.core.pods import Pod
from kubelite.api.registry.manifests import complete_pod
from kubelite.node.kubelet import PodListener
from kubelite.node.pods import pod_key
from kubelite.node.static_pods import mark_static


class StaticManifests:
    """Static pods by file; `put` and `remove` are what a user does to the folder."""

    def __init__(self, node_name: str = "node-1") -> None:
        self._node_name = node_name
        self._listeners: list[PodListener] = []
        self.pods: dict[str, Pod] = {}

    def put(self, spec: dict[str, Any], name: str = "static", **meta: Any) -> Pod:
        """Write a manifest; return its static pod."""
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **meta}, "spec": spec}
        marked = mark_static(body, f"{name}.yaml", self._node_name, "2026-05-01T12:00:00Z")
        pod = complete_pod(marked)
        before, self.pods[pod_key(pod)] = self.pods.get(pod_key(pod)), pod
        self._tell(before, pod)
        return pod

    def remove(self, name: str = "static") -> None:
        """Remove a manifest of the default namespace."""
        self._tell(self.pods.pop(f"default/{name}-{self._node_name}"), None)

    def _tell(self, before: Pod | None, after: Pod | None) -> None:
        for listener in self._listeners:
            listener(before, after)

    async def run(self, listener: PodListener, read: Callable[[], None]) -> None:
        """Call `listener` as a manifest folder does."""
        self._listeners.append(listener)
        try:
            for pod in self.pods.values():
                listener(None, pod)
            read()
            await asyncio.get_running_loop().create_future()
        finally:
            self._listeners.remove(listener)
