"""The node agent: follows the API's pods and the engine's containers, and wakes the pod that either concerns.

At start nothing is done to a pod before both are known: which pods the API has for this node, and which containers the
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
from kubelite.node.pod_actions import Collaborators, NodeFacts
from kubelite.node.pod_memory import ContainerState, PodMemory
from kubelite.node.pod_worker import PodWorker
from kubelite.node.pods import is_terminal
from kubelite.node.runtime import (
    ContainerRecord,
    EngineUnavailable,
    Resynced,
    RuntimeEvent,
    RuntimeFailure,
)
from kubelite.node.volumes.followed import differs_as_shown, shows_itself
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

RECONNECT_FIRST_SECONDS = 0.2
RECONNECT_MAX_SECONDS = 5.0

PodListener = Callable[[Pod | None, Pod | None], None]


class PodSource(Protocol):
    """Tells which pods a node has."""

    async def follow(self, listener: PodListener) -> Callable[[], None]:
        """Tell `listener` of all pods and then of every change; return the call that ends it."""
        ...


class NodePods:
    """The pods of one node, from a mirror of just those."""

    def __init__(self, client: Client, node_name: str) -> None:
        selector = f"spec.nodeName={node_name}"
        self._mirror: Mirror[Pod] = client.mirror(Pod, field_selector=selector)

    async def follow(self, listener: PodListener) -> Callable[[], None]:
        """Once the mirror is complete, tell `listener` of all pods and then of every change."""
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
        self.before_pods: Callable[[], Awaitable[None]] = (
            _nothing  # awaited once the engine answers
        )

    @property
    def memories(self) -> dict[str, PodMemory]:
        """What is known of the node's pods, by uid."""
        return self._worker.memories

    def move(self, addresses: tuple[str, ...]) -> None:
        """Follow new addresses of the node, the primary one first: its pods report them."""
        self._worker.move(addresses)

    async def run(self) -> None:
        """Work until cancelled; containers go on when this ends."""
        self._restored = False  # this may be another run, after a failure
        unfollow = await self._pods.follow(self._pod_changed)
        unsubscribe = self._worker.node.subscribe(self._worker.node_changed)
        try:
            await self._follow_engine()
        finally:
            unsubscribe()
            unfollow()
            await self._tasks.stop()

    def _pod_changed(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            memory = self._worker.memory(before.metadata.uid)
            memory.see(before)
            memory.gone = True
            self._worker.wake(memory.uid)
        if after is not None:
            memory = self._worker.memory(after.metadata.uid)
            memory.see(after)
            self._worker.wake(memory.uid)
            if before is not None and differs_as_shown(before, after) and shows_itself(after):
                self._worker.actions.volumes_changed(memory.uid)
        if after is None or is_terminal(after) or (before and before.spec != after.spec):
            self._worker.room_changed()

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
            self._vanished(event.container_id)
        else:
            self._changed(event.record)

    async def _resynced(self, records: tuple[ContainerRecord, ...]) -> None:
        """Take all containers as they are now; those that were known and are not there are gone."""
        present = {record.id for record in records}
        for memory in list(self._worker.memories.values()):
            for container_id in [known for known in memory.records if known not in present]:
                self._forget(memory, container_id)
        for record in records:
            self._worker.memory(record.pod_uid).take(record)
        if not self._restored:
            await self._restore(records)
        for record in records:
            if record.phase == "exited":
                self._changed(record)
        self.engine_error = ""
        self.engine_known.set()
        self.on_engine_change()
        for uid in list(self._worker.memories):
            self._worker.wake(uid)

    async def _restore(self, records: tuple[ContainerRecord, ...]) -> None:
        """Take up after a restart what runs, and find what pods that are gone have left; then begin to work."""
        live = {r.pod_uid: r.pid for r in records if r.is_sandbox and r.is_running and r.pid}
        await self._parts.network.restore(live)
        # Before anything is decided or probed each living pod has its addresses again.
        for record in records:
            memory = self._worker.memory(record.pod_uid)
            if record.pod_uid in live and record.is_sandbox and memory.pod is not None:
                await self._worker.actions.attach(memory, memory.pod, record)
        await self._parts.logs.add(records)
        for uid in await self._parts.volumes.leftovers():
            self._worker.memory(uid)
        await self.before_pods()
        self._restored = True
        self._tasks.supervise(self._worker.run, name=f"pods of {self._facts.name}")

    def _changed(self, record: ContainerRecord) -> None:
        memory = self._worker.memory(record.pod_uid)
        before = memory.records.get(record.id)
        memory.take(record)
        ended = record.phase == "exited" and (before is None or before.phase != "exited")
        if ended or (record.phase == "exited" and memory.container(record.id).message is None):
            self._forget_addresses(memory, record)
            work = self._ended(memory, record, memory.container(record.id))
            self._tasks.start(work, name=f"end of {record.name}")
        else:
            self._worker.wake(memory.uid)

    async def _ended(
        self, memory: PodMemory, record: ContainerRecord, state: ContainerState
    ) -> None:
        try:
            await self._worker.actions.ended(memory, record, state)
        finally:
            self._worker.wake(memory.uid)

    def _vanished(self, container_id: str) -> None:
        for memory in self._worker.memories.values():
            if container_id in memory.records:
                self._forget(memory, container_id)
                return

    def _forget(self, memory: PodMemory, container_id: str) -> None:
        record = memory.records[container_id]
        if record.is_running:
            self._forget_addresses(memory, record)
        state = memory.forget(container_id)
        self._tasks.start(self._ended(memory, record, state), name=f"end of {record.name}")
        self._tasks.start(self._parts.logs.remove(record), name=f"log of {record.name}")

    def _forget_addresses(self, memory: PodMemory, ended: ContainerRecord) -> None:
        """The address goes with the sandbox that has it; the end of an older one may be told late."""
        newest = memory.observe().newest_sandbox()
        if ended.is_sandbox and newest is not None and newest.id == ended.id:
            memory.addresses = ()
