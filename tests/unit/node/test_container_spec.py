"""What a container is made from."""

from datetime import UTC, datetime

import msgspec
import pytest

from kubelite.api.kinds.core.pods import Pod
from kubelite.node.container_spec import container_spec, digest_for, sandbox_spec
from kubelite.node.lifecycle import StartContainer
from kubelite.node.observed import HANDLER_LABEL
from kubelite.node.runtime import ContainerRecord, ContainerSpec, Image, Limits, Mount

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
    pod = msgspec.convert({"metadata": {"name": "p", "uid": "u"}, "spec": spec}, Pod)
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
    return container_spec(pod, start, IMAGE, {}, mounts, Limits(), target)


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
    pod = msgspec.convert({"spec": {"securityContext": {"sysctls": sysctls}}}, Pod)
    spec = sandbox_spec(pod, 0, "cluster.local", "")
    assert spec.sysctls["net.ipv4.tcp_syncookies"] == "0"
    assert spec.labels[HANDLER_LABEL] == "", "a label of an image would otherwise stand"
