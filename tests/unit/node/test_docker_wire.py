"""Bodies for and records from the Docker API."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubelite.node.container_owner import ContainerOwner
from kubelite.node.docker_wire import (
    NO_IPV6,
    container_body,
    handlers_of,
    image_of,
    is_reference,
    record_of,
    sandbox_body,
    with_tag,
)
from kubelite.node.log_policy import LogPolicy
from kubelite.node.profiles import LoadedProfiles
from kubelite.node.runtime import (
    ContainerLimits,
    ContainerSpec,
    Handler,
    Mount,
    Profile,
    SandboxSpec,
)

OWNER = ContainerOwner("0123", "node", Path("/nowhere"))
POD: dict[str, Any] = {"pod_uid": "u", "pod_name": "p", "namespace": "ns"}


def _sandbox(**fields: Any) -> dict[str, Any]:
    spec = SandboxSpec(**POD, attempt=0, hostname="p", **fields)
    return sandbox_body(spec, OWNER, "pause", may_protect=False, has_ipv6=True)


def _container(**fields: Any) -> dict[str, Any]:
    spec = ContainerSpec(**POD, name="app", attempt=2, sandbox_id="s", image="i", **fields)
    return _body(spec)


def _body(
    spec: ContainerSpec,
    profiles: LoadedProfiles = LoadedProfiles(),  # noqa: B008 - it is frozen
    privileges: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return container_body(
        spec, OWNER, profiles, may_protect=False, privileges=privileges or {"Privileged": True}
    )


def _options(**fields: Any) -> list[str]:
    options: list[str] = _container(**fields)["HostConfig"]["SecurityOpt"]
    return options


def test_a_sandbox_has_no_network_of_the_engine() -> None:
    body = _sandbox()
    assert body["HostConfig"]["NetworkMode"] == "none"
    assert body["HostConfig"]["IpcMode"] == "shareable"
    assert body["Hostname"] == "p"
    assert _sandbox(host_network=True)["HostConfig"]["NetworkMode"] == "host"


@pytest.mark.parametrize(
    ("logs", "config"),
    [
        (LogPolicy(), {"max-size": "10485760", "max-file": "5"}),
        (LogPolicy(1000, 2), {"max-size": "1000", "max-file": "2"}),
        (LogPolicy(0), None),
    ],
)
def test_the_engine_keeps_as_much_output_as_the_node_says(
    logs: LogPolicy, config: dict[str, str] | None
) -> None:
    spec = ContainerSpec(**POD, name="app", attempt=2, sandbox_id="s", image="i")
    body = container_body(
        spec, OWNER, LoadedProfiles(), may_protect=False, privileges={}, logs=logs
    )
    assert body["HostConfig"]["LogConfig"].get("Config") == config
    assert body["HostConfig"]["LogConfig"]["Type"] == "json-file"


def test_a_container_joins_its_sandbox() -> None:
    host = _container()["HostConfig"]
    assert (host["NetworkMode"], host["IpcMode"], host["PidMode"]) == (
        "container:s",
        "container:s",
        "",
    )
    assert _container(shared_pid_with="s")["HostConfig"]["PidMode"] == "container:s"


def test_command_and_arguments_replace_those_of_the_image_only_when_given() -> None:
    assert "Entrypoint" not in _container()
    assert "Cmd" not in _container()
    body = _container(command=("a",), args=("b", "c"))
    assert (body["Entrypoint"], body["Cmd"]) == (["a"], ["b", "c"])


def test_limits_mounts_and_scores() -> None:
    limits = ContainerLimits(
        cpu_shares=512, cpu_quota_us=5000, memory_bytes=1024, oom_score_adj=-997
    )
    host = _container(limits=limits, mounts=(Mount("/a", "/b", True),))["HostConfig"]
    assert (host["CpuShares"], host["CpuQuota"], host["Memory"], host["MemorySwap"]) == (
        512,
        5000,
        1024,
        1024,
    )
    assert host["OomScoreAdj"] == 0, "this host refuses negative scores"
    assert host["Mounts"][0]["ReadOnly"] is True


def test_privileges_are_those_the_host_allows() -> None:
    assert _container(privileged=True)["HostConfig"]["Privileged"] is True


INSPECTED = {
    "Id": "c", "Created": "2026-05-01T12:00:00.123456789Z", "Image": "sha256:1",
    "State": {
        "Running": False, "Status": "exited", "ExitCode": 3, "OOMKilled": True, "Error": "", "Pid": 0,
        "StartedAt": "2026-05-01T12:00:01Z", "FinishedAt": "2026-05-01T12:00:02Z",
    },
    "Config": {"Labels": {
        "io.kubelite.node": "node", "io.kubelite.attempt": "2", "io.kubernetes.pod.uid": "u",
        "io.kubernetes.container.name": "app",
    }},
}  # fmt: skip


def _changed(**state: Any) -> dict[str, Any]:
    copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(INSPECTED))
    copied["State"].update(state)
    return copied


def test_a_record_is_read_from_labels_and_state() -> None:
    record = record_of(INSPECTED)
    assert record is not None
    assert (record.phase, record.exit_code, record.oom_killed) == ("exited", 3, True)
    assert (record.name, record.attempt, record.pod_uid) == ("app", 2, "u")


def test_one_that_never_started_has_ended_only_if_it_failed() -> None:
    never = {
        "Status": "created",
        "StartedAt": "0001-01-01T00:00:00Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    record = record_of(_changed(**never))
    assert record is not None
    assert record.phase == "created"
    record = record_of(_changed(**never, Error="no such file"))
    assert record is not None
    assert (record.phase, record.started_at) == ("exited", None)
    assert record.finished_at is not None


def test_a_container_of_somebody_else_is_none() -> None:
    foreign = {**INSPECTED, "Config": {"Labels": None}}
    assert record_of(foreign) is None


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("io.kubelite.attempt", "x"),
        ("io.kubelite.attempt", "-1"),
        ("io.kubelite.attempt", "1" * 5000),
        ("io.kubernetes.pod.uid", ""),
        ("io.kubernetes.pod.uid", "../../../etc"),
        ("io.kubernetes.pod.uid", "*"),
        ("io.kubernetes.container.name", ".."),
        ("io.kubernetes.container.name", 'a"} 1\n'),
        ("io.kubernetes.pod.name", "a/b"),
        ("io.kubernetes.pod.namespace", "a\n"),
    ],
)
def test_labels_that_an_image_brought_along_make_no_record(label: str, value: str) -> None:
    """Whoever runs an image on this engine gives its container the image's labels."""
    foreign = _changed()
    foreign["Config"]["Labels"][label] = value
    assert record_of(foreign) is None


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("busybox", "busybox:latest"),
        ("busybox:1", "busybox:1"),
        ("host:5000/a", "host:5000/a:latest"),
        ("a@sha256:1", "a@sha256:1"),
    ],
)
def test_with_tag(reference: str, expected: str) -> None:
    assert with_tag(reference) == expected


def test_an_image_names_its_digests_and_tags() -> None:
    image = image_of({"Id": "i", "RepoTags": ["<none>:<none>"], "RepoDigests": None, "Size": 5})
    assert image.names == ()
    image = image_of(
        {"Id": "i", "RepoTags": ["a:1"], "RepoDigests": ["a@sha256:1"], "Config": {"User": "7"}}
    )
    assert (image.names, image.digest, image.user) == (("a@sha256:1", "a:1"), "a@sha256:1", "7")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", True),
        ("docker.io/library/busybox:1.36", True),
        ("localhost:5000/a/b_c/d--e:V1.2-x", True),
        (f"quay.io/x/y:1@sha256:{'a' * 64}", True),
        (f"sha256:{'a' * 64}", True),
        ("[::1]:5000/a", True),
        ("", False),
        ("x/Upper", False),
        ("a//b:1", False),
        ("../../containers/json", False),
        ("a b", False),
        ("a:1?x=y", False),
        ("a\n", False),
        (f"a@sha256:{'a' * 31}", False),
    ],
)
def test_what_names_an_image(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


def test_a_sandbox_makes_its_own_network_namespace_without_ipv6_on_its_links() -> None:
    own, given = _sandbox(), _sandbox(host_network=True)
    assert (own["NetworkDisabled"], given["NetworkDisabled"]) == (True, False)
    assert own["HostConfig"]["Sysctls"] == {NO_IPV6: "1"}
    assert given["HostConfig"]["Sysctls"] == {}
    overridden = _sandbox(sysctls={NO_IPV6: "0", "net.core.somaxconn": "9"})
    assert overridden["HostConfig"]["Sysctls"] == {NO_IPV6: "1", "net.core.somaxconn": "9"}


def test_profiles_are_loaded_or_words_of_ours() -> None:
    assert _options() == []
    unconfined = Profile("Unconfined")
    assert _options(seccomp=unconfined, apparmor=unconfined) == [
        "seccomp=unconfined",
        "apparmor=unconfined",
    ]
    local = Profile("Localhost", "unconfined")
    spec = ContainerSpec(
        **POD, name="app", attempt=0, sandbox_id="s", image="i", seccomp=local, apparmor=local
    )
    body = _body(spec, LoadedProfiles('{"defaultAction":"SCMP_ACT_ERRNO"}', "web"))
    assert body["HostConfig"]["SecurityOpt"] == [
        'seccomp={"defaultAction":"SCMP_ACT_ERRNO"}',
        "apparmor=web",
    ]


@pytest.mark.parametrize("loaded", ["", "unconfined", "builtin"])
def test_a_profile_that_was_not_loaded_reaches_no_engine(loaded: str) -> None:
    for field in ("seccomp", "apparmor"):
        spec = ContainerSpec(
            **POD,
            name="app",
            attempt=0,
            sandbox_id="s",
            image="i",
            **{field: Profile("Localhost", "a")},  # type: ignore[arg-type]  # one of two fields of this type
        )
        with pytest.raises(AssertionError):
            _body(spec, LoadedProfiles(loaded, loaded))


def test_a_named_app_armor_profile_holds_for_a_privileged_container() -> None:
    reduced = {"SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined", "label=disable"]}
    spec = ContainerSpec(
        **POD,
        name="app",
        attempt=0,
        sandbox_id="s",
        image="i",
        privileged=True,
        apparmor=Profile("Localhost", "web"),
    )
    options = _body(spec, LoadedProfiles("", "web"), reduced)["HostConfig"]["SecurityOpt"]
    assert options == ["seccomp=unconfined", "label=disable", "apparmor=web"]
    plain = _body(msgspec.structs.replace(spec, apparmor=Profile()), privileges=reduced)
    assert plain["HostConfig"]["SecurityOpt"] == reduced["SecurityOpt"]


def test_labels_for_selinux_and_handlers_reach_the_engine() -> None:
    assert _options(selinux=("user:u", "level:s0:c1,c2"), no_new_privileges=True) == [
        "label=user:u",
        "label=level:s0:c1,c2",
        "no-new-privileges",
    ]
    assert _container(handler="runsc")["HostConfig"]["Runtime"] == "runsc"
    assert _sandbox(handler="runsc")["HostConfig"]["Runtime"] == "runsc"
    assert "Runtime" not in _container()["HostConfig"]
    assert "Runtime" not in _sandbox()["HostConfig"]


def test_no_handler_of_docker_gives_a_pod_users_of_its_own() -> None:
    info = {"Runtimes": {"runsc": {}, "runc": {}}, "SecurityOptions": ["name=userns"]}
    assert handlers_of(info) == (Handler(), Handler("runc"), Handler("runsc"))
    assert not any(handler.user_namespaces for handler in handlers_of(info))
    assert handlers_of({}) == (Handler(),)


def test_namespaces_of_the_host_are_joined_only_when_asked() -> None:
    for made in (_sandbox, _container):
        own = made()["HostConfig"]
        given = made(host_network=True, host_pid=True, host_ipc=True)["HostConfig"]
        for field in ("NetworkMode", "PidMode", "IpcMode", "UTSMode"):
            assert own[field] != "host"
            assert given[field] == "host"


def test_what_a_container_may_do_reaches_the_engine() -> None:
    plain = _container()["HostConfig"]
    assert (plain["CapAdd"], plain["CapDrop"], plain["GroupAdd"]) == ([], [], [])
    assert not plain["ReadonlyRootfs"]
    assert not {"Privileged", "MaskedPaths", "ReadonlyPaths"} & plain.keys()
    body = _container(
        capabilities_add=("NET_ADMIN",),
        capabilities_drop=("ALL",),
        read_only_root=True,
        groups=(7, 0),
        user="5:6",
        stop_signal="SIGUSR1",
        proc_unmasked=True,
    )
    host = body["HostConfig"]
    assert (host["CapAdd"], host["CapDrop"], host["GroupAdd"]) == (
        ["NET_ADMIN"],
        ["ALL"],
        ["7", "0"],
    )
    assert host["ReadonlyRootfs"] is True
    assert (host["MaskedPaths"], host["ReadonlyPaths"]) == ([], [])
    assert (body["User"], body["StopSignal"]) == ("5:6", "SIGUSR1")


def test_mounts_reach_the_engine_as_they_are_asked_for() -> None:
    mounts = (Mount("/a", "/a"), Mount("/b", "/b", read_only=True, propagation="rshared"))
    found = _container(mounts=mounts)["HostConfig"]["Mounts"]
    assert [(mount["ReadOnly"], mount["BindOptions"]["Propagation"]) for mount in found] == [
        (False, "rprivate"),
        (True, "rshared"),
    ]
