"""What a container is made from."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.limits import EXEC_TEXT
from kubelite.node import container_spec as module
from kubelite.node.container_spec import container_spec, digest_for, sandbox_spec
from kubelite.node.environment import ConfigUnavailable, expand
from kubelite.node.lifecycle import StartContainer
from kubelite.node.observed import HANDLER_LABEL
from kubelite.node.resources import cgroup_parent
from kubelite.node.runtime import (
    SANDBOX,
    ContainerLimits,
    ContainerRecord,
    ContainerSpec,
    Image,
    Mount,
)

ONE, OTHER = f"quay.io/a@sha256:{'1' * 64}", f"127.0.0.1:5000/a@sha256:{'2' * 64}"
IMAGE = Image("sha256:0", (ONE, OTHER, "quay.io/a:1"), ONE)


@pytest.mark.parametrize(
    ("reference", "digest"),
    [("127.0.0.1:5000/a", OTHER), ("127.0.0.1:5000/a:1", OTHER), (OTHER, OTHER), ("b:1", ONE)],
)
def test_the_digest_is_that_of_the_images_own_repository(reference: str, digest: str) -> None:
    assert digest_for(IMAGE, reference) == digest
    assert digest_for(Image("sha256:0", ("b:1",)), reference) == ""


def spec_of(
    spec: dict[str, object], mounts: tuple[Mount, ...] = (), target: str = ""
) -> ContainerSpec:
    pod = msgspec.convert(
        {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}, Pod
    )
    sandbox = ContainerRecord(
        "s",
        "u",
        "p",
        "default",
        "POD",
        0,
        "running",
        datetime(2026, 5, 1, tzinfo=UTC),
        labels=sandbox_spec(pod, 0, "cluster.local", "runsc").labels,
    )
    start = StartContainer(pod.spec.containers[0], 0, sandbox, 0)
    return container_spec(pod, start, IMAGE, {}, mounts, ContainerLimits(), target)


def test_a_claim_for_reading_is_mounted_for_reading() -> None:
    container = {
        "name": "app",
        "image": "a",
        "volumeMounts": [
            {"name": "read", "mountPath": "/read"},
            {"name": "write", "mountPath": "/write"},
        ],
    }
    volumes = [
        {"name": "read", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"name": "write", "persistentVolumeClaim": {"claimName": "c"}},
    ]
    mounts = (Mount("/a", "/read"), Mount("/a", "/write"), Mount("/b", "/etc/hosts"))
    made = spec_of({"containers": [container], "volumes": volumes}, mounts)
    assert [mount.read_only for mount in made.mounts] == [True, False, False]


def test_a_container_has_the_handler_of_its_sandbox() -> None:
    assert spec_of({"containers": [{"name": "app", "image": "a"}]}).handler == "runsc"


def test_only_a_container_with_processes_of_its_own_looks_into_another() -> None:
    container = {"name": "app", "image": "a"}
    assert spec_of({"containers": [container]}, target="t").shared_pid_with == "t"
    shared = {"containers": [container], "shareProcessNamespace": True}
    assert spec_of(shared, target="t").shared_pid_with == "s"


def test_sysctls_have_their_normal_names_and_the_image_names_no_handler() -> None:
    sysctls = [{"name": "net/ipv4/tcp_syncookies", "value": "0"}]
    pod = msgspec.convert(
        {
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"securityContext": {"sysctls": sysctls}},
        },
        Pod,
    )
    spec = sandbox_spec(pod, 0, "cluster.local", "")
    assert spec.sysctls["net.ipv4.tcp_syncookies"] == "0"
    assert spec.labels[HANDLER_LABEL] == "", "a label of an image would otherwise stand"


def _pod(container: dict[str, Any] | None = None, **metadata: Any) -> Pod:
    meta = {"name": "p", "namespace": "ns", "uid": "u", **metadata}
    app = {"name": "app", "image": "a:1", **(container or {})}
    return msgspec.convert({"metadata": meta, "spec": {"containers": [app]}}, Pod)


def _spec(pod: Pod, environment: dict[str, str]) -> ContainerSpec:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sandbox = ContainerRecord("s", "u", "p", "ns", SANDBOX, 0, "running", now)
    start = StartContainer(pod.spec.containers[0], 0, sandbox, 0)
    return container_spec(pod, start, IMAGE, environment, (), ContainerLimits())


def test_values_may_have_any_lines_and_names_may_not() -> None:
    text = {"A": "one\ntwo\t\x1b", "a.b-c": ""}
    assert dict(_spec(_pod({"args": ["x\ny"]}), text).environment) == text


@pytest.mark.parametrize(
    ("container", "environment"),
    [
        ({}, {"A\nB": "1"}),
        ({}, {"A=B": "1"}),
        ({}, {"": "1"}),
        ({}, {"A": "1\0B=2"}),
        ({}, {"A": "x" * 200_000}),
        ({"command": ["a\0b"]}, {}),
        ({"args": ["a\0b"]}, {}),
        ({"args": ["x" * 100_000] * 100}, {}),
        ({"workingDir": "/a\nb"}, {}),
        ({"image": "a:1\n"}, {}),
        ({"name": "a\nb"}, {}),
    ],
)
def test_text_that_is_none_for_a_setting_is_refused(
    container: dict[str, Any], environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigUnavailable, match="invalid"):
        _spec(_pod(container), environment)


@pytest.mark.parametrize("field", ["command", "args"])
def test_arguments_are_expanded_no_further_than_a_process_takes(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    """A pod of a megabyte has room for 300,000 references to a variable of 128 KB."""
    expanded = 0

    def counted(text: str, known: Mapping[str, str]) -> str:
        nonlocal expanded
        expanded += 1
        return expand(text, known)

    monkeypatch.setattr(module, "expand", counted)
    pod = _pod({field: ["$(A)"] * 20_000})
    with pytest.raises(ConfigUnavailable, match="argument list too long"):
        _spec(pod, {"A": "x" * 100_000})
    assert expanded <= EXEC_TEXT.value // 100_000 + 1


@pytest.mark.parametrize("field", ["name", "namespace", "uid"])
@pytest.mark.parametrize("text", ["a\nb", "a/b", "..", ""])
def test_a_pod_whose_names_are_no_step_of_a_path_gets_no_sandbox(field: str, text: str) -> None:
    with pytest.raises(ConfigUnavailable, match="invalid"):
        sandbox_spec(_pod(None, **{field: text}), 0, "cluster.local", "")


def test_a_status_cannot_choose_the_control_group() -> None:
    pod = msgspec.convert(
        {"metadata": {"uid": "u"}, "status": {"qosClass": "../../system.slice"}}, Pod
    )
    assert cgroup_parent(pod) == "/kubelite/besteffort/podu"


@pytest.mark.parametrize("where", ["containers", "initContainers", "ephemeralContainers"])
def test_a_sandbox_is_privileged_if_any_container_is(where: str) -> None:
    def sandbox(privileged: object) -> bool:
        plain: dict[str, object] = {"name": "app", "image": "a"}
        other: dict[str, object] = {
            "name": "b",
            "image": "a",
            "securityContext": {"privileged": privileged},
        }
        spec: dict[str, list[dict[str, object]]] = {"containers": [plain]}
        spec[where] = [*spec.get(where, []), other]
        pod = msgspec.convert(
            {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}, Pod
        )
        return sandbox_spec(pod, 0, "cluster.local", "").privileged

    assert sandbox(privileged=True)
    assert not sandbox(privileged=False)
    assert not sandbox(privileged=None)
