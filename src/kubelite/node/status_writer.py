"""Writes the status of pods: as a patch of what changed, so that conditions of others stay.

A server that does not answer holds no pod up: the newest status of each pod waits in its memory, where the next look at
the pod finds it, and is written when the server is back. A few are written at once, so that a node full of pods does
not meet a server that has just come back with all of them.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import APIError, Conflict, NotFound, failure_kind
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodStatus
from kubelite.backoff import backoff_seconds
from kubelite.log import Complaint
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import as_dict, pod_key, reference_to
from kubelite.node.resizing import IN_PROGRESS, PENDING, resize_message
from kubelite.node.static_pods import is_static
from kubelite.node.status import DISRUPTION_TARGET, KUBELET_CONDITIONS
from kubelite.tasks import TaskSet

log = logging.getLogger(__name__)

WRITES_AT_ONCE = 8  # of one node
PATIENCE_SECONDS = 5.0  # after which work on a pod goes on before its status is written
RETRY_FIRST_SECONDS = 0.2
RETRY_MAX_SECONDS = 60.0


class StatusWriter:
    """Writes pod statuses, and the events for the steps of a resize that they show."""

    def __init__(
        self,
        client: Client,
        events: EventRecorder,
        tasks: TaskSet,
        again: Callable[[str, float], None],
    ) -> None:
        """`again` enqueues a pod by uid after seconds, which reports its status again."""
        self._client = client
        self._events = events
        self._tasks = tasks
        self._again = again
        self._turns = asyncio.Semaphore(WRITES_AT_ONCE)
        self._complaint = Complaint()

    async def report(self, memory: PodMemory, pod: Pod, status: PodStatus) -> None:
        """Write a status if it differs from the pod's, with events for the steps of a resize.

        Returns when it is written, or could not be, or after PATIENCE_SECONDS; until it is written it is the memory's
        `unwritten`. `pod` has the status that was reported last.
        """
        if not self._is_wanted(memory, pod, status):
            return
        if (
            memory.status_write is None or memory.status_write.done()
        ):  # done: cut off before its first step
            work = self._write_newest(memory)
            memory.status_write = self._tasks.start(work, name=f"status of {memory.uid}")
        await asyncio.wait({memory.status_write}, timeout=PATIENCE_SECONDS)

    async def write(self, memory: PodMemory, pod: Pod, status: PodStatus) -> None:
        """Write a status as `report` does, but return only when it is written. Raises APIError."""
        if not self._is_wanted(memory, pod, status):
            return
        if memory.status_write is not None:  # it may be older
            await asyncio.wait({memory.status_write})
        await self._write(memory)

    def _is_wanted(self, memory: PodMemory, pod: Pod, status: PodStatus) -> bool:
        """Store a status as unwritten, unless the API has it; return whether it is to be written."""
        if status_patch(pod.status, status):
            self._record_resize(pod, status)
        stored = memory.pod.status if memory.pod is not None else pod.status
        memory.unwritten = status if status_patch(stored, status) else None
        if memory.mirror is None and is_static(pod):
            return False  # nothing shows it yet
        return memory.unwritten is not None

    async def _write_newest(self, memory: PodMemory) -> None:
        try:
            async with self._turns:
                await self._write(memory)
        except APIError as error:
            if self._complaint.is_new(failure_kind(error)):
                about = {"pod": memory.uid, "reason": error.message}
                log.warning("cannot write the status of pods", extra=about)
            seconds = backoff_seconds(
                memory.status_failures, RETRY_FIRST_SECONDS, RETRY_MAX_SECONDS
            )
            memory.status_failures += 1
            self._again(memory.uid, seconds)
        else:
            memory.status_failures = 0
            if self._complaint.ends():
                log.info("the status of pods is written again")
            if memory.unwritten is not None and not _waits_for_mirror(memory):
                self._again(memory.uid, 0.0)
        finally:
            memory.status_write = None

    async def _write(self, memory: PodMemory) -> None:
        status, pod = memory.unwritten, memory.mirror or memory.pod
        if status is None or pod is None:
            return
        if difference := status_patch(pod.status, status):
            await self.patch(memory, pod, difference)
        if memory.unwritten is status:
            memory.unwritten = None

    def _record_resize(self, pod: Pod, status: PodStatus) -> None:
        """Record an event for each step of a resize that the new status shows."""
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

    async def patch(self, memory: PodMemory, pod: Pod, patch: dict[str, Any]) -> None:
        """Patch the status of a pod, or of its mirror; one that is gone or replaced is passed over. Raises APIError."""
        try:
            written = await self._client.patch(
                Pod,
                pod.metadata.name,
                {"metadata": {"uid": pod.metadata.uid}, "status": patch},
                pod.metadata.namespace,
                patch_type="strategic",
                subresource="status",
            )
        except (NotFound, Conflict) as error:
            # Deleted meanwhile, or replaced by another pod of that name, as the mirror will show.
            log.debug("status not written: %s", error, extra={"pod": pod_key(pod)})
        else:
            if memory.mirror is not None:
                memory.update_mirror(written)
            else:
                memory.update_pod(written)


def _waits_for_mirror(memory: PodMemory) -> bool:
    return memory.mirror is None and memory.pod is not None and is_static(memory.pod)


def status_patch(before: PodStatus, after: PodStatus) -> dict[str, Any]:
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
    # Any writer of a pod's status may have left out a condition's type.
    known = {condition.get("type", ""): condition for condition in old}
    left = {condition.get("type", "") for condition in new}
    changed: list[dict[str, Any]] = [
        {"$patch": "delete", "type": name}
        for name in known
        if name in KUBELET_CONDITIONS and name not in left
    ]
    for condition in new:
        before = known.get(condition.get("type", ""), {})
        is_own = condition.get("type") in (*KUBELET_CONDITIONS, DISRUPTION_TARGET)
        if is_own and condition != before:
            gone = dict.fromkeys(before.keys() - condition.keys())
            changed.append({**gone, **condition})
    return changed
