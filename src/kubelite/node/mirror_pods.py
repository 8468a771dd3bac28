"""Keeps one mirror pod in the API for each static pod of the node, and none besides.

A mirror pod that is deleted, or shows another version of its pod, is deleted at once and created anew.
"""

import logging
from collections.abc import Callable

from kubelite.api.client.protocol import Client
from kubelite.api.errors import AlreadyExists, APIError, Conflict, NotFound, failure_kind
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.log import Complaint
from kubelite.node.pods import pod_key
from kubelite.node.static_pods import mirror_of, mirrors
from kubelite.workqueue import WorkQueue

log = logging.getLogger(__name__)

RETRY_FIRST_SECONDS = 0.2
RETRY_MAX_SECONDS = 60.0


class MirrorPods:
    """Reconciles the mirror pods of one node, each by its key (namespace/name)."""

    def __init__(
        self,
        client: Client,
        node_name: str,
        static_pod: Callable[[str], Pod | None],
        show: Callable[[str, Pod | None], None],
    ) -> None:
        """`static_pod` returns the pod that a key must show, None: none; `show` is called with uid and mirror."""
        self._client = client
        self._node_name = node_name
        self._static_pod = static_pod
        self._show = show
        self._seen: dict[str, Pod] = {}
        self._complaint = Complaint()
        self._queue: WorkQueue[str] = WorkQueue(
            name="mirror_pods",
            retry_first_seconds=RETRY_FIRST_SECONDS,
            retry_max_seconds=RETRY_MAX_SECONDS,
        )

    def wake(self, key: str) -> None:
        """Enqueue the mirror of a static pod that is new, or gone with all that was left of it."""
        self._queue.add(key)

    def changed(self, before: Pod | None, after: Pod | None) -> None:
        """Store a change of a mirror pod in the API."""
        known = after or before
        assert known is not None, "one of both is there"
        key = pod_key(known)
        if after is not None:
            self._seen[key] = after
        else:
            self._seen.pop(key, None)
        self._tell(key)
        self._queue.add(key)

    def _tell(self, key: str) -> None:
        pod, mirror = self._static_pod(key), self._seen.get(key)
        if pod is not None:
            is_shown = mirror is not None and mirrors(mirror, pod)
            self._show(pod.metadata.uid, mirror if is_shown else None)

    async def run(self) -> None:
        """Work until cancelled."""
        end = self._client.on_return(self._retry_all)
        try:
            while True:
                key = await self._queue.get()
                try:
                    await self._attend(key)
                finally:
                    self._queue.done(key)
        finally:
            end()

    def _retry_all(self) -> None:
        for key in self._seen:
            self._queue.add(key)

    async def _attend(self, key: str) -> None:
        try:
            await self.reconcile(key)
        except APIError as error:
            if self._complaint.is_new(failure_kind(error)):
                log.warning("cannot keep mirror pod: %s", error, extra={"pod": key})
            self._queue.retry(key)
        else:
            self._complaint.ends()
            self._queue.forget(key)

    async def reconcile(self, key: str) -> None:
        """Delete a mirror that shows no present pod; create one that is missing. Raises APIError."""
        pod, mirror = self._static_pod(key), self._seen.get(key)
        self._tell(key)
        if mirror is not None and (pod is None or not mirrors(mirror, pod)):
            await self._delete(mirror)
            mirror = self._seen.get(key)
        if pod is not None and mirror is None:
            await self._create(pod)

    async def _delete(self, mirror: Pod) -> None:
        meta = mirror.metadata
        try:
            await self._client.delete(Pod, meta.name, meta.namespace, uid=meta.uid, grace_seconds=0)
        except (NotFound, Conflict) as error:  # gone, or another pod has the name by now
            log.debug("mirror pod is not deleted: %s", error)

    async def _create(self, pod: Pod) -> None:
        node = await self._client.get(Node, self._node_name)
        try:
            await self._client.create(mirror_of(pod, node.metadata.uid))
        except AlreadyExists:
            found = await self._client.get(Pod, pod.metadata.name, pod.metadata.namespace)
            if not mirrors(found, pod):
                raise
