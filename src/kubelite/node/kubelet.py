"""The node agent: watches the API's pods and the engine's containers, and hands each change to the pod workers.

At start no pod is acted on before both are known: which pods the API has for this node, and which containers the
engine holds. When the engine goes away pods wait; when it is back all containers are read again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Protocol

from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.kinds.core.pods import Pod
from kubelite.backoff import backoff_seconds
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.mirror_pods import MirrorPods
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pod_worker import PodWorker
from kubelite.node.pods import is_terminal, pod_key
from kubelite.node.runtime import (
    ContainerRecord,
    EngineUnavailable,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
)
from kubelite.node.static_pods import is_mirror, is_static
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RECONNECT_FIRST_SECONDS = 0.2
RECONNECT_MAX_SECONDS = 5.0

PodListener = Callable[[Pod | None, Pod | None], None]


class PodSource(Protocol):
    """A source of the pods of one node."""

    async def follow(self, listener: PodListener) -> Callable[[], None]:
        """Call `listener` with all pods and then with every change; return the call that ends it."""
        ...


class NodePods:
    """The pods of one node, from a mirror of just those."""

    def __init__(self, client: Client, node_name: str) -> None:
        selector = f"spec.nodeName={node_name}"
        self._mirror: Mirror[Pod] = client.mirror(Pod, field_selector=selector)

    async def follow(self, listener: PodListener) -> Callable[[], None]:
        """Once the mirror is synced, call `listener` with all pods and then with every change."""
        await self._mirror.synced()
        return self._mirror.subscribe(listener)


class StaticSource(Protocol):
    """A source of the node's static pods."""

    @property
    def pods(self) -> Mapping[str, Pod]:
        """The static pods by namespace/name."""
        ...

    async def run(self, listener: PodListener, read: Callable[[], None]) -> None:
        """Call `listener` with all pods, then `read`, then `listener` with every change, until cancelled."""
        ...


async def _nothing() -> None:
    pass


class Kubelet:
    """Runs the pods of one node. Create it on the loop; `run` works until cancelled."""

    def __init__(
        self,
        facts: NodeFacts,
        parts: Collaborators,
        pods: PodSource | None = None,
        static: StaticSource | None = None,
    ) -> None:
        self._facts = facts
        self._parts = parts
        self._pods: PodSource = pods or NodePods(parts.client, facts.name)
        self._static = static
        self._worker = PodWorker(facts, parts)
        self._mirrors = MirrorPods(
            parts.client, facts.name, self._static_pod, self._worker.mirror_changed
        )
        self._worker.on_static_removed = self._static_removed
        self._tasks = TaskSet()
        self._restored = False
        self.engine_error = "container engine has not answered yet"  # empty while it answers
        self.engine_known = asyncio.Event()  # set once it has answered, or failed to
        self.on_engine_change: Callable[[], None] = lambda: None
        # Awaited each time that the engine answers again, before any pod is started.
        self.before_pods: Callable[[], Awaitable[None]] = _nothing

    @property
    def memories(self) -> dict[str, PodMemory]:
        """The state of the node's pods by uid, those of which only containers or volumes are left included."""
        return self._worker.memories

    @property
    def workers(self) -> PodWorker:
        """The workers of the node's pods."""
        return self._worker

    def wanted_images(self) -> frozenset[str]:
        """Return the ids of the images that pods have been given, for containers and volumes."""
        return frozenset(
            state.image_id for memory in self.memories.values() for state in memory.images.values()
        )

    def wake(self, uid: str) -> None:
        """Enqueue a pod, if it is known."""
        self._worker.wake(uid)

    def retry(self, uid: str) -> None:
        """Have a pod that waits for its devices try again at once, if it is known."""
        self._worker.retry(uid)

    def active_pods(self) -> set[str]:
        """Return the uids of the pods that run or will, those of which only containers are left included."""
        return {
            uid
            for uid, memory in self.memories.items()
            if memory.current is None
            or not is_terminal(memory.current)
            or any(record.is_running for record in memory.records.values())
        }

    def move(self, addresses: tuple[str, ...]) -> None:
        """Follow new addresses of the node, the primary one first: its pods report them."""
        self._worker.move(addresses)

    async def run(self) -> None:
        """Work until cancelled; containers go on when this ends."""
        self._restored = False  # this may be another run, after a failure
        unsubscribe = self._worker.follow_node()
        try:
            await self._follow_pods()
            await self._follow_engine()
        finally:
            unsubscribe()
            await self._tasks.stop()
            await self._worker.stop_following()

    async def _follow_pods(self) -> None:
        """Wait for the pods of the API; but not if there are static pods, which run without it."""
        if self._static is not None:
            static, read = self._static, asyncio.Event()
            self._tasks.supervise(
                lambda: static.run(self._static_changed, read.set), name="static pods"
            )
            await read.wait()
        listed = asyncio.Event()
        self._worker.expect_more()
        self._tasks.supervise(lambda: self._follow_api(listed), name="pods of the API")
        if self._static is None or not self._static.pods:
            await listed.wait()

    async def _follow_api(self, listed: asyncio.Event) -> None:
        unfollow = await self._pods.follow(self._api_changed)
        try:
            self._worker.all_known()
            listed.set()
            await self._mirrors.run()
        finally:
            unfollow()

    def _static_changed(self, before: Pod | None, after: Pod | None) -> None:
        self._worker.pod_changed(before, after)
        changed = after or before
        assert changed is not None, "one of both is there"
        self._mirrors.wake(pod_key(changed))

    def _static_pod(self, key: str) -> Pod | None:
        """Return the static pod of a name: one whose manifest is gone until nothing is left of it."""
        memories = self._worker.memories.values()
        left = (memory.pod for memory in memories if memory.gone and memory.pod is not None)
        leaving = next((one for one in left if is_static(one) and pod_key(one) == key), None)
        return leaving or self._manifest_of(key)

    def _manifest_of(self, key: str) -> Pod | None:
        return self._static.pods.get(key) if self._static is not None else None

    def _static_removed(self, key: str) -> None:
        """Handle that nothing is left of a static pod; its manifest may be back, unchanged and with the same uid."""
        pod = self._manifest_of(key)
        if pod is not None and pod.metadata.uid not in self._worker.memories:
            self._worker.pod_changed(None, pod)
        self._mirrors.wake(key)

    def _api_changed(self, before: Pod | None, after: Pod | None) -> None:
        """Divide the pods of the API: a mirror pod only shows a static pod, and is not run."""
        if before is not None and after is not None and is_mirror(before) != is_mirror(after):
            self._api_changed(before, None)
            self._api_changed(None, after)
        elif (known := after or before) is not None and is_mirror(known):
            self._mirrors.changed(before, after)
        else:
            self._worker.pod_changed(before, after)

    async def _follow_engine(self) -> None:
        failures = 0
        while True:
            try:
                async with aclosing(self._parts.runtime.events()) as events:
                    async for event in events:
                        failures = 0
                        await self._happened(event)
                error = "the engine's event stream ended"
            except (EngineUnavailable, RuntimeFailure) as failure:
                error = str(failure)
            if not self.engine_error:
                log.warning("container engine does not answer: %s", error)
            self.engine_error = error
            self.engine_known.set()
            self.on_engine_change()
            await asyncio.sleep(
                backoff_seconds(failures, RECONNECT_FIRST_SECONDS, RECONNECT_MAX_SECONDS)
            )
            failures += 1

    async def _happened(self, event: Resynced | RuntimeEvent) -> None:
        if isinstance(event, Resynced):
            await self._resynced(event.records)
        elif event.record is None:
            self._worker.container_gone(event.container_id)
        else:
            self._worker.container_changed(event.record)

    async def _resynced(self, records: tuple[ContainerRecord, ...]) -> None:
        """Handle the list of all containers that the engine gives at each connect; the first starts the pod workers."""
        self._worker.hold()
        self._worker.containers_listed(records)
        if not self._restored:
            await self._worker.restore(records)
        await self.before_pods()  # which an engine that was replaced needs like one that is new
        if not self._restored:
            self._restored = True
            self._tasks.supervise(self._worker.run, name=f"pods of {self._facts.name}")
        for record in records:
            if record.phase == "exited":
                self._worker.container_changed(record)
        self.engine_error = ""
        self.engine_known.set()
        self.on_engine_change()
        self._worker.release()
