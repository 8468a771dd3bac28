"""Rules of ingresses and network policies."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines

from kubelite.api.registry.rules import networking

BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
INGRESS = {
    "spec": {
        "rules": [
            {
                "host": "a.b",
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]},
            }
        ]
    }
}
POLICY = {
    "spec": {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "ports": [{"port": 80, "protocol": "TCP"}],
                "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
            }
        ],
    }
}


def test_good_ones_pass() -> None:
    assert lines(networking.ingress(INGRESS)) == []
    assert lines(networking.policy(POLICY)) == []
    assert lines(networking.ingress_class({"spec": {"controller": "x.io/y"}})) == []
    assert lines(networking.service_range({"spec": {"cidrs": ["10.43.0.0/16"]}})) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "spec.rules",
            [],
            "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified",
        ),
        (
            "spec.rules.0.host",
            "1.2.3.4",
            'spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
        ),
        (
            "spec.rules.0.http.paths.0.path",
            "x",
            'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
        ),
        (
            "spec.rules.0.http.paths.0.backend",
            {},
            (
                'spec.rules[0].http.paths[0].backend: Invalid value: "": '
                "resource or service backend is required"
            ),
        ),
        (
            "spec.rules.0.http.paths.0.pathType",
            None,
            "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
        ),
    ],
)
def test_wrong_ingresses_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(networking.ingress(changed(INGRESS, path, value)))


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (
            "spec.ingress.0.from.0.ipBlock.except",
            ["11.0.0.0/8"],
            (
                'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/8": '
                "must be a strict subset of `cidr`"
            ),
        ),
        (
            "spec.ingress.0.from.0",
            {},
            "spec.ingress[0].from[0]: Required value: must specify a peer",
        ),
        (
            "spec.ingress.0.ports.0.endPort",
            70,
            (
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: "
                "must be greater than or equal to `port`"
            ),
        ),
        (
            "spec.policyTypes",
            ["Sideways"],
            'spec.policyTypes[0]: Unsupported value: "Sideways": supported values: "Ingress", "Egress"',
        ),
    ],
)
def test_wrong_policies_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(networking.policy(changed(POLICY, path, value)))
