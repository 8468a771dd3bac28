"""Warnings about pods and templates, each in Kubernetes' words."""

from typing import Any

import pytest
from fakes.rule_samples import container, pod, pod_spec

from kubelite.api.registry.rules.warnings import pods

NULL = "a null labelSelector results in matching no pod"
HARD, SOFT = (
    "requiredDuringSchedulingIgnoredDuringExecution",
    "preferredDuringSchedulingIgnoredDuringExecution",
)


def test_a_good_pod_has_none() -> None:
    assert list(pods.create(pod())) == []


def _node_affinity(**terms: Any) -> dict[str, Any]:
    return {"affinity": {"nodeAffinity": terms}}


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        (
            {"nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            [
                (
                    "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; "
                    'use "kubernetes.io/os" instead'
                )
            ],
        ),
        (
            _node_affinity(
                **{
                    HARD: {
                        "nodeSelectorTerms": [
                            {"matchExpressions": [{"key": "node-role.kubernetes.io/master"}]}
                        ]
                    }
                }
            ),
            [
                (
                    f"spec.affinity.nodeAffinity.{HARD}.nodeSelectorTerms[0].matchExpressions[0].key: "
                    'node-role.kubernetes.io/master is use "node-role.kubernetes.io/control-plane" instead'
                )
            ],
        ),
        (
            _node_affinity(
                **{
                    SOFT: [
                        {
                            "weight": 1,
                            "preference": {
                                "matchExpressions": [
                                    {"key": "beta.kubernetes.io/arch", "values": ["a"]},
                                    {"key": "zone", "values": ["a", "x" * 64]},
                                ]
                            },
                        }
                    ]
                }
            ),
            [
                (
                    f"spec.affinity.nodeAffinity.{SOFT}[0].preference.matchExpressions[0].key: "
                    'beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead'
                ),
                (
                    f"spec.affinity.nodeAffinity.{SOFT}[0].preference.matchExpressions[1].values[1]: "
                    f"{'x' * 64} is invalid, must be no more than 63 characters"
                ),
            ],
        ),
        (
            {
                "topologySpreadConstraints": [
                    {"topologyKey": "failure-domain.beta.kubernetes.io/zone"},
                    {"topologyKey": "zone", "labelSelector": {}},
                ]
            },
            [
                (
                    "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone "
                    'is deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
                ),
                f"spec.topologySpreadConstraints[0].labelSelector: {NULL}",
            ],
        ),
        (
            {
                "affinity": {
                    "podAffinity": {HARD: [{"topologyKey": "zone"}]},
                    "podAntiAffinity": {
                        SOFT: [{"weight": 1, "podAffinityTerm": {"topologyKey": "zone"}}]
                    },
                }
            },
            [
                f"spec.affinity.podAffinity.{HARD}[0].labelSelector: {NULL}",
                f"spec.affinity.podAntiAffinity.{SOFT}[0].podAffinityTerm.labelSelector: {NULL}",
            ],
        ),
        (
            {"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}, {"ip": "fd00::0"}]},
            [
                'spec.hostAliases[1].ip: duplicate ip "10.0.0.1"',
                (
                    'spec.hostAliases[2].ip: IPv6 address "fd00::0" should be in RFC 5952 canonical '
                    'format ("fd00::")'
                ),
            ],
        ),
        (
            {"imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]},
            [
                'spec.imagePullSecrets[1].name: duplicate name "a"',
                'spec.imagePullSecrets[2].name: invalid empty name ""',
            ],
        ),
        (
            {"overhead": {"memory": "100m", "cpu": "100m"}},
            ['spec.overhead[memory]: fractional byte value "100m" is invalid, must be an integer'],
        ),
        (
            {"terminationGracePeriodSeconds": -1},
            [
                (
                    "spec.terminationGracePeriodSeconds: must be >= 0; "
                    "negative values are invalid and will be treated as 1"
                )
            ],
        ),
        (
            {"dnsConfig": {"nameservers": ["010.0.0.1"]}},
            [
                (
                    'spec.dnsConfig.nameservers[0]: non-standard IP address "010.0.0.1" is invalid: '
                    'use "10.0.0.1"'
                )
            ],
        ),
    ],
)
def test_fields(fields: dict[str, Any], warnings: list[str]) -> None:
    assert list(pods.create(pod(**fields))) == warnings
    moved = [f"spec.template.{warning}" for warning in warnings]
    assert list(pods.template("spec.template", {"spec": pod_spec(**fields)})) == moved


@pytest.mark.parametrize(
    ("key", "about"),
    [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            'non-functional in v1.16+; use the "priorityClassName" field instead',
        ),
        (
            "security.alpha.kubernetes.io/sysctls",
            'non-functional in v1.11+; use the "sysctls" field instead',
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            'non-functional in v1.11+; use the "sysctls" field instead',
        ),
        (
            "seccomp.security.alpha.kubernetes.io/pod",
            'non-functional in v1.27+; use the "seccompProfile" field instead',
        ),
        (
            "container.seccomp.security.alpha.kubernetes.io/web",
            'non-functional in v1.27+; use the "seccompProfile" field instead',
        ),
        (
            "container.apparmor.security.beta.kubernetes.io/web",
            'deprecated since v1.30; use the "appArmorProfile" field instead',
        ),
    ],
)
def test_annotations_that_became_fields(key: str, about: str) -> None:
    old = pod()
    old["metadata"]["annotations"] = {key: "runtime/default", "other": "kept"}
    assert list(pods.create(old)) == [f"metadata.annotations[{key}]: {about}"]


def test_an_annotation_beside_its_field_is_fine() -> None:
    profiles = {"seccompProfile": {"type": "RuntimeDefault"}}
    both = pod(
        securityContext={**profiles, "appArmorProfile": {"type": "RuntimeDefault"}},
        containers=[container(securityContext=profiles)],
    )
    both["metadata"]["annotations"] = {
        "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
        "container.seccomp.security.alpha.kubernetes.io/web": "runtime/default",
        "container.apparmor.security.beta.kubernetes.io/web": "runtime/default",
    }
    assert list(pods.create(both)) == []


def test_a_name_with_dots() -> None:
    dotted = pod()
    dotted["metadata"]["name"] = "web.0"
    assert [one.partition(";")[0] for one in pods.create(dotted)] == [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior"
    ]


def test_addresses_that_a_node_reports() -> None:
    status = {"podIPs": [{"ip": "010.0.0.1"}], "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "FD00::1"}]}
    told = list(pods.status({"metadata": {}, "status": status}, {}))
    assert [one.partition(":")[0] for one in told] == [
        "status.podIPs[0].ip",
        "status.hostIPs[1].ip",
    ]
