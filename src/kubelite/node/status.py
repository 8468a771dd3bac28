"""Computes a pod's status from what the node observes; pure, so that it is written only when it changed."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from kubelite.api.kinds.core.container_status import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    VolumeMountStatus,
)
from kubelite.api.kinds.core.containers import ResourceRequirements, VolumeMount
from kubelite.api.kinds.core.pods import HostIP, Pod, PodCondition, PodIP, PodStatus
from kubelite.api.machinery.pod_amounts import pod_amounts
from kubelite.api.machinery.times import format_time
from kubelite.limits import POD_TERMINATION_MESSAGES
from kubelite.node.lifecycle import backoff_of, backoff_remaining
from kubelite.node.observed import Observed
from kubelite.node.pods import (
    AnyContainer,
    is_recursively_read_only,
    is_sidecar,
    is_terminal,
    qos_class,
    should_restart,
    wanted_images,
)
from kubelite.node.resizing import IN_PROGRESS, PENDING, current_text, is_in_progress
from kubelite.node.runtime import ContainerRecord

WAITING_FOR_INIT = "PodInitializing"
WAITING_FOR_CREATION = "ContainerCreating"
DISRUPTION_TARGET = (
    "DisruptionTarget"  # of all who disrupt pods: the node sets it, and never deletes it
)
KUBELET_CONDITIONS = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    PENDING,
    IN_PROGRESS,
)
# The fields of a status that `status_of` computes, beside conditions.
KUBELET_FIELDS = (
    "phase",
    "reason",
    "message",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "observedGeneration",
    "resources",
    "allocatedResources",
)


class Host(Struct, frozen=True):
    """The facts about the node in a pod's status."""

    addresses: tuple[str, ...] = ()
    recursive_read_only: bool = False


def status_of(pod: Pod, observed: Observed, now: datetime, host: Host) -> PodStatus:
    """Compute the whole status; `pod.status` is the one last written, `pod.spec` has the allocated resources."""
    if is_terminal(pod) and not observed.records and not _has_run(pod):
        return pod.status  # it was refused: states of containers that never were would hide why
    known = _known_statuses(pod)
    inits = [
        _container_status(pod, c, observed, known.get(c.name), now, host, is_init=True)
        for c in pod.spec.initContainers
    ]
    apps, ephemeral = (
        [_container_status(pod, c, observed, known.get(c.name), now, host) for c in containers]
        for containers in (pod.spec.containers, pod.spec.ephemeralContainers)
    )
    is_over = (
        pod.metadata.deletionTimestamp is not None or observed.ending is not None
    ) and not observed.running()
    phase = _phase(pod, observed, inits, apps, is_over=is_over)
    addresses = (
        ()
        if phase in {"Succeeded", "Failed"} and not pod.status.podIP
        else _addresses(pod, observed)
    )
    reason, message = pod.status.reason, pod.status.message
    # A terminal phase, its reason and message come together, once nothing of the pod runs any more.
    if observed.ending is not None and phase == "Failed" and not is_terminal(pod):
        reason, message = observed.ending.reason, observed.ending.message
    draft = msgspec.structs.replace(
        pod.status,
        phase=phase,
        reason=reason,
        message=message,
        initContainerStatuses=inits,
        containerStatuses=apps,
        ephemeralContainerStatuses=ephemeral,
        hostIP=host.addresses[0] if host.addresses else "",
        hostIPs=[HostIP(ip=address) for address in host.addresses],
        podIP=addresses[0] if addresses else "",
        podIPs=[PodIP(ip=address) for address in addresses],
        startTime=pod.status.startTime or format_time(now),
        qosClass=qos_class(pod),
        observedGeneration=pod.metadata.generation,
        **_pod_level_resources(pod),
    )
    conditions = _conditions(pod, draft, observed, now)
    return msgspec.structs.replace(draft, conditions=conditions)


def _pod_level_resources(pod: Pod) -> dict[str, Any]:
    """Return the fields of a status that only a pod with resources of its own has."""
    if pod.spec.resources is None:
        return {}
    requests = pod_amounts(msgspec.to_builtins(pod.spec), "requests", overhead=True)
    return {
        "resources": pod.spec.resources,
        "allocatedResources": {name: str(amount) for name, amount in requests.items()},
    }


def _has_run(pod: Pod) -> bool:
    return bool(pod.status.containerStatuses or pod.status.initContainerStatuses)


def rejected_status(pod: Pod, reason: str, message: str, now: datetime) -> PodStatus:
    """Compute the status of a pod that the node refuses to run."""
    return msgspec.structs.replace(
        pod.status,
        phase="Failed",
        reason=reason,
        message=message,
        startTime=pod.status.startTime or format_time(now),
        qosClass=qos_class(pod),
        observedGeneration=pod.metadata.generation,
    )


def _addresses(pod: Pod, observed: Observed) -> tuple[str, ...]:
    if observed.addresses:
        return observed.addresses
    sandbox = observed.newest_sandbox()
    if sandbox is not None and sandbox.is_running:
        return ()
    # A pod that ends keeps its last address in the status.
    return tuple(address.ip for address in pod.status.podIPs)


def _known_statuses(pod: Pod) -> dict[str, ContainerStatus]:
    """Return the last written status of each container by name; of duplicates the first."""
    statuses = (
        *pod.status.containerStatuses,
        *pod.status.initContainerStatuses,
        *pod.status.ephemeralContainerStatuses,
    )
    return {status.name: status for status in reversed(statuses)}


def _container_status(
    pod: Pod,
    container: AnyContainer,
    observed: Observed,
    known: ContainerStatus | None,
    now: datetime,
    host: Host,
    *,
    is_init: bool = False,
) -> ContainerStatus:
    attempts = observed.attempts(container.name)
    if not attempts and is_terminal(pod) and known is not None and known.state.terminated:
        return known  # its containers were removed to reclaim what they took
    if attempts and attempts[0].phase == "created" and len(attempts) > 1:
        attempts = attempts[1:]
    if not attempts or attempts[0].phase == "created":
        return _unstarted(pod, container, observed, known, host)
    newest = attempts[0]
    state, last = _states(pod, container, observed, attempts, now, known, is_init=is_init)
    health = observed.health.get(newest.id)
    has_hook = newest.id in observed.hooks_running
    started = newest.is_running and not has_hook and (health is None or health.started)
    ready = started and (health is None or health.ready)
    if is_init and not is_sidecar(container):
        ready = newest.phase == "exited" and newest.exit_code == 0
    return ContainerStatus(
        name=container.name,
        image=newest.image or container.image,
        imageID=newest.image_id,
        containerID=f"{newest.engine}://{newest.id}",
        restartCount=newest.attempt,
        state=state,
        lastState=last,
        ready=ready,
        started=started,
        allocatedResources=dict(container.resources.requests),
        allocatedResourcesStatus=observed.devices.get(container.name, []),
        resources=_resources(container, newest, observed),
        volumeMounts=_mounts(container, host),
    )


def _resources(
    container: AnyContainer, record: ContainerRecord, observed: Observed
) -> ResourceRequirements:
    """Return the resources a container really has, which a resize may not have changed yet."""
    text = current_text(record, observed)
    if not text:
        return container.resources
    return msgspec.json.decode(text, type=ResourceRequirements)


def _mounts(container: AnyContainer, host: Host) -> list[VolumeMountStatus]:
    return [
        VolumeMountStatus(
            name=mount.name,
            mountPath=mount.mountPath,
            readOnly=mount.readOnly,
            recursiveReadOnly=_recursion(mount, host) if mount.readOnly else None,
        )
        for mount in container.volumeMounts
    ]


def _recursion(mount: VolumeMount, host: Host) -> str:
    is_whole = host.recursive_read_only and is_recursively_read_only(mount)
    return "Enabled" if is_whole else "Disabled"


def _states(
    pod: Pod,
    container: AnyContainer,
    observed: Observed,
    attempts: list[ContainerRecord],
    now: datetime,
    known: ContainerStatus | None,
    *,
    is_init: bool,
) -> tuple[ContainerState, ContainerState]:
    """Return the state of the newest attempt and that of the one before."""
    newest = attempts[0]
    last = known.lastState if known is not None else ContainerState()
    if len(attempts) > 1:
        last = ContainerState(terminated=_terminated(pod, attempts[1], observed))
    if newest.is_running:
        started = format_time(newest.started_at or newest.created_at)
        return ContainerState(running=ContainerStateRunning(startedAt=started)), last
    ended = ContainerState(terminated=_terminated(pod, newest, observed))
    is_ending = (
        pod.metadata.deletionTimestamp is not None
        or observed.ending is not None
        or is_terminal(pod)
    )
    if is_ending or not should_restart(pod, container, newest.exit_code, is_init=is_init):
        return ended, last
    waiting = _restart_obstacle(pod, container, observed, newest, now)
    return (ended, last) if waiting is None else (ContainerState(waiting=waiting), ended)


def _restart_obstacle(
    pod: Pod,
    container: AnyContainer,
    observed: Observed,
    newest: ContainerRecord,
    now: datetime,
) -> ContainerStateWaiting | None:
    if backoff_remaining(newest, now) > 0:
        place = f"pod={pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
        message = f"back-off {_duration(backoff_of(newest))} restarting failed "
        message += f"container={container.name} {place}"
        return ContainerStateWaiting(reason="CrashLoopBackOff", message=message)
    return _trouble(pod, container, observed)


def _trouble(pod: Pod, container: AnyContainer, observed: Observed) -> ContainerStateWaiting | None:
    trouble = observed.troubles.get(container.name)
    for wanted in wanted_images(pod, container):
        image = observed.images.get(wanted.key)
        if trouble is None and image is not None:
            trouble = image.trouble
    if trouble is None:
        return None
    return ContainerStateWaiting(
        reason=trouble.reason, message=cut(trouble.message, POD_TERMINATION_MESSAGES.value)
    )


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _unstarted(
    pod: Pod,
    container: AnyContainer,
    observed: Observed,
    known: ContainerStatus | None,
    host: Host,
) -> ContainerStatus:
    default = WAITING_FOR_INIT if pod.spec.initContainers else WAITING_FOR_CREATION
    state = ContainerState(
        waiting=_trouble(pod, container, observed) or ContainerStateWaiting(reason=default)
    )
    if observed.ending is not None or pod.metadata.deletionTimestamp is not None:
        state = known.state if known is not None and known.state.terminated else state
    last = ContainerState()
    restarts = 0
    if known is not None:
        last, restarts = known.lastState, known.restartCount
        if known.state.running is not None:
            # The container was removed behind the node's back.
            last = ContainerState(
                terminated=ContainerStateTerminated(
                    exitCode=137,
                    reason="ContainerStatusUnknown",
                    message="The container could not be located when the pod was terminated",
                    containerID=known.containerID,
                )
            )
    return ContainerStatus(
        name=container.name,
        image=container.image,
        state=state,
        lastState=last,
        restartCount=restarts,
        started=False,
        allocatedResourcesStatus=observed.devices.get(container.name, []),
        containerID=known.containerID if known is not None else "",
        imageID=known.imageID if known is not None else "",
        volumeMounts=_mounts(container, host),
    )


def _terminated(pod: Pod, record: ContainerRecord, observed: Observed) -> ContainerStateTerminated:
    reason = "Completed" if record.exit_code == 0 else "Error"
    if record.oom_killed:
        reason = "OOMKilled"
    elif record.error:
        reason = "ContainerCannotRun"
    return ContainerStateTerminated(
        exitCode=record.exit_code,
        reason=reason,
        message=cut(observed.messages.get(record.id, "") or record.error, _share(pod)),
        startedAt=format_time(record.started_at or record.created_at),
        finishedAt=format_time(record.finished_at or record.created_at),
        containerID=f"{record.engine}://{record.id}",
    )


def _share(pod: Pod) -> int:
    """Return how many bytes the message of each container may have, so that a status fits however many there are."""
    spec = pod.spec
    count = len(spec.containers) + len(spec.initContainers) + len(spec.ephemeralContainers)
    return POD_TERMINATION_MESSAGES.value // max(count, 1)


def cut(text: str, limit_bytes: int) -> str:
    """Return the beginning of a text that has at most so many bytes."""
    if (
        len(text) * 4 <= limit_bytes
        or len(encoded := text.encode("utf-8", "replace")) <= limit_bytes
    ):
        return text
    POD_TERMINATION_MESSAGES.reached()
    return encoded[:limit_bytes].decode("utf-8", "ignore")


def _phase(
    pod: Pod,
    observed: Observed,
    inits: list[ContainerStatus],
    apps: list[ContainerStatus],
    *,
    is_over: bool,
) -> str:
    if pod.status.phase in {"Failed", "Succeeded"}:
        return pod.status.phase
    if observed.ending is not None:
        return "Failed" if is_over else pod.status.phase or "Pending"
    ended = [status.state.terminated for status in apps if status.state.terminated]
    all_ended = bool(apps) and len(ended) == len(apps)
    if all_ended and (is_over or not _will_run_again(pod, apps)) and not _sidecars_run(pod, inits):
        return "Succeeded" if all(state.exitCode == 0 for state in ended) else "Failed"
    if _init_failed(pod, inits):
        return "Failed"
    if _init_pending(pod, inits):
        return "Pending"
    if any(_is_waiting_first(status) for status in apps):
        return "Pending"
    return "Running"


def _sidecars_run(pod: Pod, inits: list[ContainerStatus]) -> bool:
    return any(
        is_sidecar(container) and status.state.running
        for container, status in zip(pod.spec.initContainers, inits, strict=True)
    )


def _will_run_again(pod: Pod, apps: list[ContainerStatus]) -> bool:
    return any(
        status.state.terminated is not None
        and should_restart(pod, container, status.state.terminated.exitCode, is_init=False)
        for container, status in zip(pod.spec.containers, apps, strict=True)
    )


def _init_failed(pod: Pod, inits: list[ContainerStatus]) -> bool:
    for container, status in zip(pod.spec.initContainers, inits, strict=True):
        ended = status.state.terminated
        if ended is None or is_sidecar(container) or ended.exitCode == 0:
            continue
        if not should_restart(pod, container, ended.exitCode, is_init=True):
            return True
    return False


def _init_pending(pod: Pod, inits: list[ContainerStatus]) -> bool:
    for container, status in zip(pod.spec.initContainers, inits, strict=True):
        if is_sidecar(container):
            if not status.started and not status.lastState.terminated:
                return True
        elif status.state.terminated is None or status.state.terminated.exitCode != 0:
            return True
    return False


def _is_waiting_first(status: ContainerStatus) -> bool:
    return status.state.waiting is not None and status.lastState.terminated is None


def _conditions(
    pod: Pod, status: PodStatus, observed: Observed, now: datetime
) -> list[PodCondition]:
    sandbox = observed.newest_sandbox()
    has_network = sandbox is not None and sandbox.is_running and bool(observed.addresses)
    containers_ready = _containers_ready(pod, status)
    wanted = [
        PodCondition(type="PodReadyToStartContainers", status="True" if has_network else "False"),
        _initialized(pod, status),
        _ready(pod, containers_ready),
        containers_ready,
        PodCondition(type="PodScheduled", status="True"),
        *(() if _over(status) else _resizing(pod, observed)),
    ]
    found = {condition.type: condition for condition in pod.status.conditions}
    result = []
    for condition in wanted:
        before = found.get(condition.type)
        date = format_time(now)
        if before is not None and before.status == condition.status and before.lastTransitionTime:
            date = before.lastTransitionTime
        if before is not None and condition.type == PENDING and before.reason != condition.reason:
            date = format_time(now)
        result.append(
            msgspec.structs.replace(
                condition, lastTransitionTime=date, observedGeneration=pod.metadata.generation
            )
        )
    others = [c for c in pod.status.conditions if c.type not in KUBELET_CONDITIONS]
    return _with_disruption(pod, status, observed, now, [*result, *others])


def _with_disruption(
    pod: Pod,
    status: PodStatus,
    observed: Observed,
    now: datetime,
    conditions: list[PodCondition],
) -> list[PodCondition]:
    """Add the condition of a disruption by the node, which others write too, in the same status as the end."""
    ending = observed.ending
    if ending is None or not ending.disruption or is_terminal(pod) or status.phase != "Failed":
        return conditions
    condition = PodCondition(
        type=DISRUPTION_TARGET,
        status="True",
        reason=ending.disruption,
        message=ending.disruption_message or ending.message,
        lastTransitionTime=format_time(now),
        observedGeneration=pod.metadata.generation,
    )
    return [*(one for one in conditions if one.type != DISRUPTION_TARGET), condition]


def _resizing(pod: Pod, observed: Observed) -> Iterator[PodCondition]:
    """Yield the conditions of a resize; none once the containers have the requested resources."""
    if (pending := observed.pending_resize) is not None:
        yield PodCondition(
            type=PENDING, status="True", reason=pending.reason, message=pending.message
        )
    if is_in_progress(pod, observed):
        trouble = next(iter(observed.resize_troubles.values()), None)
        yield PodCondition(
            type=IN_PROGRESS,
            status="True",
            reason=trouble.reason if trouble else "",
            message=trouble.message if trouble else "",
        )


def _initialized(pod: Pod, status: PodStatus) -> PodCondition:
    done = PodCondition(type="Initialized", status="True")
    if status.phase == "Succeeded":
        return msgspec.structs.replace(done, reason="PodCompleted")
    has_run = any(
        app.state.running or app.state.terminated or app.lastState.terminated
        for app in status.containerStatuses
    )
    names = [
        known.name
        for container, known in zip(
            pod.spec.initContainers, status.initContainerStatuses, strict=True
        )
        if not (known.started if is_sidecar(container) else known.ready)
    ]
    if not names or has_run:
        return done
    message = f"containers with incomplete status: [{' '.join(names)}]"
    return PodCondition(
        type="Initialized", status="False", reason="ContainersNotInitialized", message=message
    )


def _containers_ready(pod: Pod, status: PodStatus) -> PodCondition:
    if reason := _over(status):
        return PodCondition(type="ContainersReady", status="False", reason=reason)
    sidecars = {container.name for container in pod.spec.initContainers if is_sidecar(container)}
    candidates = [s for s in status.initContainerStatuses if s.name in sidecars]
    names = [known.name for known in (*candidates, *status.containerStatuses) if not known.ready]
    if not names:
        return PodCondition(type="ContainersReady", status="True")
    message = f"containers with unready status: [{' '.join(names)}]"
    return PodCondition(
        type="ContainersReady", status="False", reason="ContainersNotReady", message=message
    )


def _over(status: PodStatus) -> str:
    return {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(status.phase, "")


def _ready(pod: Pod, containers_ready: PodCondition) -> PodCondition:
    if containers_ready.status != "True":
        return msgspec.structs.replace(containers_ready, type="Ready")
    found = {condition.type: condition.status for condition in pod.status.conditions}
    problems = []
    for gate in pod.spec.readinessGates:
        value = found.get(gate.conditionType)
        if value is None:
            problems.append(
                f'corresponding condition of pod readiness gate "{gate.conditionType}" does not exist.'
            )
        elif value != "True":
            problems.append(
                f'the status of pod readiness gate "{gate.conditionType}" is not "True", but {value}'
            )
    if not problems:
        return PodCondition(type="Ready", status="True")
    return PodCondition(
        type="Ready",
        status="False",
        reason="ReadinessGatesNotReady",
        message=", ".join(problems),
    )
