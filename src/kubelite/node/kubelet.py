"""The node agent: watches the API's pods and the engine's containers, and hands each change to the pod workers.

At start no pod is acted on before both are known: which pods the API has for this node, and which containers the
engine holds. When the engine goes away pods wait; when it is back all containers are read again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Protocol

from kubelite.api.client.protocol import Client, Mirror
from kubelite.api.kinds.core.pods import Pod
from kubelite.backoff import backoff_seconds
from kubelite.node.dependencies import Collaborators, NodeFacts
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pod_worker import PodWorker
from kubelite.node.pods import is_terminal
from kubelite.node.runtime import (
    ContainerRecord,
    EngineUnavailable,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
)
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


async def _nothing() -> None:
    pass


class Kubelet:
    """Runs the pods of one node. Create it on the loop; `run` works until cancelled."""

    def __init__(
        self, facts: NodeFacts, parts: Collaborators, pods: PodSource | None = None
    ) -> None:
        self._facts = facts
        self._parts = parts
        self._pods: PodSource = pods or NodePods(parts.client, facts.name)
        self._worker = PodWorker(facts, parts)
        self._tasks = TaskSet()
        self._restored = False
        self.engine_error = "container engine has not answered yet"  # empty while it answers
        self.engine_known = asyncio.Event()  # set once it has answered, or failed to
        self.on_engine_change: Callable[[], None] = lambda: None
        # Awaited once the engine answers, before the first pod is started.
        self.before_pods: Callable[[], Awaitable[None]] = _nothing

    @property
    def memories(self) -> dict[str, PodMemory]:
        """The state of the node's pods by uid, those of which only containers or volumes are left included."""
        return self._worker.memories

    def wake(self, uid: str) -> None:
        """Enqueue a pod, if it is known."""
        self._worker.wake(uid)

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
        unfollow = await self._pods.follow(self._worker.pod_changed)
        unsubscribe = self._worker.follow_node()
        try:
            await self._follow_engine()
        finally:
            unsubscribe()
            unfollow()
            await self._worker.stop_following()
            await self._tasks.stop()

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
        self._worker.containers_listed(records)
        if not self._restored:
            await self._worker.restore(records)
            await self.before_pods()
            self._restored = True
            self._tasks.supervise(self._worker.run, name=f"pods of {self._facts.name}")
        for record in records:
            if record.phase == "exited":
                self._worker.container_changed(record)
        self.engine_error = ""
        self.engine_known.set()
        self.on_engine_change()
        for uid in list(self._worker.memories):
            self._worker.wake(uid)
