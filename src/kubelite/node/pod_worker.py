"""Looks at one pod at a time: observe, plan, act, write the status if it changed, until nothing is left to do.

Each pod is a key of one work queue: it never has two workers, and a change during the work brings it back. There is no
fixed number of workers: a pod that is being started must not keep another from being stopped.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING
from kubelite.api.errors import APIError, Conflict, NotFound
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodStatus
from kubelite.node.admission import (
    REJECTED,
    Rejection,
    rejection,
    resize_refusal,
    unsupported,
)
from kubelite.node.lifecycle import (
    FinishDeletion,
    Plan,
    TearDown,
    deadline_of,
    plan,
    plan_orphan,
)
from kubelite.node.live_node import LiveNode, NodeView
from kubelite.node.observed import Ending, Observed
from kubelite.node.pod_actions import Collaborators, NodeFacts, PodActions
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import (
    all_containers,
    as_dict,
    grace_seconds,
    is_terminal,
    pod_key,
    reference_to,
)
from kubelite.node.resizing import (
    IN_PROGRESS,
    PENDING,
    asked_resources,
    known_resources,
    resize_message,
    with_allocated,
)
from kubelite.node.runtime import EngineUnavailable
from kubelite.node.status import KUBELET_CONDITIONS, Host, rejected_status, status_of
from kubelite.node.volumes.followed import shows_itself
from kubelite.tasks import TaskSet, all_to_their_end
from kubelite.workqueue import WorkQueue

log = logging.getLogger(__name__)

ROUNDS_LIMIT = 100  # a plan that never comes to rest is a bug, not a reason to spin
ORPHAN_GRACE_SECONDS = 30
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


class PodWorker:
    """Brings the pods of one node to what the API says."""

    def __init__(self, facts: NodeFacts, parts: Collaborators) -> None:
        self._facts = facts
        self._client = parts.client
        self._clock = parts.clock
        self._events = parts.events
        self._tasks = TaskSet()
        self._queue: WorkQueue[str] = WorkQueue(
            name="pod_workers", retry_first_seconds=0.1, retry_max_seconds=60.0
        )
        self.memories: dict[str, PodMemory] = {}
        self.node = LiveNode(parts.client, NodeView(facts.name, facts.allocatable, facts.labels))
        self.actions = PodActions(
            facts, parts, self._tasks, self.wake, self.node, self._admitted_pods
        )

    def wake(self, uid: str) -> None:
        """Have a pod looked at."""
        if uid in self.memories:
            self._queue.add(uid)

    def memory(self, uid: str) -> PodMemory:
        """Return what is known of a pod, made when it is new."""
        if uid not in self.memories:
            self.memories[uid] = PodMemory(uid)
        return self.memories[uid]

    def move(self, addresses: tuple[str, ...]) -> None:
        """Follow new addresses of the node, the primary one first."""
        if addresses == self._facts.addresses:
            return
        self._facts = replace(self._facts, addresses=addresses)
        self.actions.move(self._facts, self.memories.values())
        for uid in self.memories:
            self.wake(uid)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            while True:
                uid = await self._queue.get()
                self._tasks.start(self._work(uid), name=f"pod {uid}")
        finally:
            await self._tasks.stop()
            for memory in self.memories.values():
                for state in memory.containers.values():
                    if state.probes is not None:
                        await state.probes.stop()

    async def _work(self, uid: str) -> None:
        try:
            await self._attend(uid)
        finally:
            self._queue.done(uid)

    async def _attend(self, uid: str) -> None:
        memory = self.memories.get(uid)
        if memory is None:
            return
        try:
            wait_seconds = await self.reconcile(memory)
        except EngineUnavailable as error:
            log.debug("pod waits for the container engine: %s", error)
            self._queue.retry(uid)
        except APIError as error:
            log.warning("cannot report pod: %s", error, extra={"pod": uid})
            self._queue.retry(uid)
        except Exception:
            log.exception("cannot sync pod", extra={"pod": uid})
            self._queue.retry(uid)
        else:
            self._queue.forget(uid)
            if wait_seconds is not None:
                self._queue.add_after(uid, wait_seconds)

    async def reconcile(self, memory: PodMemory) -> float | None:
        """Bring one pod as far as it gets now; return the seconds until the next look, or None."""
        for _ in range(ROUNDS_LIMIT):
            now = self._clock.now()
            pod = memory.pod
            if memory.gone or pod is None:
                return await self._remove_orphan(memory, now)
            if not memory.admitted and not await self._admit(memory, pod, now):
                return None
            pod = self._allocate(memory, pod)
            self._note_ending(memory, pod, now)
            if is_terminal(pod):
                self.actions.rest_volumes(memory)
            else:
                await self.actions.refresh_volumes(memory, pod)
            self.actions.watch_over_running(memory, pod)
            await self.actions.note_ended(memory)
            observed = memory.observe()
            decision = plan(pod, observed, now)
            status = status_of(pod, observed, now, Host(self._facts.addresses))
            self._note_backoff(memory, pod, observed, status)
            if not await self._advance(memory, pod, observed, decision, status):
                refresh_at = memory.refresh_at if memory.volumes_ready else None
                return _sooner(decision.wait_seconds, refresh_at, now)
        raise AssertionError(f"pod {memory.uid} does not come to rest")

    async def _advance(
        self, memory: PodMemory, pod: Pod, observed: Observed, decision: Plan, status: PodStatus
    ) -> bool:
        """Act and write the status; True if the pod should be looked at again right away."""
        if any(isinstance(action, FinishDeletion) for action in decision.actions):
            # Who watches must see how the containers ended before the pod is gone.
            await self._write_status(memory, pod, status)
            await self.actions.carry_out(memory, decision.actions)
            return False
        await all_to_their_end(
            self._write_status(memory, pod, status),
            self.actions.carry_out(memory, decision.actions),
        )
        after = memory.observe()
        return bool(decision.actions) and after != observed

    async def _remove_orphan(self, memory: PodMemory, now: datetime) -> float | None:
        memory.stop_restarting_probes()
        grace = ORPHAN_GRACE_SECONDS if memory.pod is None else grace_seconds(memory.pod)
        decision = plan_orphan(memory.observe(), grace, now, memory.pod)
        await self.actions.carry_out(memory, decision.actions)
        if any(isinstance(action, TearDown) for action in decision.actions):
            self.memories.pop(memory.uid, None)
            self._queue.forget(memory.uid)
            self.room_changed()
        return decision.wait_seconds

    async def _admit(self, memory: PodMemory, pod: Pod, now: datetime) -> bool:
        """Check once that the pod fits beside those already here; one that has containers was checked before."""
        refusal = None
        is_over = is_terminal(pod) or pod.metadata.deletionTimestamp is not None
        if not memory.records and not is_over:
            refusal = await self._refusal(memory, pod)
        if refusal is None:
            memory.admitted = True
            memory.allocated = known_resources(pod) if memory.records else asked_resources(pod)
            return True
        message = refusal.message.removeprefix(REJECTED)
        self._events.event(reference_to(pod), WARNING, refusal.reason, message)
        status = rejected_status(pod, refusal.reason, refusal.message, now)
        await self._patch(memory, pod, _difference(pod.status, status))
        return False

    async def _refusal(self, memory: PodMemory, pod: Pod) -> Rejection | None:
        facts = self._facts
        refusal = unsupported(pod, facts.sysctls, enforces_apparmor=facts.enforces_apparmor)
        # One that was let in keeps its place. A status is no proof of more: others may write it too.
        if refusal is not None or pod.status.startTime:
            return refusal
        if rejection(pod, self._others(memory), self.node.view) is None:
            return None
        # What the scheduler saw of the node may be newer than what has arrived here.
        view = await self.node.read()
        return rejection(pod, self._others(memory), view)

    def _others(self, memory: PodMemory) -> list[Pod]:
        """Return the pods besides one that the node has let in, with what each was allocated."""
        return self._admitted_pods(memory)

    def _admitted_pods(self, besides: PodMemory | None = None) -> list[Pod]:
        return [
            with_allocated(other.pod, other.allocated)
            for other in self.memories.values()
            if other is not besides
            and other.admitted
            and other.pod is not None
            and not is_terminal(other.pod)
        ]

    def _allocate(self, memory: PodMemory, pod: Pod) -> Pod:
        """Give the pod what it asks for if there is room; return it with what it was given."""
        asked = asked_resources(pod)
        if asked == memory.allocated or is_terminal(pod):
            memory.pending_resize = None
        else:
            refusal = resize_refusal(pod, self._others(memory), self.node.view)
            memory.pending_resize = refusal
            if refusal is None:
                memory.allocated = asked
                if shows_itself(pod):
                    self.actions.volumes_changed(memory.uid)
                message = resize_message("Pod resize started", pod)
                self._events.event(reference_to(pod), NORMAL, "ResizeStarted", message)
        return with_allocated(pod, memory.allocated)

    def node_changed(self) -> None:
        """Wake the pods that the Node's labels, taints or resources concern."""
        self.room_changed()
        for memory in self.memories.values():
            # A limit that a pod does not have is shown as what the node has.
            if memory.pod is not None and shows_itself(memory.pod):
                self.actions.volumes_changed(memory.uid)

    def room_changed(self) -> None:
        """Wake the pods whose resize waits for room on the node."""
        for memory in self.memories.values():
            if memory.pending_resize is not None:
                self.wake(memory.uid)

    def _note_ending(self, memory: PodMemory, pod: Pod, now: datetime) -> None:
        deadline = deadline_of(pod)
        if memory.ending is not None or deadline is None or deadline > now or is_terminal(pod):
            return
        memory.ending = Ending("DeadlineExceeded", DEADLINE_MESSAGE)
        self._events.event(reference_to(pod), NORMAL, "DeadlineExceeded", DEADLINE_MESSAGE)

    def _note_backoff(
        self, memory: PodMemory, pod: Pod, observed: Observed, status: PodStatus
    ) -> None:
        """Make an event of each back-off, once for each ended container."""
        waiting = {
            known.name: known.state.waiting
            for known in (*status.initContainerStatuses, *status.containerStatuses)
        }
        for container in all_containers(pod):
            state, record = waiting.get(container.name), observed.newest(container.name)
            if record is None or state is None or state.reason != "CrashLoopBackOff":
                continue
            remembered = memory.container(record.id)
            if not remembered.told_backoff:
                remembered.told_backoff = True
                message = f"Back-off restarting failed container {container.name} in pod "
                message += f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
                self._events.event(reference_to(pod, container), WARNING, "BackOff", message)

    async def _write_status(self, memory: PodMemory, pod: Pod, status: PodStatus) -> None:
        difference = _difference(pod.status, status)
        if difference:
            self._tell_resize(pod, status)
            await self._patch(memory, pod, difference)

    def _tell_resize(self, pod: Pod, status: PodStatus) -> None:
        """Make an event of each step of a resize, when the status that shows it is written."""
        before = {one.type: one for one in pod.status.conditions}
        after = {one.type: one for one in status.conditions}
        about = reference_to(pod)
        pending = after.get(PENDING)
        if pending is not None and _has_news(before.get(PENDING), pending):
            begin = f"Pod resize {pending.reason}"
            message = resize_message(begin, pod, pending.message)
            self._events.event(about, WARNING, f"Resize{pending.reason}", message)
        running = after.get(IN_PROGRESS)
        if running is None and IN_PROGRESS in before:
            message = resize_message("Pod resize completed", pod)
            self._events.event(about, NORMAL, "ResizeCompleted", message)
        elif running is not None and running.reason and _has_news(before.get(IN_PROGRESS), running):
            message = resize_message("Pod resize error", pod, running.message)
            self._events.event(about, WARNING, "ResizeError", message)

    async def _patch(self, memory: PodMemory, pod: Pod, difference: dict[str, Any]) -> None:
        try:
            written = await self._client.patch(
                Pod,
                pod.metadata.name,
                {"metadata": {"uid": pod.metadata.uid}, "status": difference},
                pod.metadata.namespace,
                patch_type="strategic",
                subresource="status",
            )
        except (NotFound, Conflict) as error:
            # Deleted meanwhile, or replaced by another pod of that name; the mirror will tell.
            log.debug("status not written: %s", error, extra={"pod": pod_key(pod)})
        else:
            memory.see(written)


def _sooner(wait_seconds: float | None, date: datetime | None, now: datetime) -> float | None:
    if date is None:
        return wait_seconds
    seconds = max((date - now).total_seconds(), 0.0)
    return seconds if wait_seconds is None else min(seconds, wait_seconds)


def _difference(before: PodStatus, after: PodStatus) -> dict[str, Any]:
    """Return the strategic merge patch from one status to another; {} when nothing changed."""
    old, new = as_dict(before), as_dict(after)
    patch: dict[str, Any] = {}
    for field in new.keys() | old.keys():
        if old.get(field) == new.get(field):
            continue
        if field == "conditions":
            patch[field] = _changed_conditions(old.get(field, []), new.get(field, []))
        elif field in {"podIPs", "hostIPs"} and old.get(field):
            patch[field] = [{"$patch": "replace"}, *new.get(field, [])]
        else:
            patch[field] = new.get(field)
    if patch.get("conditions") == []:
        del patch["conditions"]
    return patch


def _has_news(before: PodCondition | None, after: PodCondition) -> bool:
    return before is None or (before.reason, before.message) != (after.reason, after.message)


def _changed_conditions(
    old: list[Mapping[str, Any]], new: list[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the kubelet's conditions that changed; a field that vanished is set to null, a condition is deleted."""
    # Whoever may write a pod's status may leave a type out.
    known = {condition.get("type", ""): condition for condition in old}
    left = {condition.get("type", "") for condition in new}
    changed: list[dict[str, Any]] = [
        {"$patch": "delete", "type": name}
        for name in known
        if name in KUBELET_CONDITIONS and name not in left
    ]
    for condition in new:
        before = known.get(condition.get("type", ""), {})
        if condition.get("type") in KUBELET_CONDITIONS and condition != before:
            gone = dict.fromkeys(before.keys() - condition.keys())
            changed.append({**gone, **condition})
    return changed
