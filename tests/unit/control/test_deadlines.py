"""Dates far away."""

from datetime import UTC, datetime, timedelta

import pytest
from fakes.harness import Harness

from kubelite.api.kinds.batch import CronJob, CronJobSpec, CronJobStatus, Job, JobSpec, JobStatus
from kubelite.api.kinds.core.scheduling import Taint, Toleration
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.cronjob import CronJobController
from kubelite.control.deadlines import FIRST, LAST, shifted
from kubelite.control.job_plan import plan
from kubelite.control.node_taints import leave_at

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAR = 2**63 - 1


@pytest.mark.parametrize(
    ("seconds", "date"),
    [(5, NOW + timedelta(seconds=5)), (-5, NOW - timedelta(seconds=5)), (FAR, LAST), (-FAR, FIRST)],
)
def test_a_date_beyond_all_dates_is_the_last(seconds: int, date: datetime) -> None:
    assert shifted(NOW, seconds) == date


def test_a_job_with_a_deadline_at_the_end_of_all_days_runs() -> None:
    spec = JobSpec(activeDeadlineSeconds=FAR, completions=1, parallelism=1)
    step = plan(Job(spec=spec, status=JobStatus(startTime="2026-01-01T00:00:00Z")), [], NOW)
    assert len(step.create) == 1
    assert step.again_seconds is not None


def test_a_pod_that_tolerates_a_taint_for_ever_and_a_day_stays() -> None:
    taint = Taint(key="a", effect="NoExecute", timeAdded="2026-01-01T00:00:00Z")
    toleration = Toleration(key="a", operator="Exists", tolerationSeconds=FAR)
    assert leave_at([taint], [toleration], NOW) == LAST


async def test_a_cron_job_may_start_as_late_as_it_likes() -> None:
    async with Harness(CronJobController) as harness:
        spec = CronJobSpec(schedule="* * * * *", startingDeadlineSeconds=FAR)
        status = CronJobStatus(lastScheduleTime="2025-12-31T23:58:00Z")
        meta = ObjectMeta(name="c", namespace="d")
        await harness.client.create(CronJob(metadata=meta, spec=spec, status=status))
        await harness.settle()
        assert len(harness.client.all(Job)) == 1
