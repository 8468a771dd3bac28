"""A pod's status, computed from what is observed."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod, PodCondition
from kubelite.node.observed import BACKOFF_LABEL, Ending, Health, ImageState, Observed, Trouble
from kubelite.node.runtime import SANDBOX
from kubelite.node.status import Host, status_of
from unit.node.test_lifecycle import NOW, pod_of, record, up, with_status

HOST = Host(("192.0.2.1",))


def status(pod: Pod, observed: Observed) -> Any:
    return status_of(pod, observed, NOW, HOST)


def conditions(pod: Pod, observed: Observed) -> dict[str, str]:
    return {c.type: c.status for c in status(pod, observed).conditions}


def test_a_new_pod_waits_for_its_containers() -> None:
    found = status(pod_of(), Observed())
    assert found.phase == "Pending"
    assert found.containerStatuses[0].state.waiting.reason == "ContainerCreating"
    assert found.startTime == "2026-05-01T12:00:00Z"
    assert found.hostIP == "192.0.2.1"
    assert found.podIP == ""


def test_a_running_pod_is_ready_and_has_its_addresses() -> None:
    found = status(pod_of(), up(record()))
    assert (found.phase, found.podIP, found.qosClass) == ("Running", "10.42.0.2", "BestEffort")
    assert set(conditions(pod_of(), up(record())).values()) == {"True"}


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 1), "Failed"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("Always", (0, 0), "Running"),
    ],
)
def test_phase_of_ended_containers(policy: str, codes: tuple[int, int], phase: str) -> None:
    containers = [{"name": "app", "image": "a:1"}, {"name": "side", "image": "s:1"}]
    pod = pod_of({"restartPolicy": policy, "containers": containers})
    first = record("app", "exited", exit_code=codes[0])
    second = record("side", "exited", exit_code=codes[1])
    assert status(pod, up(first, second)).phase == phase


def test_a_crash_loop_shows_the_pause_and_the_last_end() -> None:
    ended = record(phase="exited", exit_code=2, attempt=5, labels={BACKOFF_LABEL: "160"})
    (shown,) = status(pod_of(), up(ended)).containerStatuses
    assert shown.restartCount == 5
    assert shown.state.waiting.reason == "CrashLoopBackOff"
    assert shown.state.waiting.message == (
        "back-off 2m40s restarting failed container=app pod=p_default(u)"
    )
    assert shown.lastState.terminated.exitCode == 2
    later = status_of(pod_of(), up(ended), NOW + timedelta(seconds=161), HOST)
    assert later.containerStatuses[0].state.terminated is not None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"exit_code": 0}, "Completed"),
        ({"exit_code": 1}, "Error"),
        ({"exit_code": 137, "oom_killed": True}, "OOMKilled"),
        ({"exit_code": 127, "error": "no such file"}, "ContainerCannotRun"),
    ],
)
def test_reason_of_an_end(fields: dict[str, Any], reason: str) -> None:
    pod = pod_of({"restartPolicy": "Never"})
    (shown,) = status(pod, up(record(phase="exited", **fields))).containerStatuses
    assert shown.state.terminated.reason == reason


def test_troubles_are_shown_as_waiting() -> None:
    image = {"app": ImageState(trouble=Trouble("ImagePullBackOff", "back off"))}
    (shown,) = status(pod_of(), up(images=image)).containerStatuses
    assert (shown.state.waiting.reason, shown.state.waiting.message) == (
        "ImagePullBackOff",
        "back off",
    )


def test_probes_and_gates_decide_readiness() -> None:
    unready = up(record(), health={"app-id": Health(ready=False)})
    assert conditions(pod_of(), unready)["Ready"] == "False"
    unstarted = up(record(), health={"app-id": Health(started=False)})
    assert status(pod_of(), unstarted).containerStatuses[0].started is False
    gated = pod_of({"readinessGates": [{"conditionType": "example.com/ok"}]})
    found = conditions(gated, up(record()))
    assert (found["ContainersReady"], found["Ready"]) == ("True", "False")
    gate = PodCondition(type="example.com/ok", status="True")
    open_gate = msgspec.structs.replace(
        gated, status=msgspec.structs.replace(gated.status, conditions=[gate])
    )
    assert conditions(open_gate, up(record()))["Ready"] == "True"
    assert conditions(open_gate, up(record()))["example.com/ok"] == "True"


def test_an_unchanged_condition_keeps_its_date() -> None:
    pod = pod_of()
    first = status(pod, up(record()))
    known = msgspec.structs.replace(pod, status=first)
    assert status_of(known, up(record()), NOW + timedelta(hours=1), HOST) == first


def test_init_containers_hold_the_phase() -> None:
    pod = pod_of({"initContainers": [{"name": "init", "image": "i:1"}]})
    found = status(pod, up(record("init")))
    assert found.phase == "Pending"
    assert found.containerStatuses[0].state.waiting.reason == "PodInitializing"
    assert conditions(pod, up(record("init")))["Initialized"] == "False"


def test_a_deleted_pod_ends_by_how_its_containers_ended() -> None:
    pod = pod_of(deletionTimestamp="2026-05-01T12:00:00Z")
    ended = Observed(records=(record(SANDBOX, "exited"), record(phase="exited", exit_code=0)))
    assert status(pod, ended).phase == "Succeeded"
    killed = Observed(records=(record(SANDBOX, "exited"), record(phase="exited", exit_code=137)))
    assert status(pod, killed).phase == "Failed"


def test_a_deadline_fails_a_pod_once_nothing_runs() -> None:
    ending = Ending("DeadlineExceeded", "too long")
    assert status(pod_of(), up(record(), ending=ending)).phase == "Pending"
    found = status(pod_of(), up(record(phase="exited"), ending=ending))
    assert (found.phase, found.reason) == ("Failed", "DeadlineExceeded")


@pytest.mark.parametrize(("count", "size"), [(1, 12288), (3, 4096), (100, 122)])
def test_messages_of_all_containers_fit_a_status(count: int, size: int) -> None:
    containers = [{"name": f"c{n}", "image": "a:1"} for n in range(count)]
    records = [
        record(f"c{n}", "exited", exit_code=1, error="\u00e9" * 20_000) for n in range(count)
    ]
    found = status(pod_of({"containers": containers}), up(*records))
    messages = [s.lastState.terminated or s.state.terminated for s in found.containerStatuses]
    assert {len(ended.message.encode()) for ended in messages} == {size - size % 2}


def test_the_message_of_a_container_that_waits_is_cut() -> None:
    trouble = Trouble("CreateContainerError", "x" * 200_000)
    observed = msgspec.structs.replace(up(), troubles={"app": trouble})
    waiting = status(pod_of(), observed).containerStatuses[0].state.waiting
    assert (waiting.reason, len(waiting.message)) == ("CreateContainerError", 12288)


def test_the_trouble_of_a_volumes_image_is_that_of_the_containers_that_mount_it() -> None:
    mounts = [{"name": "files", "mountPath": "/files"}]
    containers = [
        {"name": "app", "image": "a:1", "volumeMounts": mounts},
        {"name": "side", "image": "s:1"},
    ]
    pod = pod_of(
        {"containers": containers, "volumes": [{"name": "files", "image": {"reference": "f:1"}}]}
    )
    trouble = Trouble("ErrImagePull", "no such image", None)
    images = {"volume/files": ImageState(trouble=trouble), "app": ImageState(image_id="sha256:1")}
    found = status(pod, up(images=images))
    assert [one.state.waiting.reason for one in found.containerStatuses] == [
        "ErrImagePull",
        "ContainerCreating",
    ]


def test_reason_message_and_disruption_come_with_the_end() -> None:
    ending = Ending("Evicted", "low", 1, "TerminationByKubelet")
    during = status(pod_of(), up(record(), ending=ending))
    assert (during.reason, during.message) == ("", "")
    assert "DisruptionTarget" not in {one.type for one in during.conditions}
    foreign = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "X"}]}
    found = status(with_status(pod_of(), **foreign), up(record(phase="exited"), ending=ending))
    assert (found.phase, found.reason, found.message) == ("Failed", "Evicted", "low")
    (condition,) = [one for one in found.conditions if one.type == "DisruptionTarget"]
    assert (condition.status, condition.reason, condition.message) == (
        "True",
        "TerminationByKubelet",
        "low",
    )


def test_a_pod_that_had_ended_before_keeps_its_own_reason() -> None:
    ending = Ending("Evicted", "low", 1, "TerminationByKubelet")
    for phase in ("Failed", "Succeeded"):
        pod = with_status(pod_of(), phase=phase, reason="Own")
        found = status(pod, up(record(phase="exited"), ending=ending))
        assert (found.phase, found.reason) == (phase, "Own")
        assert "DisruptionTarget" not in {one.type for one in found.conditions}


def test_the_states_of_an_ended_pod_outlive_its_containers() -> None:
    ended = status(pod_of({"restartPolicy": "Never"}), up(record(phase="exited", exit_code=3)))
    pod = with_status(pod_of({"restartPolicy": "Never"}), **msgspec.to_builtins(ended))
    assert status(pod, Observed()).containerStatuses == ended.containerStatuses
