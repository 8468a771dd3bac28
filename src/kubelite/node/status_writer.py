"""Writes the status of pods: as a patch of what changed, so that conditions of others stay."""

import logging
from collections.abc import Mapping
from typing import Any

from kubelite.api.client.events import NORMAL, WARNING, EventRecorder
from kubelite.api.client.protocol import Client
from kubelite.api.errors import Conflict, NotFound
from kubelite.api.kinds.core.pods import Pod, PodCondition, PodStatus
from kubelite.node.pod_memory import PodMemory
from kubelite.node.pods import as_dict, pod_key, reference_to
from kubelite.node.resizing import IN_PROGRESS, PENDING, resize_message
from kubelite.node.status import KUBELET_CONDITIONS

log = logging.getLogger(__name__)


class StatusWriter:
    """Writes pod statuses, and the events for the steps of a resize that they show."""

    def __init__(self, client: Client, events: EventRecorder) -> None:
        self._client = client
        self._events = events

    async def write(self, memory: PodMemory, pod: Pod, status: PodStatus) -> None:
        """Write a status if it differs from the pod's, with events for the steps of a resize. Raises APIError."""
        difference = status_patch(pod.status, status)
        if difference:
            self._record_resize(pod, status)
            await self.patch(memory, pod, difference)

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
        """Patch a pod's status; a pod that is gone or replaced is passed over. Raises APIError."""
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
            memory.update_pod(written)


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
        if condition.get("type") in KUBELET_CONDITIONS and condition != before:
            gone = dict.fromkeys(before.keys() - condition.keys())
            changed.append({**gone, **condition})
    return changed
