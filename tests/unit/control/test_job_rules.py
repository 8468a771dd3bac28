"""The rules of jobs whose pods have no numbers, as tables; `test_job_plan` has those of indexed jobs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.batch import Job
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.machinery.times import format_time
from kubelite.control.job_plan import TRACKING, Plan, cost_bytes, find, is_finished, plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ago(seconds: float) -> str:
    return format_time(NOW - timedelta(seconds=seconds))


def job(
    status: dict[str, Any] | None = None, meta: dict[str, Any] | None = None, **spec: Any
) -> Job:
    template = {"spec": {"restartPolicy": spec.pop("restartPolicy", "Never")}}
    fields = {
        "metadata": {"name": "j", "namespace": "default", "uid": "j", **(meta or {})},
        "spec": {"completions": 3, "parallelism": 2, "template": template, **spec},
        "status": {"startTime": ago(100), **(status or {})},
    }
    return msgspec.convert(fields, Job)


def pod(name: str, phase: str, ended: float = 1000, **fields: Any) -> Pod:
    """Return a pod; one that is over ended that many seconds ago."""
    held = [TRACKING] if fields.pop("held", True) else []
    meta = {"name": name, "namespace": "default", "uid": name, "finalizers": held}
    meta |= {"creationTimestamp": ago(5000), **fields.pop("meta", {})}
    status: dict[str, Any] = {"phase": phase, **fields}
    if phase in ("Failed", "Succeeded") and "containerStatuses" not in status:
        terminated = {"exitCode": fields.pop("code", int(phase == "Failed")), "finishedAt": ago(ended)}  # fmt: skip
        status["containerStatuses"] = [{"name": "c", "state": {"terminated": terminated}}]
    return msgspec.convert({"metadata": meta, "status": status}, Pod)


def failed(count: int, **fields: Any) -> list[Pod]:
    return [pod(f"f{number}", "Failed", **fields) for number in range(count)]


def reason(step: Plan) -> str:
    """Return why the job ends, "" while it goes on."""
    for kind in ("FailureTarget", "SuccessCriteriaMet"):
        found = find(Job(status=step.status), kind)
        if found is not None:
            return found.reason
    return ""


@pytest.mark.parametrize(
    ("limit", "counted", "noted", "fresh", "is_over"),
    [
        (2, 0, 0, 2, False),
        (2, 0, 0, 3, True),
        (2, 2, 0, 0, False),
        (2, 3, 0, 0, True),
        (2, 1, 1, 0, False),
        (2, 1, 1, 1, True),
        (0, 0, 0, 0, False),
        (0, 0, 0, 1, True),
        (None, 6, 0, 0, False),
        (None, 7, 0, 0, True),
    ],
)
def test_one_failure_more_than_the_limit_ends_a_job(
    limit: int | None, counted: int, noted: int, fresh: int, is_over: bool
) -> None:
    uncounted = {"failed": [f"n{number}" for number in range(noted)]}
    pods = [*failed(fresh), *(pod(uid, "Failed") for uid in uncounted["failed"])]
    asked = job({"failed": counted, "uncountedTerminatedPods": uncounted}, backoffLimit=limit)
    step = plan(asked, pods, NOW)
    assert reason(step) == ("BackoffLimitExceeded" if is_over else "")
    assert bool(step.create) is not is_over


@pytest.mark.parametrize(
    ("limit", "restarts", "is_over"),
    [
        (0, [0], False),
        (0, [1], True),
        (2, [1], False),
        (2, [2], True),
        (3, [1, 1], False),
        (3, [1, 2], True),
    ],
)
@pytest.mark.parametrize("policy", ["OnFailure", "Never"])
@pytest.mark.parametrize("phase", ["Running", "Pending", "Succeeded"])
def test_restarts_of_containers_count_where_pods_restart_them(
    limit: int, restarts: list[int], is_over: bool, policy: str, phase: str
) -> None:
    pods = [
        pod(f"p{number}", phase, containerStatuses=[{"name": "c", "restartCount": count}])
        for number, count in enumerate(restarts)
    ]
    counts = policy == "OnFailure" and phase != "Succeeded"
    step = plan(job(backoffLimit=limit, restartPolicy=policy), pods, NOW)
    assert reason(step) == ("BackoffLimitExceeded" if counts and is_over else "")


@pytest.mark.parametrize(
    ("spec", "started", "wait"),
    [
        ({"activeDeadlineSeconds": 100}, 99, 1),
        ({"activeDeadlineSeconds": 100}, 100, None),
        ({"activeDeadlineSeconds": 100}, 101, None),
        ({}, 10_000, None),
    ],
)
def test_a_job_may_take_until_its_deadline(
    spec: dict[str, Any], started: float, wait: float | None
) -> None:
    running = [pod("a", "Running"), pod("b", "Running")]
    step = plan(job({"startTime": ago(started)}, **spec), running, NOW)
    is_over = bool(spec) and wait is None
    assert reason(step) == ("DeadlineExceeded" if is_over else "")
    assert (step.delete, step.again_seconds) == (("a", "b") if is_over else (), wait)


def test_a_suspended_job_has_no_deadline_and_no_pods() -> None:
    running = [pod("a", "Running")]
    step = plan(job({"startTime": ago(500)}, activeDeadlineSeconds=1, suspend=True), running, NOW)
    assert (reason(step), step.delete, step.again_seconds) == ("", ("a",), None)
    (suspended,) = step.status.conditions
    assert (suspended.status, suspended.reason, suspended.message) == (
        "True",
        "JobSuspended",
        "Job suspended",
    )
    assert step.status.startTime is None
    again = plan(
        job({"conditions": [{"type": "Suspended", "status": "True"}], "startTime": None}), [], NOW
    )
    (resumed,) = again.status.conditions
    assert (resumed.status, resumed.reason, resumed.message) == (
        "False",
        "JobResumed",
        "Job resumed",
    )
    assert again.status.startTime == format_time(NOW)


def test_a_job_starts_once_and_not_while_it_is_suspended() -> None:
    assert plan(job({"startTime": None}), [], NOW).status.startTime == format_time(NOW)
    assert plan(job({"startTime": ago(7)}), [], NOW).status.startTime == ago(7)
    assert plan(job({"startTime": None}, suspend=True), [], NOW).status.startTime is None


@pytest.mark.parametrize(
    ("parallelism", "completions", "succeeded", "running", "creates", "deletes"),
    [
        (2, 3, 0, 0, 2, 0),
        (2, 3, 0, 1, 1, 0),
        (2, 3, 0, 2, 0, 0),
        (2, 3, 2, 0, 1, 0),
        (2, 3, 2, 2, 0, 1),
        (2, 3, 0, 4, 0, 2),
        (None, 3, 0, 0, 1, 0),
        (0, 3, 0, 1, 0, 1),
        (4, None, 0, 1, 3, 0),
        (4, None, 1, 2, 0, 0),
        (4, 3, 5, 1, 0, 1),
    ],
)
def test_how_many_pods_run(
    parallelism: int | None,
    completions: int | None,
    succeeded: int,
    running: int,
    creates: int,
    deletes: int,
) -> None:
    pods = [pod(f"p{number}", "Running") for number in range(running)]
    asked = job({"succeeded": succeeded}, parallelism=parallelism, completions=completions)
    step = plan(asked, pods, NOW)
    assert (len(step.create), len(step.delete), reason(step)) == (creates, deletes, "")
    assert set(step.create) <= {None}


@pytest.mark.parametrize(
    ("completions", "succeeded", "running", "is_done"),
    [
        (3, 2, 0, False),
        (3, 3, 0, True),
        (3, 4, 0, True),
        (3, 3, 1, False),
        (None, 0, 0, False),
        (None, 1, 0, True),
        (None, 1, 1, False),
        (0, 0, 0, True),
    ],
)
def test_a_job_is_complete_when_enough_have_succeeded_and_none_runs(
    completions: int | None, succeeded: int, running: int, is_done: bool
) -> None:
    pods = [pod(f"p{number}", "Running") for number in range(running)]
    step = plan(job({"succeeded": succeeded}, completions=completions), pods, NOW)
    assert reason(step) == ("CompletionsReached" if is_done else "")
    assert is_finished(Job(status=step.status)) is is_done
    if is_done:
        assert [one.type for one in step.status.conditions] == ["SuccessCriteriaMet", "Complete"]
        assert step.status.completionTime == format_time(NOW)


@pytest.mark.parametrize(
    ("pods", "status", "is_settled"),
    [
        ([], {}, True),
        ([pod("a", "Running")], {}, False),
        ([pod("a", "Running", meta={"deletionTimestamp": ago(1)}, held=False)], {}, False),
        ([pod("a", "Failed")], {"uncountedTerminatedPods": {"failed": ["a"]}}, False),
        ([pod("a", "Succeeded")], {"uncountedTerminatedPods": {"succeeded": ["a"]}}, False),
        ([], {"uncountedTerminatedPods": {"failed": ["a"], "succeeded": ["b"]}}, True),
    ],
)
def test_the_end_is_declared_when_nothing_runs_and_all_is_counted(
    pods: list[Pod], status: dict[str, Any], is_settled: bool
) -> None:
    target = {"type": "FailureTarget", "status": "True", "reason": "X"}
    step = plan(job({"conditions": [target], **status}), pods, NOW)
    assert [one.type for one in step.status.conditions] == [
        "FailureTarget",
        *["Failed"] * is_settled,
    ]
    assert is_finished(Job(status=step.status)) is is_settled
    assert step.status.completionTime is None


def test_conditions_that_are_not_true_announce_nothing() -> None:
    kinds = ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet")
    conditions = [{"type": kind, "status": "False"} for kind in kinds]
    asked = job({"conditions": conditions})
    assert not is_finished(asked)
    assert reason(plan(asked, [], NOW)) == ""


def test_a_pod_is_noted_let_go_of_and_counted_once() -> None:
    pods = [pod("ok", "Succeeded"), pod("bad", "Failed"), pod("runs", "Running")]
    first = plan(job(), pods, NOW)
    noted = first.status.uncountedTerminatedPods
    assert noted is not None
    assert (noted.succeeded, noted.failed) == (["ok"], ["bad"])
    assert [one.metadata.name for one in first.release] == ["ok", "bad"]
    assert (first.status.succeeded, first.status.failed) == (0, 0)
    # The release was interrupted: it is done again, and nothing is counted.
    after = job(msgspec.to_builtins(first.status))
    again = plan(after, pods, NOW)
    assert [one.metadata.name for one in again.release] == ["ok", "bad"]
    assert again.status.uncountedTerminatedPods == noted
    # Both are let go of; the one is still there, the other gone.
    last = plan(after, [pod("ok", "Succeeded", held=False), pods[2]], NOW)
    assert (last.status.succeeded, last.status.failed, last.release) == (1, 1, ())
    left = last.status.uncountedTerminatedPods
    assert left is not None
    assert (left.succeeded, left.failed) == ([], [])
    # One of two is let go of.
    some = plan(after, [pod("ok", "Succeeded", held=False), *pods[1:]], NOW)
    assert (some.status.succeeded, some.status.failed) == (1, 0)
    assert some.status.uncountedTerminatedPods is not None
    assert some.status.uncountedTerminatedPods.failed == ["bad"]


@pytest.mark.parametrize(
    ("spec", "phase", "fails", "creates"),
    [
        ({}, "Running", True, 2),
        ({}, "Succeeded", False, 2),
        ({"podReplacementPolicy": "TerminatingOrFailed"}, "Running", True, 2),
        ({"podReplacementPolicy": "Failed"}, "Running", False, 1),
        ({"podFailurePolicy": {"rules": []}}, "Running", False, 1),
    ],
)
def test_a_pod_that_is_being_deleted(
    spec: dict[str, Any], phase: str, fails: bool, creates: int
) -> None:
    leaving = pod("a", phase, meta={"deletionTimestamp": ago(100)})
    step = plan(job(**spec), [leaving], NOW)
    noted = step.status.uncountedTerminatedPods
    assert noted is not None
    assert noted.failed == (["a"] if fails else [])
    assert len(step.create) == creates
    assert step.status.terminating == (phase == "Running")


POLICY_CASES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"onExitCodes": {"operator": "In", "values": [42]}}, {"code": 42}, True),
    ({"onExitCodes": {"operator": "In", "values": [42]}}, {"code": 1}, False),
    ({"onExitCodes": {"operator": "NotIn", "values": [42]}}, {"code": 1}, True),
    ({"onExitCodes": {"operator": "NotIn", "values": [42]}}, {"code": 42}, False),
    # Who ended well is not asked, nor who runs.
    ({"onExitCodes": {"operator": "NotIn", "values": [42]}}, {"code": 0}, False),
    (
        {"onExitCodes": {"operator": "NotIn", "values": [42]}},
        {"containerStatuses": [{"name": "c"}]},
        False,
    ),
    ({"onExitCodes": {"operator": "In", "values": [42], "containerName": "c"}}, {"code": 42}, True),
    (
        {"onExitCodes": {"operator": "In", "values": [42], "containerName": "other"}},
        {"code": 42},
        False,
    ),
    (
        {"onPodConditions": [{"type": "X", "status": "True"}]},
        {"conditions": [{"type": "X", "status": "True"}]},
        True,
    ),
    (
        {"onPodConditions": [{"type": "X"}]},
        {"conditions": [{"type": "Y", "status": "True"}, {"type": "X", "status": "True"}]},
        True,
    ),
    (
        {"onPodConditions": [{"type": "X"}]},
        {"conditions": [{"type": "X", "status": "False"}]},
        False,
    ),
    (
        {"onPodConditions": [{"type": "X", "status": "False"}]},
        {"conditions": [{"type": "X", "status": "False"}]},
        True,
    ),
    ({"onPodConditions": [{"type": "X"}]}, {"conditions": []}, False),
]


@pytest.mark.parametrize(("rule", "ended", "matches"), POLICY_CASES)
def test_rules_for_failed_pods(rule: dict[str, Any], ended: dict[str, Any], matches: bool) -> None:
    def policy(action: str) -> Job:
        return job(podFailurePolicy={"rules": [{"action": action, **rule}]})

    one = pod("a", "Failed", **ended)
    assert reason(plan(policy("FailJob"), [one], NOW)) == ("PodFailurePolicy" if matches else "")
    noted = plan(policy("Ignore"), [one], NOW).status.uncountedTerminatedPods
    assert noted is not None
    assert noted.failed == ([] if matches else ["a"])
    counted = plan(policy("Count"), [one], NOW).status.uncountedTerminatedPods
    assert counted is not None
    assert counted.failed == ["a"]


def test_a_rule_speaks_of_failed_pods_alone() -> None:
    rules = [{"action": "FailJob", "onPodConditions": [{"type": "X"}]}]
    condition: dict[str, Any] = {"conditions": [{"type": "X", "status": "True"}]}
    for phase in ("Running", "Succeeded"):
        step = plan(job(podFailurePolicy={"rules": rules}), [pod("a", phase, **condition)], NOW)
        assert reason(step) == ""


@pytest.mark.parametrize(
    ("ends", "wait"),
    [
        ([], None),
        ([("Failed", 4)], 6),
        ([("Failed", 10)], None),
        ([("Failed", 100), ("Failed", 4)], 16),
        ([("Failed", 100), ("Failed", 90), ("Failed", 39)], 1),
        ([("Failed", 100), ("Failed", 90), ("Failed", 40)], None),
        ([("Failed", 4), ("Succeeded", 2)], None),
        ([("Failed", 100), ("Succeeded", 50), ("Failed", 4)], 6),
        ([("Running", 0), ("Failed", 4)], 6),
    ],
)
def test_failures_since_the_last_success_hold_the_next_pod_back(
    ends: list[tuple[str, float]], wait: float | None
) -> None:
    pods = [pod(f"p{number}", phase, ended) for number, (phase, ended) in enumerate(ends)]
    step = plan(job(parallelism=3, completions=9, backoffLimit=99), pods, NOW)
    assert step.again_seconds == wait
    assert bool(step.create) is (wait is None)


def test_back_off_ends_at_ten_minutes() -> None:
    pods = [pod(f"f{number}", "Failed", 1000 - number) for number in range(30)]
    pods.append(pod("last", "Failed", 599))
    step = plan(job(parallelism=3, completions=9, backoffLimit=99), pods, NOW)
    assert step.again_seconds == 1


def test_a_pod_without_dates_ended_when_it_was_made() -> None:
    bare = pod("a", "Failed", containerStatuses=[], meta={"creationTimestamp": ago(4)})
    assert plan(job(), [bare], NOW).again_seconds == 6
    deleted = pod("a", "Failed", containerStatuses=[], meta={"deletionTimestamp": ago(3)})
    assert plan(job(), [deleted], NOW).again_seconds == 7
    undated = [{"name": "c", "state": {"terminated": {"exitCode": 1}}}]
    going = pod("a", "Failed", containerStatuses=undated, meta={"deletionTimestamp": ago(2)})
    assert plan(job(), [going], NOW).again_seconds == 8


def test_pods_by_number_and_those_that_have_none() -> None:
    indexed = job({"completedIndexes": "0"}, completionMode="Indexed", completions=4, parallelism=9)
    odd = pod(
        "odd", "Succeeded", meta={"annotations": {"batch.kubernetes.io/job-completion-index": "4"}}
    )
    two = pod(
        "two", "Succeeded", meta={"annotations": {"batch.kubernetes.io/job-completion-index": "2"}}
    )
    step = plan(indexed, [odd, two], NOW)
    # What lies beyond the last number is let go of, and counts for nothing.
    assert (step.status.completedIndexes, step.status.succeeded) == ("0,2", 2)
    assert [one.metadata.name for one in step.release] == ["odd", "two"]
    assert step.create == (1, 3)


@pytest.mark.parametrize(
    ("rule", "completed", "matches"),
    [
        ({"succeededIndexes": "0-1"}, "0,1", True),
        ({"succeededIndexes": "0-1"}, "0,2", False),
        ({"succeededCount": 2}, "0,3", True),
        ({"succeededCount": 2}, "3", False),
        ({"succeededIndexes": "0-2", "succeededCount": 2}, "0,2", True),
        ({"succeededIndexes": "0-2", "succeededCount": 2}, "0,3", False),
    ],
)
def test_success_by_policy(rule: dict[str, Any], completed: str, matches: bool) -> None:
    policy = {"rules": [{"succeededIndexes": "4"}, rule]}
    spec: dict[str, Any] = {"completionMode": "Indexed", "completions": 5, "successPolicy": policy}
    step = plan(job({"completedIndexes": completed}, **spec), [], NOW)
    assert reason(step) == ("SuccessPolicy" if matches else "")
    if matches:
        found = find(Job(status=step.status), "SuccessCriteriaMet")
        assert found is not None
        assert found.message == "Matched rules at index 1"


def test_the_cost_of_a_plan_grows_with_pods_and_texts() -> None:
    base = cost_bytes(job(), [])
    pods = cost_bytes(job(), failed(2))
    assert pods > base
    status = {"completedIndexes": "0,2,4", "failedIndexes": "1,3"}
    texts = cost_bytes(job(status), failed(2))
    assert texts > pods
    assert cost_bytes(job({"completedIndexes": "0,2,4"}), failed(2)) < texts
    policy = {"rules": [{"succeededIndexes": "0,2,4"}, {"succeededCount": 1}]}
    assert cost_bytes(job(status, successPolicy=policy), failed(2)) > texts


def test_a_job_that_is_being_deleted_starts_and_stops_nothing() -> None:
    going = job(meta={"deletionTimestamp": ago(1)})
    step = plan(going, [pod("a", "Running"), pod("b", "Running"), pod("c", "Running")], NOW)
    assert (step.create, step.delete) == ((), ())
