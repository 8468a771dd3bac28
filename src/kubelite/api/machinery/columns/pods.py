"""Columns of pods."""

from datetime import datetime
from typing import Any

from kubelite.api.machinery.columns.layout import (
    JSON,
    NONE,
    Cells,
    Layout,
    age_of,
    columns,
    condition_is_true,
    containers,
    format_labels,
    items,
    name_of,
    part,
)
from kubelite.api.machinery.times import age

_COMPLETED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def _pod(pod: JSON, now: datetime) -> Cells:
    spec, status = part(pod, "spec"), part(pod, "status")
    seen = _Summary(pod)
    restarts = str(seen.restarts)
    if seen.restarts and seen.restarted_at:
        restarts += f" ({age(seen.restarted_at, now)} ago)"
    addresses = items(status, "podIPs")
    gates = [gate.get("conditionType") for gate in items(spec, "readinessGates")]
    open_gates = sum(condition_is_true(status, gate) for gate in gates)
    return [
        name_of(pod),
        f"{seen.ready}/{seen.total}",
        seen.reason,
        restarts,
        age_of(pod, now),
        (addresses[0].get("ip") if addresses else status.get("podIP")) or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{open_gates}/{len(gates)}" if gates else NONE,
    ]


class _Summary:
    """The reason, ready count and restarts of a pod, from all container states, as kubectl shows them."""

    def __init__(self, pod: JSON) -> None:
        self._spec, self._status = part(pod, "spec"), part(pod, "status")
        self._sidecars = {
            container.get("name")
            for container in items(self._spec, "initContainers")
            if container.get("restartPolicy") == "Always"
        }
        self.total = len(items(self._spec, "containers")) + len(self._sidecars)
        self.ready = 0
        self.restarts = 0
        self.restarted_at = ""
        phase = self._status.get("phase", "")
        self.reason: str = self._status.get("reason") or phase
        if any(
            each.get("type") == "PodScheduled" and each.get("reason") == "SchedulingGated"
            for each in items(self._status, "conditions")
        ):
            self.reason = "SchedulingGated"
        initializing = self._read_init()
        if not initializing or condition_is_true(self._status, "Initialized"):
            self._read_main()
        self._read_deletion(pod, phase)

    def _count_restarts(self, container: JSON) -> None:
        self.restarts += container.get("restartCount", 0)
        finished = part(container, "lastState", "terminated").get("finishedAt") or ""
        self.restarted_at = max(self.restarted_at, finished)

    def _read_init(self) -> bool:
        """Read init containers up to the first unfinished one; return whether there is one."""
        for index, container in enumerate(items(self._status, "initContainerStatuses")):
            self._count_restarts(container)
            state = part(container, "state")
            terminated = state.get("terminated")
            if terminated and not terminated.get("exitCode", 0):
                continue
            if container.get("name") in self._sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            waiting = part(state, "waiting").get("reason", "")
            if terminated:
                self.reason = "Init:" + _ending(terminated)
            elif waiting and waiting != "PodInitializing":
                self.reason = "Init:" + waiting
            else:
                self.reason = f"Init:{index}/{len(items(self._spec, 'initContainers'))}"
            return True
        return False

    def _read_main(self) -> None:
        self.restarts, self.restarted_at = 0, ""
        for container in items(self._status, "initContainerStatuses"):
            if container.get("name") in self._sidecars:
                self._count_restarts(container)
        has_running, failure = False, ""
        for container in reversed(items(self._status, "containerStatuses")):
            self._count_restarts(container)
            state = part(container, "state")
            terminated = state.get("terminated")
            if waiting := part(state, "waiting").get("reason"):
                self.reason = waiting
            elif terminated:
                self.reason = _ending(terminated)
                if terminated.get("exitCode", 0):
                    failure = self.reason
            elif container.get("ready") and state.get("running") is not None:
                has_running = True
                self.ready += 1
        if self.reason == "Completed":
            if has_running and condition_is_true(self._status, "Ready"):
                self.reason = "Running"
            elif failure:
                self.reason = failure
            elif has_running:
                self.reason = "NotReady"

    def _read_deletion(self, pod: JSON, phase: str) -> None:
        if not part(pod, "metadata").get("deletionTimestamp"):
            return
        if self._status.get("reason") == "NodeLost":
            self.reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            self.reason = "Terminating"


def _ending(terminated: JSON) -> str:
    if reason := terminated.get("reason"):
        return str(reason)
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _conditions(pod: JSON) -> list[dict[str, Any]]:
    phase = part(pod, "status").get("phase", "")
    message = _COMPLETED.get(phase)
    if message is None:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": message}]


def _template(thing: JSON, _now: datetime) -> Cells:
    template = part(thing, "template")
    labels = part(template, "metadata").get("labels")
    return [name_of(thing), *containers(part(template, "spec")), format_labels(labels)]


POD = Layout(
    columns(
        "Name | Ready | Status | Restarts | Age | IP+ | Node+ | Nominated Node+ | Readiness Gates+"
    ),
    _pod,
    _conditions,
)
POD_TEMPLATE = Layout(columns("Name | Containers | Images | Pod Labels"), _template)
