"""Rules of Jobs and CronJobs."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines, template, workload

from kubelite.api.registry.rules import batch

JOB = workload(
    parallelism=1,
    completions=1,
    backoffLimit=6,
    completionMode="NonIndexed",
    template=template(restartPolicy="Never"),
)
CRON = {
    "metadata": {"name": "nightly", "namespace": "shop"},
    "spec": {
        "schedule": "0 3 * * *",
        "concurrencyPolicy": "Allow",
        "jobTemplate": {"spec": {"template": template(restartPolicy="OnFailure")}},
    },
}


def test_good_ones_pass() -> None:
    assert lines(batch.job(JOB)) == []
    assert lines(batch.cron_job(CRON)) == []
    assert lines(batch.job_update(changed(JOB, "spec.parallelism", 3), JOB)) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "spec.template.spec.restartPolicy",
            "Always",
            'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
        ),
        (
            "spec.backoffLimitPerIndex",
            1,
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
        ),
        (
            "spec.podFailurePolicy",
            {"rules": [{"action": "Ignore"}]},
            (
                "spec.podFailurePolicy.rules[0]: Invalid value: "
                "specifying one of OnExitCodes and OnPodConditions is required"
            ),
        ),
    ],
)
def test_wrong_jobs_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(batch.job(changed(JOB, path, value)))


def test_templates_are_fixed_while_a_job_runs() -> None:
    new = changed(JOB, "spec.template.spec.nodeSelector", {"a": "b"})
    (line,) = lines(batch.job_update(new, JOB))
    assert line.startswith("spec.template: Invalid value: ")
    assert line.endswith("field is immutable")
    suspended = changed(JOB, "spec.suspend", True)
    assert batch.job_update(changed(new, "spec.suspend", True), suspended) == []


def test_counters_do_not_shrink() -> None:
    old = {"status": {"failed": 2}}
    assert lines(batch.job_status({"status": {"failed": 1}}, old)) == [
        "status.failed: Invalid value: 1: cannot decrease the failed counter"
    ]


@pytest.mark.parametrize(
    ("schedule", "good"),
    [
        ("*/5 * * * *", True),
        ("@hourly", True),
        ("@every 1h", True),
        ("0 0 ? * MON-FRI", True),
        ("* * * *", False),
        ("* * * * * *", False),
        ("61 * * * *", False),
        ("@never", False),
        ("@every 1x", False),
        ("@every " + "9" * 5000 + "h", False),
        ("9" * 5000 + " * * * *", False),
        ("0 0 L * *", False),
    ],
)
def test_schedules(schedule: str, good: bool) -> None:
    assert (batch.cron_job(changed(CRON, "spec.schedule", schedule)) == []) is good


@pytest.mark.parametrize("zone", ["Mars/Base", "Europe", "../UTC", "a/" * 2000 + "b"])
def test_unknown_zones_are_named(zone: str) -> None:
    assert lines(batch.cron_job(changed(CRON, "spec.timeZone", zone))) == [
        f'spec.timeZone: Invalid value: "{zone}": unknown time zone {zone}'
    ]


def test_names_leave_room_for_a_date() -> None:
    (line,) = lines(batch.cron_job(changed(CRON, "metadata.name", "x" * 53)))
    assert line.endswith("must be no more than 52 characters")
