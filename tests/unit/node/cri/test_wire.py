"""The node's words in those of the Container Runtime Interface, and back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.grpc.protobuf import decode, encode
from kubelite.node.container_owner import ContainerOwner
from kubelite.node.cri import messages as cri
from kubelite.node.cri import wire
from kubelite.node.docker_wire import own_labels
from kubelite.node.runtime import (
    SANDBOX,
    ContainerLimits,
    ContainerSpec,
    Credentials,
    Handler,
    HostDevice,
    IdRange,
    Mount,
    Profile,
    SandboxSpec,
)

UID = "0f1e2d3c-0000-4000-8000-000000000001"
LABELS = {
    "io.kubernetes.pod.uid": UID,
    "io.kubernetes.pod.name": "web",
    "io.kubernetes.pod.namespace": "shop",
}
OWNER = ContainerOwner("8d6c0f3e-0000-4000-8000-000000000002", "one", Path("/nowhere"))


def sandbox(**fields: Any) -> SandboxSpec:
    labels = {**LABELS, "io.kubernetes.container.name": SANDBOX}
    return SandboxSpec(UID, "web", "shop", 2, "web-host", labels=labels, **fields)


def sandbox_config(spec: SandboxSpec, **host: bool) -> cri.SandboxConfig:
    host = {"may_protect": True, "has_ipv6": True, **host}
    made = wire.sandbox_config(spec, OWNER, "/var/log/pods", **host)
    return decode(cri.SandboxConfig, encode(made))  # as it arrives


def container(**fields: Any) -> ContainerSpec:
    labels = {**LABELS, "io.kubernetes.container.name": "app"}
    return ContainerSpec(UID, "web", "shop", "app", 1, "box", "sha256:1", labels=labels, **fields)


def config_of(spec: ContainerSpec, **host: bool) -> cri.ContainerConfig:
    host = {"may_protect": True, "has_apparmor": True, **host}
    made = wire.container_config(spec, OWNER, "/profiles/a.json", "kubelite-a", **host)
    return decode(cri.ContainerConfig, encode(made))


def security_of(spec: ContainerSpec, **host: bool) -> cri.ContainerSecurity:
    linux = config_of(spec, **host).linux
    assert linux is not None
    assert linux.security_context is not None
    return linux.security_context


def test_a_sandbox_says_whose_it_is_and_how_it_was_made() -> None:
    spec = sandbox(cgroup_parent="/kubelite/pod1", sysctls={"net.core.somaxconn": "9"})
    made = sandbox_config(spec)
    assert made.metadata == cri.SandboxMetadata("web", UID, "shop", 2)
    assert made.hostname == "web-host"
    assert made.log_directory == f"/var/log/pods/shop_web_{UID}"
    assert wire.spec_of(made.annotations) == spec
    assert made.linux is not None
    assert made.linux.cgroup_parent == "/kubelite/pod1"
    assert made.linux.sysctls == {
        "net.core.somaxconn": "9",
        "net.ipv6.conf.default.disable_ipv6": "1",
        "net.ipv6.conf.eth0.disable_ipv6": "1",
    }


def test_a_pod_cannot_switch_ipv6_on() -> None:
    made = sandbox_config(sandbox(sysctls={"net.ipv6.conf.eth0.disable_ipv6": "0"}))
    assert made.linux is not None
    assert made.linux.sysctls["net.ipv6.conf.eth0.disable_ipv6"] == "1"


def test_a_sandbox_on_the_hosts_network_leaves_the_host_as_it_is() -> None:
    made = sandbox_config(sandbox(host_network=True, host_pid=True, host_ipc=True))
    assert made.hostname == ""
    assert made.linux is not None
    assert made.linux.sysctls == {}
    assert made.linux.security_context is not None
    options = made.linux.security_context.namespace_options
    assert options == cri.NamespaceOptions(cri.NODE, cri.NODE, cri.NODE)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pod_uid": 1}', "[" * 100_000])
def test_what_another_wrote_into_a_sandbox_is_no_spec(text: str) -> None:
    assert wire.spec_of({wire.SANDBOX_ANNOTATION: text}) is None
    assert wire.spec_of({}) is None


@pytest.mark.parametrize(
    ("user", "uid", "gid", "name"),
    [
        ("", None, None, ""),
        ("1000", 1000, None, ""),
        ("0:77", 0, 77, ""),
        ("web", None, None, "web"),
        ("web:77", None, 77, "web"),
    ],
)
def test_users(user: str, uid: int | None, gid: int | None, name: str) -> None:
    made = security_of(container(user=user))
    assert (made.run_as_user.value if made.run_as_user else None) == uid
    assert (made.run_as_group.value if made.run_as_group else None) == gid
    assert made.run_as_username == name


@pytest.mark.parametrize(
    ("kind", "number", "seccomp", "apparmor"),
    [
        ("RuntimeDefault", 0, "", ""),
        ("Unconfined", 1, "", ""),
        ("Localhost", 2, "/profiles/a.json", "kubelite-a"),
    ],
)
def test_profiles_are_always_said(kind: Any, number: int, seccomp: str, apparmor: str) -> None:
    """An engine takes an absent seccomp profile for none at all."""
    profile = Profile(kind, "a" if kind == "Localhost" else "")
    made = security_of(container(seccomp=profile, apparmor=profile))
    assert made.seccomp == cri.SecurityProfile(number, seccomp)
    assert made.apparmor == cri.SecurityProfile(number, apparmor)
    assert security_of(container(apparmor=profile), has_apparmor=False).apparmor is None


@pytest.mark.parametrize(
    ("fields", "masked"),
    [({}, True), ({"proc_unmasked": True}, False), ({"privileged": True}, False)],
)
def test_proc_is_masked_by_the_node(fields: dict[str, bool], masked: bool) -> None:
    made = security_of(container(**fields))
    assert bool(made.masked_paths) is bool(made.readonly_paths) is masked


@pytest.mark.parametrize(
    ("fields", "mode", "target"),
    [
        ({}, cri.CONTAINER, ""),
        ({"host_pid": True, "shared_pid_with": "box"}, cri.NODE, ""),
        ({"shared_pid_with": "box"}, cri.POD, ""),
        ({"shared_pid_with": "other"}, cri.TARGET, "other"),
    ],
)
def test_pid_namespaces(fields: dict[str, Any], mode: int, target: str) -> None:
    options = security_of(container(**fields)).namespace_options
    assert options is not None
    assert (options.pid, options.target_id) == (mode, target)


def test_ids_of_a_user_namespace_hold_for_sandbox_container_and_mounts() -> None:
    """An engine that is not told all of them would run the pod without a namespace."""
    ids, mapped = IdRange(65536, 65536), [cri.IDMapping(65536, 0, 65536)]
    whole = cri.UserNamespace(cri.POD, mapped, mapped)
    of_sandbox = sandbox_config(sandbox(ids=ids)).linux
    assert of_sandbox is not None
    assert of_sandbox.security_context is not None
    assert of_sandbox.security_context.namespace_options is not None
    assert of_sandbox.security_context.namespace_options.userns_options == whole
    spec = container(ids=ids, mounts=(Mount("/a", "/b"),))
    options = security_of(spec).namespace_options
    assert options is not None
    assert options.userns_options == whole
    [mount] = config_of(spec).mounts
    assert mount.uid_mappings == mount.gid_mappings == mapped


def test_the_rest_of_a_container() -> None:
    made = config_of(
        container(
            command=("a",),
            args=("b",),
            environment=(("K", "ü"),),
            mounts=(
                Mount("/host", "/in", read_only=True, propagation="rslave"),
                Mount("/folder", "/image", image="sha256:2", sub_path="etc"),
            ),
            devices=(HostDevice("/dev/a", "/dev/b", "r"),),
            annotations={"vendor.example/x": "y"},
            stop_signal="SIGUSR1",
            limits=ContainerLimits(cpu_quota_us=50_000, memory_bytes=1 << 20, pids=9),
            image_name="web:1",
        )
    )
    assert (made.command, made.args) == (["a"], ["b"])
    assert made.envs == [cri.KeyValue("K", "ü".encode())]
    host, image = made.mounts
    assert (host.host_path, host.container_path, host.readonly, host.propagation) == (
        "/host",
        "/in",
        True,
        1,
    )
    assert (image.host_path, image.image_sub_path) == ("", "etc")
    assert image.image is not None
    assert image.image.image == "sha256:2"
    assert made.devices == [cri.Device("/dev/b", "/dev/a", "r")]
    assert made.annotations["vendor.example/x"] == "y"
    assert made.annotations[wire.STOP_SIGNAL_ANNOTATION] == "SIGUSR1"
    assert wire.pids_of(made.annotations) == 9
    assert made.log_path == "app/1.log"
    assert made.linux is not None
    assert made.linux.resources is not None
    assert made.linux.resources.memory_limit_in_bytes == 1 << 20
    assert (made.linux.resources.cpu_quota, made.linux.resources.cpu_period) == (50_000, 100_000)


@pytest.mark.parametrize("text", ["", "x", "-1", "1" * 10, "\u0661"])
def test_no_number_is_no_limit_of_processes(text: str) -> None:
    assert wire.pids_of({wire.PIDS_ANNOTATION: text}) == 0


def status(**fields: Any) -> cri.ContainerStatus:
    labels = config_of(container(image_name="web:1", image_digest="web@sha256:9")).labels
    found = cri.ContainerStatus("c", labels=labels, created_at=1_000_000_000)
    return msgspec.structs.replace(found, **fields)


def test_a_container_that_runs() -> None:
    found = status(state=cri.RUNNING, started_at=2_000_000_000, log_path="/l")
    record = wire.container_record(found, {"info": '{"pid": 7}'}, OWNER)
    assert record is not None
    assert (record.phase, record.pid, record.attempt, record.name) == ("running", 7, 1, "app")
    assert record.started_at == datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)
    assert (record.image, record.image_id, record.log_path) == ("web:1", "web@sha256:9", "/l")


def test_a_container_that_has_ended() -> None:
    found = status(
        state=cri.EXITED, started_at=3_000_000_000, finished_at=2_000_000_000, exit_code=137
    )
    for reason, killed in (("OOMKilled", True), ("Error", False)):
        changed = msgspec.structs.replace(found, reason=reason, message="m")
        record = wire.container_record(changed, {"info": '{"pid": 7}'}, OWNER)
        assert record is not None
        assert (record.phase, record.pid, record.exit_code) == ("exited", 0, 137)
        assert (record.oom_killed, record.error) == (killed, "")
        assert record.finished_at == record.started_at  # the engine may say it ended before


def test_a_start_that_was_refused() -> None:
    unset = -6_795_364_578_871_345_152  # what an engine makes of no date
    found = status(state=cri.EXITED, reason="StartError", message="no such file", finished_at=unset)
    record = wire.container_record(found, {}, OWNER)
    assert record is not None
    assert (record.error, record.started_at) == ("no such file", None)
    assert record.finished_at == record.created_at


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"io.kubelite.node": "one"},
        {"io.kubelite.attempt": "x"},
        {"io.kubernetes.pod.uid": "../etc"},
        {"io.kubelite.owner": "another"},
    ],
)
def test_containers_of_others_have_no_record(labels: dict[str, str]) -> None:
    mine = status().labels
    found = status(
        labels={**mine, **labels}
        if len(labels) and labels != {"io.kubelite.node": "one"}
        else labels
    )
    assert wire.container_record(found, {}, OWNER) is None


@pytest.mark.parametrize(
    "info", [{}, {"info": "{"}, {"info": "[]"}, {"info": '{"pid": "7"}'}, {"info": '{"pid": -1}'}]
)
def test_details_that_cannot_be_read_are_none(info: dict[str, str]) -> None:
    record = wire.container_record(status(state=cri.RUNNING), info, OWNER)
    assert record is not None
    assert record.pid == 0


def test_a_sandbox_that_has_ended() -> None:
    labels = sandbox_config(sandbox()).labels
    found = cri.SandboxStatus("s", state=1, created_at=5_000_000_000, labels=labels)
    record = wire.sandbox_record(found, {"info": '{"pid": 7}'}, OWNER)
    assert record is not None
    assert record.is_sandbox
    assert (record.phase, record.pid, record.attempt) == ("exited", 0, 2)


@pytest.mark.parametrize(
    ("reference", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("user/app", "docker.io/user/app:latest"),
        ("localhost/app:1", "localhost/app:1"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("kubelite.local/hello:1", "kubelite.local/hello:1"),
        ("a.example/b@sha256:" + "0" * 64, "a.example/b@sha256:" + "0" * 64),
        ("sha256:" + "0" * 64, "sha256:" + "0" * 64),
    ],
)
def test_references_have_their_registry(reference: str, full: str) -> None:
    assert wire.full_name(reference) == full


def test_a_login_of_docker_hub_is_for_the_host_that_is_asked() -> None:
    assert wire.auth_of(None) is None
    hub = wire.auth_of(Credentials("docker.io", "me", "secret"))
    assert hub is not None
    assert hub.server_address == "https://registry-1.docker.io"
    other = wire.auth_of(Credentials("r.example:5000", "me", "secret"))
    assert other is not None
    assert other.server_address == "r.example:5000"


def test_images() -> None:
    found = cri.Image("sha256:1", ["web:1"], ["web@sha256:9"], 5, username="nobody")
    info = {
        "info": '{"imageSpec": {"config": {"User": "7", "Volumes": {"/data": {}}, "StopSignal": "SIGINT"}}}'
    }
    image = wire.image_of(found, info)
    assert (image.id, image.names, image.digest) == (
        "sha256:1",
        ("web@sha256:9", "web:1"),
        "web@sha256:9",
    )
    assert (image.user, image.volumes, image.pinned) == ("7", ("/data",), False)
    assert wire.stop_signal_of(info) == "SIGINT"
    assert wire.image_of(found).user == "nobody"
    assert wire.image_of(msgspec.structs.replace(found, pinned=True)).pinned


@pytest.mark.parametrize(
    ("config", "systemd", "snapshotter"),
    [
        ("", False, ""),
        ("[]", False, ""),
        ('{"systemdCgroup": true}', True, ""),
        (
            '{"containerd": {"snapshotter": "overlayfs", "runtimes": {"runc": {"options": {"SystemdCgroup": true}}}}}',
            True,
            "overlayfs",
        ),
    ],
)
def test_settings_of_an_engine(config: str, systemd: bool, snapshotter: str) -> None:
    status_of_engine = cri.StatusResponse({"config": config})
    assert wire.uses_systemd(status_of_engine) is systemd
    assert wire.snapshotter_of(status_of_engine) == snapshotter


def test_handlers() -> None:
    older = cri.StatusResponse({"config": '{"containerd": {"runtimes": {"runc": {}, "kata": {}}}}'})
    assert wire.handlers_of(older) == (Handler(), Handler("kata"), Handler("runc"))
    newer = cri.StatusResponse(
        runtime_handlers=[
            cri.RuntimeHandler("", cri.HandlerFeatures(user_namespaces=True)),
            cri.RuntimeHandler("runc"),
        ]
    )
    assert wire.handlers_of(newer) == (Handler("", True), Handler("runc"))


BARE = "ab" * 32


def test_a_sandbox_of_crio_has_a_process_whatever_namespaces_it_shares() -> None:
    for spec in (sandbox(), sandbox(host_pid=True)):
        linux = sandbox_config(spec, is_crio=True).linux
        assert linux is not None
        assert linux.security_context is not None
        assert linux.security_context.namespace_options is not None
        assert linux.security_context.namespace_options.pid == cri.POD
        # It makes the settings of the kernel before the pod has a link.
        assert wire.NO_IPV6_ON_LINK not in linux.sysctls
        assert linux.sysctls["net.ipv6.conf.default.disable_ipv6"] == "1"


def test_crio_takes_ids_of_images_without_their_kind() -> None:
    reference = f"sha256:{BARE}"
    assert wire.image_spec(reference).image == reference
    assert wire.image_spec(reference, is_crio=True).image == BARE
    assert wire.image_spec("web", is_crio=True).image == "docker.io/library/web:latest"
    mount = Mount("/made", "/seen", image=reference, image_name="web:1")
    [made] = config_of(container(mounts=(mount,)), is_crio=True).mounts
    assert made.image == cri.ImageSpec(BARE, "web:1", BARE)
    assert wire.image_of(cri.Image(id=BARE)).id == reference


def test_an_image_is_mounted_read_only_in_any_case() -> None:
    [made] = config_of(container(mounts=(Mount("/made", "/seen", image="sha256:1"),))).mounts
    assert made.readonly


def test_the_id_of_a_containers_image_is_preferred_to_its_name() -> None:
    labels = own_labels(container(), OWNER)
    status = cri.ContainerStatus("c", labels=labels, image_ref="web@sha256:1", image_id=BARE)
    record = wire.container_record(status, {}, OWNER)
    assert record is not None
    assert record.image_id == f"sha256:{BARE}"
