"""What a pod needs next in rarer situations, each found by a change of the rules that no other test noticed."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.lifecycle import (
    CreateSandbox,
    EnsureImage,
    RemoveContainer,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    StopSandbox,
    backoff_remaining,
    deadline_of,
    plan,
)
from kubelite.node.log_policy import DeadContainerPolicy
from kubelite.node.observed import BACKOFF_LABEL, ImageState, Observed, Trouble
from kubelite.node.runtime import SANDBOX, ContainerRecord
from unit.node.test_lifecycle import IMAGES, NOW, SANDBOX_UP, kinds, pod_of, record, up

TWO_SIDECARS = [
    {"name": "first", "image": "s:1", "restartPolicy": "Always"},
    {"name": "second", "image": "s:1", "restartPolicy": "Always"},
]
DELETED: dict[str, Any] = {
    "deletionTimestamp": "2026-05-01T12:00:00Z",
    "deletionGracePeriodSeconds": 7,
}


def with_status(pod: Pod, **status: Any) -> Pod:
    return msgspec.convert({**msgspec.to_builtins(pod), "status": status}, Pod)


def started(pod: Pod, observed: Observed) -> list[tuple[str, int]]:
    actions = plan(pod, observed, NOW).actions
    return [(a.container.name, a.attempt) for a in actions if isinstance(a, StartContainer)]


def stopped(pod: Pod, observed: Observed) -> list[str]:
    actions = plan(pod, observed, NOW).actions
    return [a.record.name for a in actions if isinstance(a, StopContainer)]


def test_a_deadline_counts_from_the_start_of_the_pod() -> None:
    pod = pod_of({"activeDeadlineSeconds": 60})
    assert deadline_of(pod) is None
    assert plan(pod, up(record()), NOW).wait_seconds is None
    running = with_status(pod, startTime="2026-05-01T11:59:30Z")
    assert deadline_of(running) == NOW + timedelta(seconds=30)
    assert plan(running, up(record()), NOW).wait_seconds == 30
    assert plan(running, up(record()), NOW + timedelta(seconds=40)).wait_seconds == 0
    assert deadline_of(with_status(pod_of(), startTime="2026-05-01T11:59:30Z")) is None


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_is_over_is_ended_and_never_started(phase: str) -> None:
    over = with_status(pod_of(), phase=phase)
    assert kinds(over, up(record())) == [StopContainer]
    assert kinds(over, up()) == [StopSandbox]
    assert kinds(over, Observed()) == []


def test_sidecars_end_from_the_last_to_the_first_and_the_ended_hold_nobody_back() -> None:
    pod = pod_of({"initContainers": TWO_SIDECARS}, **DELETED)
    first, second = record("first"), record("second")
    assert stopped(pod, up(first, second, record())) == ["app"]
    assert stopped(pod, up(first, second)) == ["second"]
    assert stopped(pod, up(first, record("second", "exited"))) == ["first"]
    assert stopped(pod, up(record("first", "exited"), second)) == ["second"]


def test_a_container_that_never_ran_is_no_sandbox() -> None:
    pod = pod_of(**DELETED)
    assert plan(pod, up(record(phase="created")), NOW).actions == (StopSandbox(SANDBOX_UP),)


def test_debugging_containers_start_once_beside_the_others() -> None:
    pod = pod_of({"ephemeralContainers": [{"name": "side", "image": "d:1"}]})
    assert started(pod, up(record())) == [("side", 0)]
    assert started(pod, up(record(), record("side", "exited", exit_code=1))) == []
    assert started(pod, up(record(), record("side"))) == []


def test_only_the_image_that_is_needed_first_is_fetched_before_the_sandbox() -> None:
    inits = [{"name": "init", "image": "i:1"}, {"name": "side", "image": "s:1"}]
    actions = plan(pod_of({"initContainers": inits}), Observed(), NOW).actions
    assert [a.image.key for a in actions if isinstance(a, EnsureImage)] == ["init"]
    assert actions[-1] == CreateSandbox(0)


def test_nothing_starts_before_the_volumes_are_there() -> None:
    assert kinds(pod_of(), up(volumes_ready=False)) == [SetUpVolumes]
    later = Trouble("FailedMount", "no", NOW + timedelta(seconds=3))
    decision = plan(pod_of(), up(volumes_ready=False, volumes_trouble=later), NOW)
    assert (decision.actions, decision.wait_seconds) == ((), 3)
    due = Trouble("FailedMount", "no", NOW)
    assert kinds(pod_of(), up(volumes_ready=False, volumes_trouble=due)) == [SetUpVolumes]
    # Without a date it waits for a change.
    never = plan(
        pod_of(), up(volumes_ready=False, volumes_trouble=Trouble("FailedMount", "no")), NOW
    )
    assert (never.actions, never.wait_seconds) == ((), None)


def test_a_sandbox_that_cannot_be_made_is_tried_again_when_it_is_due() -> None:
    def seen(date: Any) -> Observed:
        trouble = Trouble("FailedCreatePodSandBox", "no", date)
        return Observed(volumes_ready=True, images=IMAGES, sandbox_trouble=trouble)

    assert kinds(pod_of(), seen(NOW)) == [CreateSandbox]
    decision = plan(pod_of(), seen(NOW + timedelta(seconds=2)), NOW)
    assert (decision.actions, decision.wait_seconds) == ((), 2)


def test_init_containers_do_not_run_again_once_any_app_container_has() -> None:
    two = [{"name": "app", "image": "a:1"}, {"name": "side", "image": "s:1"}]
    pod = pod_of({"initContainers": [{"name": "init", "image": "i:1"}], "containers": two})
    assert started(pod, up(record("init", "exited", exit_code=1), record())) == [("side", 0)]
    # In a new sandbox all begins anew.
    old: dict[str, Any] = {"labels": {"io.kubernetes.sandbox.id": "old"}}
    seen = up(record("init", "exited", **old), record(phase="exited", **old))
    assert started(pod, seen) == [("init", 1)]


def test_a_sidecar_that_does_not_run_has_not_started() -> None:
    inits = [TWO_SIDECARS[0], {"name": "init", "image": "i:1"}]
    pod = pod_of({"initContainers": inits})
    images = {**IMAGES, "first": ImageState(image_id="sha256:1")}
    assert started(pod, up(record("first"), images=images)) == [("init", 0)]
    assert started(pod, up(record("first", "created"), images=images)) == [("first", 0)]
    held = up(record("first"), images=images, hooks_running=frozenset({"first-id"}))
    assert started(pod, held) == []


def test_a_container_that_was_made_and_not_started_is_made_anew_in_its_place() -> None:
    """An attempt that never ran is no restart. It waits for the back-off of its trouble, if that has one."""
    made = record(phase="created", labels={BACKOFF_LABEL: "40"})
    [action] = [a for a in plan(pod_of(), up(made), NOW).actions if isinstance(a, StartContainer)]
    assert (action.attempt, action.backoff_seconds) == (0, 40)
    due = Trouble("CreateContainerError", "no", NOW - timedelta(seconds=1))
    assert started(pod_of(), up(made, troubles={"app": due})) == [("app", 0)]
    later = Trouble("CreateContainerError", "no", NOW + timedelta(seconds=1))
    decision = plan(pod_of(), up(made, troubles={"app": later}), NOW)
    assert (decision.actions, decision.wait_seconds) == ((), 1)
    known = Trouble("RunContainerError", "no")
    assert started(pod_of(), up(made, troubles={"app": known})) == []


def test_an_init_container_that_was_made_and_not_started_is_made_anew() -> None:
    pod = pod_of({"initContainers": [{"name": "init", "image": "i:1"}]})
    images = {**IMAGES, "init": ImageState(image_id="sha256:1")}
    assert started(pod, up(record("init", "created"), images=images)) == [("init", 0)]


def test_an_ephemeral_container_that_was_made_and_not_started_is_made_anew() -> None:
    pod = pod_of({"ephemeralContainers": [{"name": "look", "image": "i:1"}]})
    images = {**IMAGES, "look": ImageState(image_id="sha256:1")}
    seen = up(record(), record("look", "created"), images=images)
    assert started(pod, seen) == [("look", 0)]


def test_of_two_running_sandboxes_only_the_newest_stays() -> None:
    old, new = record(SANDBOX, id="old"), record(SANDBOX, attempt=1)
    seen = msgspec.structs.replace(up(), records=(old, new), addresses=())
    assert plan(pod_of(), seen, NOW).actions == (RemoveContainer(old),)


def test_a_sandbox_that_runs_beside_a_newer_one_that_does_not_is_stopped_first() -> None:
    old, new = record(SANDBOX, id="old"), record(SANDBOX, "created", attempt=1)
    seen = msgspec.structs.replace(up(), records=(old, new), addresses=())
    assert plan(pod_of(), seen, NOW).actions == (StopSandbox(old),)
    seen = msgspec.structs.replace(seen, records=(new,))
    made = [a for a in plan(pod_of(), seen, NOW).actions if isinstance(a, CreateSandbox)]
    assert made == [CreateSandbox(1)]


def test_a_removed_containers_count_is_its_own() -> None:
    def status(name: str, restarts: int, container_id: str = "docker://x") -> dict[str, Any]:
        return {
            "name": name, "image": "a", "imageID": "i", "ready": True,
            "restartCount": restarts, "containerID": container_id,
        }  # fmt: skip

    others = [status("other", 7), status("app", 4)]
    assert started(with_status(pod_of(), containerStatuses=others), up()) == [("app", 5)]
    never_ran = [status("other", 7), status("app", 0, "")]
    assert started(with_status(pod_of(), containerStatuses=never_ran), up()) == [("app", 0)]


@pytest.mark.parametrize(
    ("state", "actions", "wait"),
    [
        (ImageState(trouble=Trouble("ErrImagePull", "", NOW)), [EnsureImage], None),
        (ImageState(trouble=Trouble("ErrImagePull", "", NOW + timedelta(seconds=5))), [], 5),
        (ImageState(trouble=Trouble("ErrImageNeverPull", "")), [], None),
        (ImageState(pulling=True, trouble=Trouble("ErrImagePull", "", NOW)), [], None),
        (ImageState(), [EnsureImage], None),
    ],
)
def test_an_image_is_fetched_again_when_it_is_due(
    state: ImageState, actions: list[type], wait: float | None
) -> None:
    decision = plan(pod_of(), up(images={"app": state}), NOW)
    assert ([type(one) for one in decision.actions], decision.wait_seconds) == (actions, wait)


def ended(attempt: int) -> ContainerRecord:
    labels = {BACKOFF_LABEL: "300"}
    return record(id=f"app-{attempt}", attempt=attempt, phase="exited", exit_code=1, labels=labels)


def test_one_ended_container_is_kept_beside_the_newest() -> None:
    removed = [a.record.attempt for a in plan(pod_of(), up(*map(ended, range(4))), NOW).actions
               if isinstance(a, RemoveContainer)]  # fmt: skip
    assert sorted(removed) == [0, 1]
    running = record(id="app-9", attempt=9)
    removed = [a.record.attempt for a in plan(pod_of(), up(*map(ended, (7, 8)), running), NOW).actions
               if isinstance(a, RemoveContainer)]  # fmt: skip
    assert removed == [7]


@pytest.mark.parametrize(
    ("policy", "removed", "wait"),
    [
        (DeadContainerPolicy(-1), [], 299),
        (DeadContainerPolicy(0), [0, 1, 2], 299),
        (DeadContainerPolicy(2), [0], 299),
        (DeadContainerPolicy(0, timedelta(seconds=60)), [], 60),
    ],
)
def test_how_many_ended_containers_are_kept_is_set(
    policy: DeadContainerPolicy, removed: list[int], wait: float
) -> None:
    runs = [
        msgspec.structs.replace(ended(n), created_at=NOW, finished_at=NOW - timedelta(seconds=1))
        for n in range(4)
    ]
    decision = plan(pod_of(), up(*runs), NOW, policy)
    found = [a.record.attempt for a in decision.actions if isinstance(a, RemoveContainer)]
    assert (sorted(found), decision.wait_seconds) == (removed, wait)


def test_a_running_container_is_never_removed_however_old() -> None:
    lost = record(id="lost", attempt=0)
    kept = up(lost, *map(ended, (1, 2, 3)))
    removed = [a.record.id for a in plan(pod_of(), kept, NOW).actions if isinstance(a, RemoveContainer)]  # fmt: skip
    assert removed == ["app-1"]


def test_back_off_counts_from_the_end() -> None:
    assert backoff_remaining(record(), NOW) == 0
    assert backoff_remaining(ended(0), NOW + timedelta(seconds=100)) == 200
    lost = record(phase="exited", started_at=NOW - timedelta(hours=1), finished_at=None)
    assert backoff_remaining(lost, NOW) == 0


def test_an_old_sandbox_is_removed_once_the_new_one_runs() -> None:
    old = record(SANDBOX, "exited", id="old")
    new = record(SANDBOX, attempt=1)
    seen = up()
    seen = msgspec.structs.replace(seen, records=(old, new, record()))
    assert plan(pod_of(), seen, NOW).actions == (RemoveContainer(old),)
