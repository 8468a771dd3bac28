"""Rules of security contexts."""

from typing import Any

import pytest
from fakes.rule_samples import container, lines, pod

from kubelite.api.registry.rules import pods


def findings(**spec: Any) -> list[str]:
    return lines(pods.validate(pod(**spec)))


@pytest.mark.parametrize("place", ["pod", "container"])
@pytest.mark.parametrize(
    ("profile", "finding"),
    [
        ({"type": "Localhost", "localhostProfile": "audit.json"}, ""),
        ({"type": "Localhost", "localhostProfile": "team/audit.json"}, ""),
        ({"type": "Localhost", "localhostProfile": "/etc/shadow"}, "must be a relative path"),
        ({"type": "Localhost", "localhostProfile": "a/../../b"}, "must not contain '..'"),
        ({"type": "Localhost"}, "must be set when seccomp type is Localhost"),
        (
            {"type": "RuntimeDefault", "localhostProfile": "a"},
            "can only be set when seccomp type is Localhost",
        ),
    ],
)
def test_seccomp_profiles_are_files_below_one_folder(
    place: str, profile: dict[str, Any], finding: str
) -> None:
    context = {"seccompProfile": profile}
    spec: dict[str, Any] = (
        {"securityContext": context}
        if place == "pod"
        else {"containers": [container(securityContext=context)]}
    )
    found = findings(**spec)
    assert [finding in line for line in found] == ([True] if finding else [])


@pytest.mark.parametrize(
    ("profile", "finding"),
    [
        ({"type": "Localhost", "localhostProfile": "k8s-apparmor-example"}, ""),
        ({"type": "Localhost", "localhostProfile": " x"}, "must not be padded with whitespace"),
        ({"type": "Localhost", "localhostProfile": ""}, "must be set when AppArmor type is"),
        ({"type": "Localhost", "localhostProfile": "a" * 4096}, "may not be more than 4095 bytes"),
        ({"type": "Unconfined", "localhostProfile": "a"}, "can only be set when AppArmor type is"),
    ],
)
def test_app_armor_profiles_have_names(profile: dict[str, Any], finding: str) -> None:
    found = findings(securityContext={"appArmorProfile": profile})
    assert [finding in line for line in found] == ([True] if finding else [])


@pytest.mark.parametrize(
    ("name", "spec", "refused"),
    [
        ("net.ipv4.tcp_syncookies", {}, False),
        ("net.ipv4.tcp_syncookies", {"hostNetwork": True}, True),
        ("net/ipv4/tcp_syncookies", {"hostNetwork": True}, True),
        ("kernel.shm_rmid_forced", {"hostIPC": True}, True),
        ("kernel/shm_rmid_forced", {"hostIPC": True}, True),
        ("fs.mqueue.msg_max", {"hostIPC": True}, True),
        ("kernel.semaphore", {"hostIPC": True}, False),
        ("kernel.shm_rmid_forced", {"hostNetwork": True}, False),
        ("net.ipv4.tcp_syncookies\n", {}, True),
    ],
)
def test_a_sysctl_is_not_set_in_a_namespace_of_the_host(
    name: str, spec: dict[str, Any], refused: bool
) -> None:
    found = findings(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec)
    assert [line.startswith("spec.securityContext.sysctls[0].name: ") for line in found] == (
        [True] if refused else []
    )


def test_a_pod_for_windows_has_nothing_of_linux() -> None:
    own = {"privileged": True, "allowPrivilegeEscalation": False, "procMount": "Default"}
    shared = {
        "runAsUser": 0,
        "fsGroup": 1,
        "sysctls": [{"name": "net.core.somaxconn", "value": "1"}],
    }
    found = findings(
        os={"name": "windows"},
        hostPID=True,
        hostUsers=True,
        securityContext=shared,
        containers=[container(securityContext={**own, "allowPrivilegeEscalation": True})],
        initContainers=[
            container(name="first", securityContext={"capabilities": {"add": ["ALL"]}})
        ],
    )
    assert sorted(found) == [
        f"spec.{path}: Forbidden: cannot be set for a windows pod"
        for path in (
            "containers[0].securityContext.allowPrivilegeEscalation",
            "containers[0].securityContext.privileged",
            "containers[0].securityContext.procMount",
            "hostPID",
            "hostUsers",
            "initContainers[0].securityContext.capabilities",
            "securityContext.fsGroup",
            "securityContext.runAsUser",
            "securityContext.sysctls",
        )
    ]
    assert findings(os={"name": "windows"}) == []


def test_a_pod_for_linux_has_no_options_of_windows() -> None:
    context = {"windowsOptions": {"hostProcess": False}}
    found = findings(
        os={"name": "linux"},
        securityContext=context,
        containers=[container(securityContext=context)],
    )
    assert found == [
        f"spec.{path}securityContext.windowsOptions: Forbidden: "
        "windows options cannot be set for a linux pod"
        for path in ("", "containers[0].")
    ]


def test_raw_devices_are_not_for_user_namespaces() -> None:
    device = container(volumeDevices=[{"name": "claim", "devicePath": "/dev/x"}])
    volumes = [{"name": "claim", "persistentVolumeClaim": {"claimName": "data"}}]
    assert findings(containers=[device], volumes=volumes) == []
    assert findings(containers=[device], volumes=volumes, hostUsers=False) == [
        "spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false"
    ]


def test_proc_is_unmasked_only_beside_a_user_namespace() -> None:
    unmasked = [container(securityContext={"procMount": "Unmasked"})]
    assert findings(containers=unmasked, hostUsers=False) == []
    for host_users in (None, True):
        assert findings(containers=unmasked, hostUsers=host_users) == [
            (
                'spec.containers[0].securityContext.procMount: Invalid value: "Unmasked": '
                "`hostUsers` must be false to use `Unmasked`"
            )
        ]
