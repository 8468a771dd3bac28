"""What a pod needs next, as a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod, PodStatus
from kubelite.node.lifecycle import (
    AttachNetwork,
    CreateSandbox,
    EnsureImage,
    FinishDeletion,
    LimitPod,
    ReclaimVolumes,
    RemoveContainer,
    ResizeContainer,
    SetUpVolumes,
    StartContainer,
    StopContainer,
    StopSandbox,
    TearDown,
    backoff_of,
    next_backoff,
    plan,
    plan_orphan,
)
from kubelite.node.observed import (
    BACKOFF_LABEL,
    SANDBOX_LABEL,
    Ending,
    Health,
    ImageState,
    Observed,
    Trouble,
)
from kubelite.node.runtime import SANDBOX, ContainerLimits, ContainerRecord

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
IMAGES = {name: ImageState(image_id="sha256:1") for name in ("app", "side", "init")}


def pod_of(spec: dict[str, Any] | None = None, **meta: Any) -> Pod:
    body = {"containers": [{"name": "app", "image": "a:1"}], "terminationGracePeriodSeconds": 30}
    metadata = {"name": "p", "namespace": "default", "uid": "u", **meta}
    return msgspec.convert({"metadata": metadata, "spec": {**body, **(spec or {})}}, Pod)


def with_status(pod: Pod, **fields: Any) -> Pod:
    return msgspec.structs.replace(pod, status=msgspec.convert(fields, PodStatus))


def record(name: str = "app", phase: Any = "running", **fields: Any) -> ContainerRecord:
    labels = fields.pop("labels", {})
    known = {
        "id": f"{name}-id", "pod_uid": "u", "pod_name": "p", "namespace": "default", "name": name,
        "attempt": 0, "phase": phase, "created_at": NOW, "started_at": NOW,
        "finished_at": NOW if phase == "exited" else None,
        "labels": {SANDBOX_LABEL: f"{SANDBOX}-id", **labels}, **fields,
    }  # fmt: skip
    return ContainerRecord(**known)


SANDBOX_UP = record(SANDBOX)


def up(*records: ContainerRecord, **fields: Any) -> Observed:
    known: dict[str, Any] = {"volumes_ready": True, "addresses": ("10.42.0.2",), "images": IMAGES}
    known |= {"group_limits": ContainerLimits(cpu_shares=2), **fields}
    return Observed(records=(SANDBOX_UP, *records), **known)


def kinds(pod: Pod, observed: Observed) -> list[type]:
    return [type(action) for action in plan(pod, observed, NOW).actions]


def test_a_new_pod_gets_volumes_image_and_sandbox_at_once() -> None:
    assert kinds(pod_of(), Observed()) == [SetUpVolumes, EnsureImage, CreateSandbox]


def test_the_group_of_a_pod_is_set_beside_all_else_but_before_what_it_limits() -> None:
    unset = up(addresses=(), group_limits=None)
    assert kinds(pod_of(), unset) == [LimitPod, AttachNetwork]
    limited = pod_of({"resources": {"limits": {"memory": "64Mi"}}})
    assert kinds(limited, unset) == [LimitPod]
    failed = Trouble("FailedCreatePodSandBox", "no", NOW + timedelta(seconds=4))
    waiting = plan(limited, up(group_limits=None, sandbox_trouble=failed), NOW)
    assert (waiting.actions, waiting.wait_seconds) == ((), 4.0)


def test_a_sandbox_without_address_is_attached_before_anything_starts() -> None:
    assert kinds(pod_of(), up(addresses=())) == [AttachNetwork]


def test_a_container_starts_once_its_image_is_there() -> None:
    assert kinds(pod_of(), up(images={})) == [EnsureImage]
    assert kinds(pod_of(), up(images={"app": ImageState(pulling=True)})) == []
    assert kinds(pod_of(), up()) == [StartContainer]


def test_a_running_pod_is_left_alone() -> None:
    assert plan(pod_of(), up(record()), NOW).actions == ()


@pytest.mark.parametrize(
    ("policy", "code", "starts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy: str, code: int, starts: bool) -> None:
    ended = record(phase="exited", exit_code=code)
    found = kinds(pod_of({"restartPolicy": policy}), up(ended))
    assert found == ([StartContainer] if starts else [StopSandbox])


def test_a_restart_waits_for_its_back_off() -> None:
    ended = record(phase="exited", exit_code=1, labels={BACKOFF_LABEL: "20"})
    decision = plan(pod_of(), up(ended), NOW + timedelta(seconds=5))
    assert decision.actions == ()
    assert decision.wait_seconds == 15
    (action,) = plan(pod_of(), up(ended), NOW + timedelta(seconds=20)).actions
    assert isinstance(action, StartContainer)
    assert (action.attempt, action.backoff_seconds) == (1, 40)


def test_back_off_grows_to_five_minutes_and_starts_afresh_after_a_long_run() -> None:
    pauses, last = [], None
    for attempt in range(8):
        pause = next_backoff(last)
        pauses.append(pause)
        last = record(phase="exited", attempt=attempt, labels={BACKOFF_LABEL: str(pause)})
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]
    started = NOW - timedelta(minutes=11)
    long_run = record(phase="exited", started_at=started, labels={BACKOFF_LABEL: "300"})
    assert backoff_of(long_run) == 0
    assert next_backoff(long_run) == 10


def test_init_containers_come_one_by_one_and_sidecars_stay() -> None:
    inits = [
        {"name": "side", "image": "s:1", "restartPolicy": "Always"},
        {"name": "init", "image": "i:1"},
    ]
    pod = pod_of({"initContainers": inits})

    def starts(observed: Observed) -> list[str]:
        return [
            a.container.name
            for a in plan(pod, observed, NOW).actions
            if isinstance(a, StartContainer)
        ]

    assert starts(up()) == ["side"]
    side = record("side")
    assert starts(up(side, health={"side-id": Health(started=False)})) == []
    assert starts(up(side)) == ["init"]
    assert starts(up(side, record("init"))) == []
    assert starts(up(side, record("init", "exited"))) == ["app"]
    assert starts(up(record("side", "exited"), record("init", "exited"), record())) == ["side"]


def test_a_failed_init_container_of_a_pod_that_never_restarts_ends_it() -> None:
    pod = pod_of({"initContainers": [{"name": "init", "image": "i:1"}], "restartPolicy": "Never"})
    assert kinds(pod, up(record("init", "exited", exit_code=1))) == [StopSandbox]


def test_a_lost_sandbox_takes_its_containers_along_and_is_made_anew() -> None:
    lost = record(SANDBOX, "exited")
    seen = Observed(records=(lost, record()), volumes_ready=True, images=IMAGES)
    assert kinds(pod_of(), seen) == [StopContainer]
    seen = Observed(records=(lost, record(phase="exited")), volumes_ready=True, images=IMAGES)
    (action,) = plan(pod_of(), seen, NOW).actions
    assert action == CreateSandbox(1)


def test_a_failed_probe_and_a_changed_image_replace_the_container() -> None:
    unhealthy = up(record(), health={"app-id": Health(failure="failed liveness")})
    (action,) = plan(pod_of(), unhealthy, NOW).actions
    assert action == StopContainer(record(), 30, "failed liveness")
    changed = record(labels={"io.kubernetes.container.hash": "another"})
    (action,) = plan(pod_of(), up(changed), NOW).actions
    assert isinstance(action, StopContainer)
    assert action.message == "Container app definition changed, will be restarted"


@pytest.mark.parametrize(
    ("failed", "grace"),
    [("Startup", 3), ("Liveness", 0), ("", 30)],
    ids=["startup", "liveness", "hook"],
)
def test_the_probe_that_failed_says_how_long_its_container_may_take_to_end(
    failed: Any, grace: int
) -> None:
    """Whatever other probes say; a failed postStart hook has the pod's grace period."""
    probed = {
        "startupProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3},
        "livenessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 0},
    }
    for started in (False, True):
        pod = pod_of({"containers": [{"name": "app", "image": "a:1", **probed}]})
        health = Health(started=started, failure="failed", failed_probe=failed)
        (action,) = plan(pod, up(record(), health={"app-id": health}), NOW).actions
        assert action == StopContainer(record(), grace, "failed")
        for probe in probed:
            rest = {name: value for name, value in probed.items() if name != probe}
            own = {probe: {"tcpSocket": {"port": 1}}}
            pod = pod_of({"containers": [{"name": "app", "image": "a:1", **rest, **own}]})
            (action,) = plan(pod, up(record(), health={"app-id": health}), NOW).actions
            assert isinstance(action, StopContainer)
            is_own = probe == f"{failed.lower()}Probe"
            assert action.grace_seconds == (30 if is_own else grace)


def test_deletion_stops_containers_then_sidecars_then_the_sandbox_then_the_pod() -> None:
    pod = pod_of(
        {"initContainers": [{"name": "side", "image": "s:1", "restartPolicy": "Always"}]},
        deletionTimestamp="2026-05-01T12:00:00Z",
        deletionGracePeriodSeconds=7,
    )

    def stopped(observed: Observed) -> list[tuple[str, int]]:
        return [
            (a.record.name, a.grace_seconds)
            for a in plan(pod, observed, NOW).actions
            if isinstance(a, StopContainer)
        ]

    assert stopped(up(record("side"), record())) == [("app", 7)]
    assert stopped(up(record("side"), record(phase="exited"))) == [("side", 7)]
    assert kinds(pod, up(record("side", "exited"), record(phase="exited"))) == [StopSandbox]
    assert kinds(pod, Observed(records=(record(SANDBOX, "exited"),))) == [FinishDeletion]
    assert kinds(pod, Observed()) == [FinishDeletion]


def test_a_pod_that_must_end_is_stopped_but_not_forgotten() -> None:
    ending = Ending("DeadlineExceeded", "too long")
    assert kinds(pod_of(), up(record(), ending=ending)) == [StopContainer]
    assert kinds(pod_of(), Observed(ending=ending)) == []


def test_trouble_is_tried_again_when_it_is_due() -> None:
    trouble = Trouble("CreateContainerConfigError", "no", NOW + timedelta(seconds=4))
    decision = plan(pod_of(), up(troubles={"app": trouble}), NOW)
    assert (decision.actions, decision.wait_seconds) == ((), 4)
    assert kinds(pod_of(), up(troubles={"app": Trouble("X", "no", NOW)})) == [StartContainer]


def test_an_orphan_is_stopped_and_then_removed() -> None:
    (action,) = plan_orphan(up(record()), 9, NOW).actions
    assert action == StopContainer(record(), 9, "Stopping container app")
    assert plan_orphan(up(record(phase="exited")), 9, NOW).actions == (TearDown(),)


def test_a_container_removed_behind_the_nodes_back_keeps_its_count() -> None:
    status = {"containerStatuses": [
        {"name": "app", "image": "a", "imageID": "i", "ready": True, "restartCount": 4, "containerID": "docker://x"}
    ]}  # fmt: skip
    pod = msgspec.convert({**msgspec.to_builtins(pod_of()), "status": status}, Pod)
    (action,) = plan(pod, up(), NOW).actions
    assert isinstance(action, StartContainer)
    assert action.attempt == 5


def test_other_resources_are_given_in_place_or_by_a_restart() -> None:
    created = record(labels={"io.kubelite.resources": '{"limits":{"cpu":"1"}}'})
    wanted = {"name": "app", "image": "a:1", "resources": {"limits": {"cpu": "2"}}}
    pod = pod_of({"containers": [wanted]})
    assert kinds(pod, up(created)) == [ResizeContainer]
    done = up(created, resized={"app-id": '{"limits":{"cpu":"2"}}'})
    assert kinds(pod, done) == []
    failed = Trouble("Error", "no", NOW + timedelta(seconds=4))
    decided = plan(pod, up(created, resize_troubles={"app-id": failed}), NOW)
    assert (decided.actions, decided.wait_seconds) == ((), 4.0)
    late = NOW + timedelta(seconds=5)
    (again,) = plan(pod, up(created, resize_troubles={"app-id": failed}), late).actions
    assert isinstance(again, ResizeContainer)
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    strict = pod_of({"containers": [{**wanted, "resizePolicy": policy}]})
    assert kinds(strict, up(created)) == [StopContainer]


def test_app_containers_start_one_after_the_other_and_a_hook_holds_the_next_back() -> None:
    two = pod_of(
        {"containers": [{"name": "app", "image": "a:1"}, {"name": "side", "image": "s:1"}]}
    )

    def started(observed: Observed) -> list[str]:
        actions = plan(two, observed, NOW).actions
        return [a.container.name for a in actions if isinstance(a, StartContainer)]

    assert started(up()) == ["app"]
    assert started(up(record())) == ["side"]
    assert started(up(record(), hooks_running=frozenset({"app-id"}))) == []
    pulling = {**IMAGES, "app": ImageState(pulling=True)}
    assert started(up(images=pulling)) == []
    # What cannot start now holds nobody back.
    failed = {**IMAGES, "app": ImageState(trouble=Trouble("ErrImagePull", "", NOW + HOUR))}
    assert started(up(images=failed)) == ["side"]
    assert started(up(record(phase="exited", exit_code=1, labels={BACKOFF_LABEL: "20"}))) == [
        "side"
    ]
    assert kinds(two, up(images={})) == [EnsureImage, EnsureImage]


def test_a_sandbox_that_was_never_started_is_not_left_over() -> None:
    old = record(SANDBOX, phase="created", id="old")
    newest = record(SANDBOX, attempt=1)
    running = record(labels={SANDBOX_LABEL: newest.id})
    seen = msgspec.structs.replace(up(), records=(old, newest, running))
    assert plan(pod_of(), seen, NOW).actions == (RemoveContainer(old),)


def test_a_container_waits_for_the_images_of_the_volumes_that_it_mounts() -> None:
    mounts = {"volumeMounts": [{"name": "files", "mountPath": "/files"}]}
    app = {"name": "app", "image": "a:1"}
    volumes = [
        {"name": name, "image": {"reference": f"{name}:1", "pullPolicy": "Always"}}
        for name in ("files", "unused")
    ]
    pod = pod_of(
        {"containers": [app | mounts, {**app, **mounts, "name": "side"}], "volumes": volumes}
    )
    first = plan(pod, up(images={}), NOW).actions
    assert [action.image.key for action in first if isinstance(action, EnsureImage)] == [
        "app",
        "volume/files",
        "side",
    ]
    here = {**IMAGES, "volume/files": ImageState(pulling=True)}
    assert kinds(pod, up(images=here)) == []
    there = {**IMAGES, "volume/files": ImageState(image_id="sha256:2")}
    assert kinds(pod, up(images=there)) == [StartContainer]
    other = pod_of({"containers": [app], "volumes": volumes})
    assert kinds(other, up()) == [StartContainer]


def test_an_eviction_shortens_the_grace_period_also_of_a_deletion() -> None:
    def grace(pod: Pod, ending: Ending) -> int:
        (action,) = plan(pod, up(record(), ending=ending), NOW).actions
        assert isinstance(action, StopContainer)
        return action.grace_seconds

    pod = pod_of({"terminationGracePeriodSeconds": 40})
    deleted = pod_of(
        {"terminationGracePeriodSeconds": 40}, deletionTimestamp="2026-05-01T12:00:00Z"
    )
    for each in (pod, deleted):
        assert grace(each, Ending("Evicted", "low", 1)) == 1
        assert grace(each, Ending("Evicted", "low", 600)) == 40
        assert grace(each, Ending("DeadlineExceeded", "too long")) == 40


def test_an_ended_pod_gives_back_its_disk_and_an_evicted_one_all() -> None:
    ended = with_status(pod_of(), phase="Succeeded")
    evicted = with_status(pod_of(), phase="Failed", reason="Evicted")
    exited = (record(SANDBOX, "exited"), record(phase="exited"))
    for pod, action in ((ended, ReclaimVolumes), (evicted, TearDown)):
        assert kinds(pod, Observed(records=exited, volumes_ready=True)) == [action]
        assert kinds(pod, up(record(), volumes_ready=True)) == [StopContainer]
        assert kinds(pod, up(record(phase="exited"), volumes_ready=True)) == [StopSandbox]
        assert kinds(pod, Observed()) == []
    assert kinds(ended, Observed(records=exited)) == []
    assert kinds(evicted, Observed(records=exited)) == [TearDown]
