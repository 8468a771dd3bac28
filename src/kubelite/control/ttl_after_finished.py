"""Deletes finished Jobs after their ttlSecondsAfterFinished."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from kubelite.api.errors import NotFound
from kubelite.api.kinds.batch import Job
from kubelite.api.machinery.times import parse_time
from kubelite.control.runtime import Context, Key, Watch


def expires_at(job: Job) -> datetime | None:
    """Return when a finished Job is to be deleted; None if it is not finished or has no TTL."""
    if job.spec.ttlSecondsAfterFinished is None or job.metadata.deletionTimestamp is not None:
        return None
    for one in job.status.conditions:
        if one.type in {"Complete", "Failed"} and one.status == "True" and one.lastTransitionTime:
            return parse_time(one.lastTransitionTime) + timedelta(
                seconds=job.spec.ttlSecondsAfterFinished
            )
    return None


class TTLAfterFinishedController:
    """Reconciles jobs."""

    name = "ttl-after-finished-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs = context.mirror(Job)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch finished Jobs."""
        return (
            Watch(Job, where=lambda _, after: after is not None and expires_at(after) is not None),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Delete the Job once its TTL has expired; else return the seconds until then."""
        job = self._jobs.get(key.name, key.namespace)
        deadline = expires_at(job) if job is not None else None
        if job is None or deadline is None:
            return None
        left_seconds = (deadline - self._context.clock.now()).total_seconds()
        if left_seconds > 0:
            return left_seconds
        try:
            await self._context.client.delete(
                Job, key.name, key.namespace, uid=job.metadata.uid, propagation="Foreground"
            )
        except NotFound:
            return None
        return None
