"""Creates Jobs at the times of a CronJob's schedule."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.client.events import NORMAL, WARNING, reference_to
from kubelite.api.errors import AlreadyExists, NotFound
from kubelite.api.kinds.batch import CronJob, CronJobStatus, Job
from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.cron import Interval, InvalidCron, Schedule, last_due, parse_cron_in
from kubelite.api.machinery.times import format_time, parse_time, time_zone
from kubelite.control.deadlines import shifted
from kubelite.control.job_plan import find, is_finished
from kubelite.control.ownership import (
    CONTROLLER_INDEX,
    controlled_by,
    controller_of,
    controller_reference,
    controller_uid,
)
from kubelite.control.runtime import Context, Key, Watch

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
MISSED_MAX = 100  # missed times above which a warning event is recorded
TOO_MANY_MISSED = (
    "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
)


class Times(Struct, frozen=True):
    """The last and the next scheduled time of a CronJob."""

    last: datetime | None  # None: not due since
    next: datetime
    has_missed_many: bool = False


class InvalidSchedule(Exception):
    """The schedule or time zone is invalid; `reason` is that of the event."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def times(schedule: str, zone: str | None, since: datetime, now: datetime) -> Times:
    """Return the last time in (since, now] at which the schedule was due, and the next; raises InvalidSchedule."""
    try:
        place = time_zone(zone) if zone else UTC
    except ValueError as error:
        raise InvalidSchedule(f'invalid timeZone: "{zone}": {error}', "UnknownTimeZone") from error
    try:
        plan = parse_cron_in(schedule, place)
    except InvalidCron as error:
        message = f'unparseable schedule: "{schedule}" : {error}'
        raise InvalidSchedule(message, "UnparseableSchedule") from error
    last = last_due(plan, since, now)
    following = plan.after(last or since if isinstance(plan, Interval) else now)
    if following is None:
        message = f"invalid schedule: {schedule} : time difference between two schedules is less than 1 second"
        raise InvalidSchedule(message, "InvalidSchedule")
    return Times(last, following, _missed(plan, since, now) > MISSED_MAX)


def _missed(plan: Schedule, since: datetime, now: datetime) -> int:
    """Return about how often the schedule was due in (since, now], estimated from its first two times."""
    first = plan.after(since)
    second = first and plan.after(first)
    if first is None or second is None or first > now:
        return 0
    return (now - first) // (second - first) + 1


def job_for(cron: CronJob, due: datetime) -> Job:
    """Return the Job of a scheduled time; its name has the minute, so that no time gets two Jobs."""
    template = cron.spec.jobTemplate
    return Job(
        metadata=ObjectMeta(
            name=f"{cron.metadata.name}-{int(due.timestamp()) // 60}",
            namespace=cron.metadata.namespace,
            labels=template.metadata.labels,
            annotations={**template.metadata.annotations, SCHEDULED_AT: _local(cron, due)},
            ownerReferences=[controller_reference(cron)],
        ),
        spec=template.spec,
    )


def _local(cron: CronJob, due: datetime) -> str:
    """Return a time as RFC 3339 in the CronJob's time zone, as Kubernetes writes it."""
    zone = time_zone(cron.spec.timeZone) if cron.spec.timeZone else UTC
    return due.astimezone(zone).isoformat().replace("+00:00", "Z")


def surplus_jobs(cron: CronJob, jobs: Sequence[Job]) -> list[Job]:
    """Return the oldest finished Jobs beyond the history limits."""
    won = [job for job in jobs if find(job, "Complete") is not None]
    lost = [job for job in jobs if find(job, "Failed") is not None]
    surplus: list[Job] = []
    for group, limit in (
        (won, cron.spec.successfulJobsHistoryLimit),
        (lost, cron.spec.failedJobsHistoryLimit),
    ):
        if limit is not None:
            group.sort(key=lambda job: (job.status.startTime or "", job.metadata.name))
            surplus += group[: max(0, len(group) - limit)]
    return surplus


class CronJobController:
    """Reconciles CronJobs."""

    name = "cronjob-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._client = context.client
        self._crons = context.mirror(CronJob)
        self._jobs = context.mirror(Job)
        self._jobs.add_index(CONTROLLER_INDEX, controller_uid)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch CronJobs and their Jobs."""
        return (Watch(CronJob), Watch(Job, controlled_by(CronJob)))

    async def reconcile(self, key: Key) -> float | None:
        """Delete surplus Jobs, create the due one, write the status. Return the seconds to the next time, or None."""
        cron = self._crons.get(key.name, key.namespace)
        if cron is None:
            return None
        jobs = self._jobs.indexed(CONTROLLER_INDEX, cron.metadata.uid)
        for job in surplus_jobs(cron, jobs):
            await self._delete(cron, job)
        status = self._noted(cron, jobs)
        again: float | None = None
        if cron.metadata.deletionTimestamp is None and not cron.spec.suspend:
            status, again = await self._start_due(cron, status)
        if status != cron.status:
            await self._client.update(replace(cron, status=status), "status")
        return again

    def _noted(self, cron: CronJob, jobs: Sequence[Job]) -> CronJobStatus:
        """Return the status with the active Jobs and the last successful time."""
        running = {job.metadata.uid for job in jobs if not is_finished(job)}
        for job in jobs:
            if is_finished(job) and any(one.uid == job.metadata.uid for one in cron.status.active):
                outcome = "Complete" if find(job, "Complete") is not None else "Failed"
                text = f"Saw completed job: {job.metadata.name}, condition: {outcome}"
                self._context.events.event(cron, NORMAL, "SawCompletedJob", text)
        done = [job.status.completionTime for job in jobs if job.status.completionTime]
        last = max([*done, cron.status.lastSuccessfulTime or ""], default="")
        return replace(
            cron.status,
            active=[one for one in cron.status.active if one.uid in running],
            lastSuccessfulTime=last or None,
        )

    async def _start_due(
        self, cron: CronJob, status: CronJobStatus
    ) -> tuple[CronJobStatus, float | None]:
        now = self._context.clock.now()
        since = parse_time(status.lastScheduleTime or cron.metadata.creationTimestamp)
        limit = cron.spec.startingDeadlineSeconds
        if limit is not None:
            since = max(since, shifted(now, -limit))
        try:
            due = times(cron.spec.schedule, cron.spec.timeZone, since, now)
        except InvalidSchedule as reason:
            self._context.events.event(cron, WARNING, reason.reason, str(reason))
            return status, None
        again = (due.next - now).total_seconds() + 0.1
        if due.last is None:
            return status, again
        if due.has_missed_many:
            self._context.events.event(cron, WARNING, "TooManyMissedTimes", TOO_MANY_MISSED)
        if cron.spec.concurrencyPolicy == "Forbid" and status.active:
            text = (
                "Not starting job because prior execution is running and "
                "concurrency policy is Forbid"
            )
            self._context.events.event(cron, NORMAL, "JobAlreadyActive", text)
            return status, again
        if cron.spec.concurrencyPolicy == "Replace":
            for one in status.active:
                job = self._jobs.get(one.name, one.namespace)
                if job is not None:
                    await self._delete(cron, job)
            status = replace(status, active=[])
        started = await self._create(cron, job_for(cron, due.last))
        active = [*status.active, started] if started is not None else status.active
        return replace(status, active=active, lastScheduleTime=format_time(due.last)), again

    async def _create(self, cron: CronJob, job: Job) -> ObjectReference | None:
        try:
            created = await self._client.create(job)
        except AlreadyExists:
            taken = await self._client.get(Job, job.metadata.name, job.metadata.namespace)
            owner = controller_of(taken.metadata)
            is_ours = owner is not None and owner.uid == cron.metadata.uid
            known = any(one.uid == taken.metadata.uid for one in cron.status.active)
            return reference_to(taken) if is_ours and not known and not is_finished(taken) else None
        text = f"Created job {created.metadata.name}"
        self._context.events.event(cron, NORMAL, "SuccessfulCreate", text)
        return reference_to(created)

    async def _delete(self, cron: CronJob, job: Job) -> None:
        meta = job.metadata
        try:
            await self._client.delete(
                Job, meta.name, meta.namespace, uid=meta.uid, propagation="Background"
            )
        except NotFound:
            return
        self._context.events.event(cron, NORMAL, "SuccessfulDelete", f"Deleted job {meta.name}")
