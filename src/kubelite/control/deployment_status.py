"""The status of a Deployment: numbers from its sets, and the conditions Available, Progressing and ReplicaFailure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from kubelite.api.kinds.apps import (
    Deployment,
    DeploymentCondition,
    DeploymentStatus,
    ReplicaSet,
)
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.control import conditions
from kubelite.control.rollout import max_unavailable, wanted_replicas

PROGRESSING = "Progressing"
AVAILABLE = "Available"
FAILURE = "ReplicaFailure"
TIMED_OUT = "ProgressDeadlineExceeded"
COMPLETE = "NewReplicaSetAvailable"
NO_DEADLINE = 2**31 - 1


def progress_deadline(deployment: Deployment) -> int | None:
    """Return `progressDeadlineSeconds`; None if the rollout has no deadline."""
    seconds = deployment.spec.progressDeadlineSeconds
    return None if seconds is None or seconds == NO_DEADLINE else seconds


def condition(
    condition_type: str, status: str, reason: str, message: str, now: datetime
) -> DeploymentCondition:
    """Make a condition with `now` as update and transition time."""
    date = format_time(now)
    return DeploymentCondition(
        type=condition_type,
        status=status,
        reason=reason,
        message=message,
        lastUpdateTime=date,
        lastTransitionTime=date,
    )


def counts(
    deployment: Deployment, sets: Sequence[ReplicaSet], newest: ReplicaSet | None, now: datetime
) -> DeploymentStatus:
    """Return the status with the sums over all sets and the Available condition."""
    available = sum(one.status.availableReplicas for one in sets)
    enough = available >= wanted_replicas(deployment) - max_unavailable(deployment)
    fresh = (
        condition(
            AVAILABLE,
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
        if enough
        else condition(
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    )
    known = [one.status.terminatingReplicas for one in sets]
    return replace(
        deployment.status,
        observedGeneration=deployment.metadata.generation,
        replicas=sum(one.status.replicas for one in sets),
        updatedReplicas=newest.status.replicas if newest else 0,
        readyReplicas=sum(one.status.readyReplicas for one in sets),
        availableReplicas=available,
        unavailableReplicas=max(0, sum(map(wanted_replicas, sets)) - available),
        terminatingReplicas=None if None in known else sum(number or 0 for number in known),
        conditions=conditions.put(deployment.status.conditions, fresh),
    )


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Return whether all wanted pods are of the newest set and available, and no other pods are left."""
    wanted = wanted_replicas(deployment)
    return (
        status.updatedReplicas == wanted
        and status.replicas == wanted
        and status.availableReplicas == wanted
        and status.observedGeneration >= deployment.metadata.generation
    )


def rollout_status(
    deployment: Deployment, sets: Sequence[ReplicaSet], newest: ReplicaSet | None, now: datetime
) -> DeploymentStatus:
    """Return the status during a rollout: numbers, the Progressing condition, and failures of the sets."""
    status = counts(deployment, sets, newest, now)
    if progress_deadline(deployment) is None:
        status = replace(status, conditions=conditions.without(status.conditions, PROGRESSING))
    else:
        status = _with_progress(deployment, status, newest, now)
    return _with_failures(status, sets, newest)


def _with_progress(
    deployment: Deployment, status: DeploymentStatus, newest: ReplicaSet | None, now: datetime
) -> DeploymentStatus:
    current = conditions.find(deployment.status.conditions, PROGRESSING)
    if (
        status.replicas == status.updatedReplicas
        and current is not None
        and current.reason == COMPLETE
    ):
        return status
    subject = (
        f'ReplicaSet "{newest.metadata.name}"'
        if newest
        else f'Deployment "{deployment.metadata.name}"'
    )
    found = status.conditions
    if is_complete(deployment, status):
        message = f"{subject} has successfully progressed."
        found = conditions.put(found, condition(PROGRESSING, "True", COMPLETE, message, now))
    elif _progressed(deployment.status, status):
        fresh = condition(
            PROGRESSING, "True", "ReplicaSetUpdated", f"{subject} is progressing.", now
        )
        if current is not None and current.status == "True":
            fresh = replace(fresh, lastTransitionTime=current.lastTransitionTime)
        found = [*conditions.without(found, PROGRESSING), fresh]
    elif _timed_out(deployment, current, now):
        message = f"{subject} has timed out progressing."
        found = conditions.put(found, condition(PROGRESSING, "False", TIMED_OUT, message, now))
    return replace(status, conditions=found)


def _progressed(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    return (
        after.updatedReplicas > before.updatedReplicas
        or after.replicas - after.updatedReplicas < before.replicas - before.updatedReplicas
        or after.readyReplicas > before.readyReplicas
        or after.availableReplicas > before.availableReplicas
    )


def _timed_out(deployment: Deployment, current: DeploymentCondition | None, now: datetime) -> bool:
    seconds = progress_deadline(deployment)
    if current is None or seconds is None or current.reason == COMPLETE:
        return False
    if current.reason == TIMED_OUT:
        return True
    if not current.lastUpdateTime:
        return True  # no date is the earliest one, as in Go
    return parse_time(current.lastUpdateTime) + timedelta(seconds=seconds) < now


def seconds_to_deadline(
    deployment: Deployment, status: DeploymentStatus, now: datetime
) -> float | None:
    """Return the seconds until the progress deadline, at least 1; None if no rollout can miss one."""
    seconds = progress_deadline(deployment)
    current = conditions.find(status.conditions, PROGRESSING)
    if seconds is None or current is None or current.reason == TIMED_OUT or deployment.spec.paused:
        return None
    if is_complete(deployment, status) or not current.lastUpdateTime:
        return None
    deadline = parse_time(current.lastUpdateTime) + timedelta(seconds=seconds + 1)
    return max(1.0, (deadline - now).total_seconds())


def _with_failures(
    status: DeploymentStatus, sets: Sequence[ReplicaSet], newest: ReplicaSet | None
) -> DeploymentStatus:
    """Return the status with the ReplicaFailure of the newest set, else of any other, else without one."""
    ordered = [newest, *sets] if newest else list(sets)
    for one in ordered:
        if failure := conditions.find(one.status.conditions, FAILURE):
            shown = DeploymentCondition(
                type=FAILURE,
                status=failure.status,
                reason=failure.reason,
                message=failure.message,
                lastTransitionTime=failure.lastTransitionTime,
                lastUpdateTime=failure.lastTransitionTime,
            )
            return replace(status, conditions=conditions.put(status.conditions, shown))
    return replace(status, conditions=conditions.without(status.conditions, FAILURE))
