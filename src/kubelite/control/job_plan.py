"""Decides the next step of a job: which pods to create and delete, what to count, and whether it has finished.

An ended pod is first recorded in `uncountedTerminatedPods`, then its finalizer is removed, then it is counted. So a
restart between any two steps neither loses a pod nor counts it twice.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.batch import (
    Job,
    JobCondition,
    JobStatus,
    PodFailurePolicyRule,
    UncountedTerminatedPods,
)
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time, parse_time
from kubelite.backoff import backoff_seconds
from kubelite.control import indexes, job_indexes
from kubelite.control.deadlines import shifted
from kubelite.control.indexes import IndexSet
from kubelite.control.job_indexes import counts_each_index, index_of
from kubelite.control.pods import (
    POD_COST_BYTES,
    is_active,
    is_ready,
    is_terminating,
    least_missed_first,
)

TRACKING = "batch.kubernetes.io/job-tracking"
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 600.0
UNCOUNTED_LIMIT = 500
CREATE_LIMIT = 500
INDEX_PASSES = 8  # passes over each set of indexes in one plan


class Plan(Struct, frozen=True):
    """The writes of one step."""

    status: JobStatus
    create: tuple[int | None, ...] = ()  # for each pod its index, or None
    delete: tuple[str, ...] = ()
    release: tuple[Pod, ...] = ()  # pods whose finalizer is removed once the status is written
    again_seconds: float | None = None
    replaced: Mapping[int, Pod] = {}  # by index, the failed pod that the new one replaces


def is_indexed(job: Job) -> bool:
    """Return whether the job is Indexed: each pod has a completion index."""
    return job.spec.completionMode == "Indexed"


def find(job: Job, condition_type: str) -> JobCondition | None:
    """Return the condition of a type if its status is True, else None."""
    return next(
        (
            one
            for one in job.status.conditions
            if one.type == condition_type and one.status == "True"
        ),
        None,
    )


def is_finished(job: Job) -> bool:
    """Return whether the job is Complete or Failed."""
    return find(job, "Complete") is not None or find(job, "Failed") is not None


def only_replaces_failed(job: Job) -> bool:
    """Return whether a pod that is being deleted is replaced only after it has ended."""
    return job.spec.podReplacementPolicy == "Failed" or job.spec.podFailurePolicy is not None


def has_failed(job: Job, pod: Pod) -> bool:
    """Return whether a pod counts as failed; a deleted one does at once, unless the job only replaces failed pods."""
    if pod.status.phase == "Failed":
        return True
    if only_replaces_failed(job):
        return False
    return pod.metadata.deletionTimestamp is not None and pod.status.phase != "Succeeded"


def matching_rule(job: Job, pod: Pod) -> PodFailurePolicyRule | None:
    """Return the first rule of the pod failure policy that matches a failed pod, or None."""
    policy = job.spec.podFailurePolicy
    for rule in policy.rules if policy is not None else ():
        if rule.onExitCodes is not None and _exit_code_matches(rule, pod):
            return rule
        for pattern in rule.onPodConditions:
            wanted = (pattern.type, pattern.status or "True")
            if any((one.type, one.status) == wanted for one in pod.status.conditions):
                return rule
    return None


def _exit_code_matches(rule: PodFailurePolicyRule, pod: Pod) -> bool:
    asked = rule.onExitCodes
    assert asked is not None
    for status in (*pod.status.initContainerStatuses, *pod.status.containerStatuses):
        ended = status.state.terminated
        if ended is None or ended.exitCode == 0:
            continue
        if asked.containerName is not None and asked.containerName != status.name:
            continue
        if (ended.exitCode in asked.values) == (asked.operator == "In"):
            return True
    return False


def cost_bytes(job: Job, pods: Sequence[Pod]) -> int:
    """Return the cost of planning a step, for the offload."""
    policy = job.spec.successPolicy
    texts = [job.status.completedIndexes, job.status.failedIndexes or ""]
    texts += (rule.succeededIndexes or "" for rule in (policy.rules if policy else ()))
    return 2 * POD_COST_BYTES * len(pods) + INDEX_PASSES * sum(map(len, texts))


def plan(job: Job, pods: Sequence[Pod], now: datetime) -> Plan:
    """Decide one step; `pods` are all that the job owns."""
    status = _counted(job, pods)
    active = [pod for pod in pods if is_active(pod)]
    status, replaced = _by_index(job, status, pods, active, now)
    status, release = _noted(job, status, pods, {pod.metadata.uid for pod in replaced.values()})
    suspended = bool(job.spec.suspend)
    if status.startTime is None and not suspended:
        status = replace(status, startTime=format_time(now))
    verdict = _verdict(job, status, pods, len(replaced), now)
    if verdict is not None:
        # No failed pod gets a successor any more, so count those kept for one too.
        status, release = _noted(job, status, pods, frozenset())
    create: list[int | None] = []
    delete: list[str] = []
    again: float | None = None
    if verdict is not None:
        delete = [pod.metadata.name for pod in active]
    elif job.metadata.deletionTimestamp is None:
        create, delete, again = _managed(job, status, pods, active, replaced, now)
        status = _with_suspension(job, status, now)
        again = _sooner(again, _deadline_seconds(job, status, now))
    going = frozenset(delete)
    left = [pod for pod in active if pod.metadata.name not in going]
    terminating = sum(map(is_terminating, pods)) + len(active) - len(left)
    status = replace(
        status, active=len(left), ready=sum(map(is_ready, left)), terminating=terminating
    )
    if verdict is not None:
        status = _ended(status, verdict, now)
    return Plan(
        status=status,
        create=tuple(create),
        delete=tuple(delete),
        release=tuple(release),
        again_seconds=again,
        replaced=replaced,
    )


def _by_index(
    job: Job, status: JobStatus, pods: Sequence[Pod], active: Sequence[Pod], now: datetime
) -> tuple[JobStatus, Mapping[int, Pod]]:
    """Return the status with failedIndexes, and by index the failed pods that await a successor."""
    if not counts_each_index(job) or job.metadata.deletionTimestamp is not None:
        return status, {}
    failed_pods = [
        pod for pod in pods if TRACKING in pod.metadata.finalizers and has_failed(job, pod)
    ]
    failed = job_indexes.failed_indexes(job, failed_pods, lambda pod: matching_rule(job, pod))
    status = replace(status, failedIndexes=str(failed))
    served = {index_of(pod) for pod in active}
    served |= {index_of(pod) for pod in pods if pod.status.phase == "Succeeded"}
    settled = failed | IndexSet.of(served) | indexes.parse(status.completedIndexes)
    replaced = job_indexes.awaiting_successors(
        job, failed_pods, settled, lambda pod: _ended_at(pod, now)
    )
    return status, replaced


def _counted(job: Job, pods: Sequence[Pod]) -> JobStatus:
    """Return the status with the recorded pods counted whose finalizer is gone."""
    status = job.status
    noted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    held = {pod.metadata.uid for pod in pods if TRACKING in pod.metadata.finalizers}
    succeeded = [uid for uid in noted.succeeded if uid not in held]
    failed = [uid for uid in noted.failed if uid not in held]
    return replace(
        status,
        succeeded=status.succeeded + (0 if is_indexed(job) else len(succeeded)),
        failed=status.failed + len(failed),
        uncountedTerminatedPods=UncountedTerminatedPods(
            succeeded=[uid for uid in noted.succeeded if uid in held],
            failed=[uid for uid in noted.failed if uid in held],
        ),
    )


def _noted(
    job: Job, status: JobStatus, pods: Sequence[Pod], kept: Set[str]
) -> tuple[JobStatus, list[Pod]]:
    """Return the status with ended pods recorded, and the pods whose finalizer to remove.

    `kept` are uids of pods not to record yet.
    """
    noted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    succeeded, failed = list(noted.succeeded), list(noted.failed)
    known = {*succeeded, *failed}
    done: set[int] = set()
    release: list[Pod] = []
    for pod in pods:
        uid = pod.metadata.uid
        if TRACKING not in pod.metadata.finalizers or uid in kept:
            continue
        if uid in known:
            release.append(pod)
        elif len(succeeded) + len(failed) >= UNCOUNTED_LIMIT:
            break
        elif pod.status.phase == "Succeeded":
            release.append(pod)
            if is_indexed(job) and index_of(pod) in range(job.spec.completions or 0):
                done.add(index_of(pod))
            elif not is_indexed(job):
                succeeded.append(uid)
        elif has_failed(job, pod):
            release.append(pod)
            rule = matching_rule(job, pod)
            if rule is None or rule.action != "Ignore":
                failed.append(uid)
    status = replace(
        status,
        uncountedTerminatedPods=UncountedTerminatedPods(succeeded=succeeded, failed=failed),
    )
    if is_indexed(job):
        completed = indexes.parse(status.completedIndexes) | IndexSet.of(done)
        status = replace(status, completedIndexes=str(completed), succeeded=len(completed))
    return status, release


def _totals(status: JobStatus) -> tuple[int, int]:
    """Return how many pods have succeeded and failed, recorded but uncounted ones included."""
    noted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    return status.succeeded + len(noted.succeeded), status.failed + len(noted.failed)


def _verdict(
    job: Job, status: JobStatus, pods: Sequence[Pod], kept: int, now: datetime
) -> JobCondition | None:
    """Return the condition that announces the end (SuccessCriteriaMet, FailureTarget), or None while the job runs.

    `kept` counts the failed pods that await a successor and are not recorded in the status yet.
    """
    for announced in ("SuccessCriteriaMet", "FailureTarget"):
        if (found := find(job, announced)) is not None:
            return found
    succeeded, failed = _totals(status)
    date = format_time(now)

    def announce(condition_type: str, reason: str, message: str) -> JobCondition:
        return JobCondition(
            type=condition_type,
            status="True",
            reason=reason,
            message=message,
            lastProbeTime=date,
            lastTransitionTime=date,
        )

    for pod in pods:
        rule = matching_rule(job, pod) if pod.status.phase == "Failed" else None
        if rule is not None and rule.action == "FailJob":
            text = f"Pod {pod.metadata.namespace}/{pod.metadata.name} matches a FailJob rule"
            return announce("FailureTarget", "PodFailurePolicy", text)
    limit = 6 if job.spec.backoffLimit is None else job.spec.backoffLimit
    if failed + kept > limit or _restarts_exceed(job, pods, limit):
        text = "Job has reached the specified backoff limit"
        return announce("FailureTarget", "BackoffLimitExceeded", text)
    left = _deadline_seconds(job, status, now)
    if left is not None and left <= 0:
        text = "Job was active longer than specified deadline"
        return announce("FailureTarget", "DeadlineExceeded", text)
    if (reason := _too_many_indexes(job, status)) is not None:
        return announce("FailureTarget", *reason)
    if (text := _success_policy(job, status)) != "":
        return announce("SuccessCriteriaMet", "SuccessPolicy", text)
    active = any(is_active(pod) for pod in pods)
    if job.spec.completions is None:
        done = succeeded > 0 and not active
    else:
        done = succeeded >= job.spec.completions and not active
    if done:
        text = "Reached expected number of succeeded pods"
        return announce("SuccessCriteriaMet", "CompletionsReached", text)
    return None


def _too_many_indexes(job: Job, status: JobStatus) -> tuple[str, str] | None:
    """Return reason and message if failed indexes fail the job, else None."""
    failed = len(indexes.parse(status.failedIndexes))
    most = job.spec.maxFailedIndexes
    if most is not None and failed > most:
        text = "Job has exceeded the specified maximal number of failed indexes"
        return "MaxFailedIndexesExceeded", text
    if failed and failed + status.succeeded >= (job.spec.completions or 0):
        return "FailedIndexes", "Job has failed indexes"
    return None


def _restarts_exceed(job: Job, pods: Iterable[Pod], limit: int) -> bool:
    if job.spec.template.spec.restartPolicy != "OnFailure":
        return False
    restarts = sum(
        one.restartCount
        for pod in pods
        if pod.status.phase in ("Running", "Pending")
        for one in (*pod.status.initContainerStatuses, *pod.status.containerStatuses)
    )
    return restarts > 0 if limit == 0 else restarts >= limit


def _deadline_seconds(job: Job, status: JobStatus, now: datetime) -> float | None:
    if job.spec.activeDeadlineSeconds is None or not status.startTime or job.spec.suspend:
        return None
    deadline = shifted(parse_time(status.startTime), job.spec.activeDeadlineSeconds)
    return (deadline - now).total_seconds()


def _success_policy(job: Job, status: JobStatus) -> str:
    policy = job.spec.successPolicy
    if policy is None or not is_indexed(job):
        return ""
    done = indexes.parse(status.completedIndexes)
    for number, rule in enumerate(policy.rules):
        wanted = done
        if rule.succeededIndexes is not None:
            asked = indexes.parse(rule.succeededIndexes)
            wanted = done & asked
            if rule.succeededCount is None and wanted != asked:
                continue
        if rule.succeededCount is not None and len(wanted) < rule.succeededCount:
            continue
        return f"Matched rules at index {number}"
    return ""


def _managed(
    job: Job,
    status: JobStatus,
    pods: Sequence[Pod],
    active: Sequence[Pod],
    replaced: Mapping[int, Pod],
    now: datetime,
) -> tuple[list[int | None], list[str], float | None]:
    """Return the indexes to create pods for, the names of pods to delete, and the seconds until the back-off ends."""
    if job.spec.suspend:
        return [], [pod.metadata.name for pod in active], None
    succeeded, _ = _totals(status)
    parallelism = 1 if job.spec.parallelism is None else job.spec.parallelism
    if job.spec.completions is None:
        wanted = len(active) if succeeded else parallelism
    else:
        wanted = max(0, min(parallelism, job.spec.completions - succeeded))
    surplus = len(active) - wanted
    if surplus > 0:
        order = least_missed_first(active, (), now)
        return [], [pod.metadata.name for pod in order[:surplus]], None
    occupied = sum(map(is_terminating, pods)) if only_replaces_failed(job) else 0
    missing = min(wanted - len(active) - occupied, CREATE_LIMIT)
    if missing <= 0:
        return [], [], None
    wait = 0.0 if counts_each_index(job) else _backoff_seconds(job, pods, now)
    if wait > 0:
        return [], [], wait
    if not is_indexed(job):
        return [None] * missing, [], None
    served = {index_of(pod) for pod in active}
    if only_replaces_failed(job):
        served |= {index_of(pod) for pod in pods if is_terminating(pod)}
    taken = indexes.parse(status.completedIndexes) | indexes.parse(status.failedIndexes)
    free = islice((taken | IndexSet.of(served)).missing(job.spec.completions or 0), missing)
    waits = {index: _index_backoff_seconds(replaced.get(index), now) for index in free}
    ready: list[int | None] = [index for index, wait in waits.items() if wait <= 0]
    return ready, [], min((wait for wait in waits.values() if wait > 0), default=None)


def _index_backoff_seconds(replaced: Pod | None, now: datetime) -> float:
    """Return the seconds of back-off left before an index gets its next pod."""
    if replaced is None:
        return 0.0
    return _delay_seconds(job_indexes.failures(replaced) + 1, _ended_at(replaced, now), now)


def _delay_seconds(failures: int, last: datetime, now: datetime) -> float:
    delay = backoff_seconds(failures - 1, BACKOFF_FIRST_SECONDS, BACKOFF_MAX_SECONDS)
    return delay - (now - last).total_seconds()


def _backoff_seconds(job: Job, pods: Iterable[Pod], now: datetime) -> float:
    """Return the seconds of back-off left after the failures since the last success: 10 s doubling to 10 min."""
    ends: list[tuple[datetime, bool]] = sorted(
        (_ended_at(pod, now), has_failed(job, pod))
        for pod in pods
        if pod.status.phase == "Succeeded" or has_failed(job, pod)
    )
    failures = 0
    for _, failed in reversed(ends):
        if not failed:
            break
        failures += 1
    if not failures:
        return 0.0
    return _delay_seconds(failures, ends[-1][0], now)


def _ended_at(pod: Pod, now: datetime) -> datetime:
    dates = [
        status.state.terminated.finishedAt
        for status in pod.status.containerStatuses
        if status.state.terminated is not None and status.state.terminated.finishedAt
    ]
    # A pod that its node refused has neither. It ended when it was bound, which may be long after its creation.
    text = max(dates, default="") or pod.metadata.deletionTimestamp or pod.status.startTime
    return min(parse_time(text), now) if text else parse_time(pod.metadata.creationTimestamp)


def _with_suspension(job: Job, status: JobStatus, now: datetime) -> JobStatus:
    """Return the status with the Suspended condition; startTime is cleared by suspension and set by resumption."""
    current = next((one for one in status.conditions if one.type == "Suspended"), None)
    was = current is not None and current.status == "True"
    if was == bool(job.spec.suspend):
        return status
    date = format_time(now)
    fresh = JobCondition(
        type="Suspended",
        status="False" if was else "True",
        reason="JobResumed" if was else "JobSuspended",
        message="Job resumed" if was else "Job suspended",
        lastProbeTime=date,
        lastTransitionTime=date,
    )
    others = [one for one in status.conditions if one.type != "Suspended"]
    return replace(status, conditions=[*others, fresh], startTime=date if was else None)


def _ended(status: JobStatus, verdict: JobCondition, now: datetime) -> JobStatus:
    """Return the status with the end announced; once no pod runs and all are counted, with Complete or Failed."""
    conditions = list(status.conditions)
    if verdict not in conditions:
        conditions.append(verdict)
    noted = status.uncountedTerminatedPods or UncountedTerminatedPods()
    settled = not (status.active or status.terminating or noted.succeeded or noted.failed)
    if settled:
        date = format_time(now)
        won = verdict.type == "SuccessCriteriaMet"
        conditions.append(
            replace(
                verdict,
                type="Complete" if won else "Failed",
                lastProbeTime=date,
                lastTransitionTime=date,
            )
        )
        if won:
            status = replace(status, completionTime=date)
    return replace(status, conditions=conditions)


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)
