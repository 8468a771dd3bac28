from typing import Any

import pytest

from kubelite.api.registry.admission.pod_security_checks import LATEST, Pod, Version, failures

SAFE: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def details(
    spec: dict[str, Any],
    version: Version = LATEST,
    *,
    restricted: bool = False,
    annotations: dict[str, str] | None = None,
    nodes_isolate_users: bool = False,
) -> list[str]:
    pod = Pod(spec, annotations or {}, version, nodes_isolate_users)
    found = failures(pod, restricted=restricted)
    return [f"{failure.reason} ({failure.detail})" for failure in found]


def container(name: str = "a", **security: Any) -> dict[str, Any]:
    return {"name": name, "securityContext": security}


def of(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"containers": list(containers) or [{"name": "a"}], **spec}


@pytest.mark.parametrize(
    ("spec", "detail"),
    [
        (of(hostNetwork=True, hostPID=True), "host namespaces (hostNetwork=true, hostPID=true)"),
        (of(volumes=[{"name": "v", "hostPath": {}}]), 'hostPath volumes (volume "v")'),
        (
            of(
                {"name": "a", "ports": [{"hostPort": 80}]},
                {"name": "b", "ports": [{"hostPort": 443}, {"hostPort": 80}]},
            ),
            'hostPort (containers "a", "b" use hostPorts 443, 80)',
        ),
        (
            of({"name": "a", "ports": [{"hostPort": 80}]}),
            'hostPort (container "a" uses hostPort 80)',
        ),
        (
            of(container(privileged=True)),
            'privileged (container "a" must not set securityContext.privileged=true)',
        ),
        (
            of(container(capabilities={"add": ["SYS_ADMIN", "CHOWN", "BPF"]})),
            (
                'non-default capabilities (container "a" must not include "BPF", "SYS_ADMIN" in '
                "securityContext.capabilities.add)"
            ),
        ),
        (
            of(container(procMount="Unmasked")),
            'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            of(securityContext={"seccompProfile": {"type": "Unconfined"}}),
            'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (
            of(
                container(appArmorProfile={"type": "Unconfined"}),
                securityContext={"appArmorProfile": {"type": "x"}},
            ),
            (
                'forbidden AppArmor profiles (pod and container "a" must not set AppArmor profile type to '
                '"Unconfined", "x")'
            ),
        ),
        (
            of(container(seLinuxOptions={"type": "spc_t", "user": "u", "role": "r"})),
            (
                'seLinuxOptions (container "a" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may '
                "not be set; role may not be set)"
            ),
        ),
        (
            of(securityContext={"sysctls": [{"name": "kernel.msgmax"}]}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            of(securityContext={"windowsOptions": {"hostProcess": True}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            of({"name": "a", "livenessProbe": {"httpGet": {"host": "x.example"}}}),
            'probe or lifecycle host (container "a" uses probe or lifecycle host "x.example")',
        ),
    ],
)
def test_baseline(spec: dict[str, Any], detail: str) -> None:
    assert details(spec) == [detail]


@pytest.mark.parametrize(
    ("spec", "detail"),
    [
        (
            of(container(**SAFE | {"allowPrivilegeEscalation": True})),
            'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
        ),
        (
            of(container(**SAFE | {"capabilities": {"add": ["CHOWN"]}})),
            (
                'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; '
                'container "a" must not include "CHOWN" in securityContext.capabilities.add)'
            ),
        ),
        (
            of(
                container(**SAFE), volumes=[{"name": "v", "nfs": {}}, {"name": "w", "hostPath": {}}]
            ),
            'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
        ),
        (
            of(container(**SAFE | {"runAsNonRoot": None})),
            'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
        ),
        (
            of(container(**SAFE | {"runAsNonRoot": False})),
            'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)',
        ),
        (
            of(container(**SAFE, runAsUser=0)),
            'runAsUser=0 (container "a" must not set runAsUser=0)',
        ),
        (
            of(container(**SAFE | {"seccompProfile": None})),
            (
                'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" '
                'or "Localhost")'
            ),
        ),
    ],
)
def test_restricted(spec: dict[str, Any], detail: str) -> None:
    assert details(spec, restricted=True) == [detail]
    assert details(of(container(**SAFE)), restricted=True) == []


def test_a_plain_pod() -> None:
    assert details(of()) == []
    assert [one.partition(" (")[0] for one in details(of(), restricted=True)] == [
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "runAsNonRoot != true",
        "seccompProfile",
    ]


def test_versions() -> None:
    sysctl = of(securityContext={"sysctls": [{"name": "net.ipv4.tcp_rmem"}]})
    assert details(sysctl) == []
    assert details(sysctl, (1, 31)) == ["forbidden sysctls (net.ipv4.tcp_rmem)"]
    probe = of({"name": "a", "livenessProbe": {"tcpSocket": {"host": "x"}}})
    assert details(probe, (1, 33)) == []
    assert [one.partition(" (")[0] for one in details(of(), (1, 7), restricted=True)] == [
        "runAsNonRoot != true"
    ]
    key = "container.seccomp.security.alpha.kubernetes.io/a"
    assert details(of(), (1, 18), annotations={key: "unconfined"}) == [
        f'seccompProfile (forbidden annotation {key}="unconfined")'
    ]


def test_windows_and_user_namespaces() -> None:
    windows = details(of(os={"name": "windows"}), restricted=True)
    assert [one.partition(" (")[0] for one in windows] == ["runAsNonRoot != true"]
    apart = of(container(**SAFE | {"runAsNonRoot": None}, runAsUser=0), hostUsers=False)
    assert details(apart, restricted=True, nodes_isolate_users=True) == []
    assert len(details(apart, (1, 34), restricted=True, nodes_isolate_users=True)) == 2


@pytest.mark.parametrize("restricted", [True, False])
def test_to_ask_for_a_user_namespace_relaxes_nothing(restricted: bool) -> None:
    asking = of(container(runAsUser=0, procMount="Unmasked"), hostUsers=False)
    plain = of(container(runAsUser=0, procMount="Unmasked"))
    assert details(asking, restricted=restricted) == details(plain, restricted=restricted)
    assert len(details(asking, nodes_isolate_users=True)) < len(details(asking))


def test_every_kind_of_container_counts() -> None:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        assert len(details({field: [container(privileged=True)]})) == 1
