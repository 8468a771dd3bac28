from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubelite.api.kinds.batch import (
    Job,
    JobSpec,
    JobStatus,
    PodFailurePolicy,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyRule,
    SuccessPolicy,
    SuccessPolicyRule,
)
from kubelite.api.kinds.core.container_status import (
    ContainerState,
    ContainerStateTerminated,
    ContainerStatus,
)
from kubelite.api.kinds.core.pods import Pod, PodStatus
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.times import format_time
from kubelite.control import indexes
from kubelite.control.job import pod_for
from kubelite.control.job_indexes import FAILURES, IGNORED_FAILURES, INDEX, index_of
from kubelite.control.job_plan import TRACKING, find, plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def job(status: JobStatus | None = None, **spec: Any) -> Job:
    given = {"completions": 3, "parallelism": 3, "backoffLimit": 2**31 - 1, **spec}
    return Job(
        metadata=ObjectMeta(name="j", namespace="default", uid="j"),
        spec=JobSpec(completionMode="Indexed", **given),
        status=status or JobStatus(startTime=format_time(NOW)),
    )


def pod(index: int, phase: str, failures: int = 0, code: int = 1) -> Pod:
    ended = ContainerStateTerminated(exitCode=code, finishedAt=format_time(NOW))
    statuses = [ContainerStatus(name="c", state=ContainerState(terminated=ended))]
    return Pod(
        metadata=ObjectMeta(
            name=f"j-{index}-{failures}",
            uid=f"{index}-{failures}",
            annotations={INDEX: str(index), FAILURES: str(failures)},
            finalizers=[TRACKING],
            creationTimestamp=format_time(NOW),
        ),
        status=PodStatus(phase=phase, containerStatuses=statuses if phase == "Failed" else []),
    )


def test_a_set_of_two_thousand_million_indexes_is_kept_as_its_runs() -> None:
    whole = indexes.parse("0-2147483646")
    assert len(whole) == 2**31 - 1
    assert len(whole.runs) == 1
    assert 2**31 - 2 in whole
    assert str(whole & indexes.parse("5-7,9")) == "5-7,9"
    assert next(whole.missing(2**31)) == 2**31 - 1


@pytest.mark.parametrize("text", ["9" * 5000, "0-" + "9" * 5000, "٣", "5-2", "-1", "1-2-3", "x"])
def test_parts_of_a_set_that_no_index_can_be_are_left_out(text: str) -> None:
    assert str(indexes.parse(f"7,{text}")) == "7"


def test_a_job_of_all_indexes_there_can_be_is_planned_by_what_it_has() -> None:
    rule = SuccessPolicyRule(succeededIndexes="0-2147483646")
    huge = job(
        completions=2**31 - 1,
        successPolicy=SuccessPolicy(rules=[rule]),
        status=JobStatus(completedIndexes="0-2147483000", startTime=format_time(NOW)),
    )
    assert plan(huge, [], NOW).create == (2147483001, 2147483002, 2147483003)
    assert plan(job(completions=2**31 - 1), [], NOW).create == (0, 1, 2)


def test_a_number_that_nobody_can_count_to_is_none() -> None:
    odd = pod(0, "Failed")
    odd.metadata.annotations.update({INDEX: "9" * 5000, FAILURES: "9" * 5000})
    assert index_of(odd) == -1
    assert plan(job(backoffLimitPerIndex=1), [odd], NOW).status.failedIndexes == ""


def test_an_index_is_tried_again_after_a_while_and_its_failed_pod_kept_until_then() -> None:
    pods = [pod(0, "Running"), pod(1, "Failed"), pod(2, "Running")]
    first = plan(job(backoffLimitPerIndex=1), pods, NOW)
    assert (first.create, first.release, first.again_seconds) == ((), (), 10.0)
    later = plan(job(backoffLimitPerIndex=1), pods, LATER)
    assert (later.create, later.release, later.status.failedIndexes) == ((1,), (), "")
    new = pod_for(job(backoffLimitPerIndex=1), 1, later.replaced[1])
    assert new.metadata.annotations[FAILURES] == "1"
    after = plan(job(backoffLimitPerIndex=1), [*pods, pod(1, "Pending", 1)], LATER)
    assert [one.metadata.uid for one in after.release] == ["1-0"]
    assert after.create == ()


def test_an_index_is_given_up_after_its_limit_and_the_others_go_on() -> None:
    pods = [pod(0, "Running"), pod(1, "Failed", 1), pod(2, "Running")]
    step = plan(job(backoffLimitPerIndex=1), pods, LATER)
    assert (step.create, step.delete, step.status.failedIndexes) == ((), (), "1")
    assert [one.metadata.uid for one in step.release] == ["1-1"]


def test_a_job_with_failed_indexes_fails_when_all_have_ended() -> None:
    pods = [pod(0, "Succeeded"), pod(1, "Failed", 1), pod(2, "Succeeded")]
    step = plan(job(backoffLimitPerIndex=1), pods, LATER)
    assert step.status.completedIndexes == "0,2"
    found = find(Job(status=step.status), "FailureTarget")
    assert found is not None
    assert (found.reason, found.message) == ("FailedIndexes", "Job has failed indexes")


def test_too_many_failed_indexes_end_the_job_at_once() -> None:
    pods = [pod(0, "Failed"), pod(1, "Failed"), pod(2, "Running")]
    step = plan(job(backoffLimitPerIndex=0, maxFailedIndexes=1), pods, LATER)
    found = find(Job(status=step.status), "FailureTarget")
    assert found is not None
    assert found.reason == "MaxFailedIndexesExceeded"
    assert step.delete == ("j-2-0",)


@pytest.mark.parametrize(
    ("action", "failed", "annotations"),
    [
        ("FailIndex", "1", {}),
        ("Ignore", "", {FAILURES: "0", IGNORED_FAILURES: "1"}),
        ("Count", "", {FAILURES: "1"}),
    ],
)
def test_the_failure_policy_speaks_of_indexes(
    action: str, failed: str, annotations: dict[str, str]
) -> None:
    asked = PodFailurePolicyOnExitCodesRequirement(operator="In", values=[42])
    policy = PodFailurePolicy(rules=[PodFailurePolicyRule(action=action, onExitCodes=asked)])
    one = job(backoffLimitPerIndex=5, podFailurePolicy=policy)
    pods = [pod(0, "Running"), pod(1, "Failed", code=42), pod(2, "Running")]
    step = plan(one, pods, LATER)
    assert step.status.failedIndexes == failed
    if annotations:
        new = pod_for(one, 1, step.replaced[1]).metadata.annotations
        assert annotations.items() <= new.items()
