"""Rules of services and endpoints."""

from typing import Any

import pytest
from fakes.rule_samples import changed, lines, service

from kubelite.api.registry.rules import services

SLICE = {
    "addressType": "IPv4",
    "endpoints": [{"addresses": ["10.0.0.1"]}],
    "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
}


def test_good_ones_pass() -> None:
    assert lines(services.service(service())) == []
    headless = service(clusterIP="None", clusterIPs=["None"], ports=[])
    assert lines(services.service(headless)) == []
    node_port = service(type="NodePort", externalTrafficPolicy="Cluster")
    assert lines(services.service(node_port)) == []
    assert lines(services.endpoint_slice(SLICE)) == []
    subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    assert lines(services.endpoints({"subsets": [subset]})) == []


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        ("spec.ports", [], "spec.ports: Required value"),
        (
            "spec.type",
            "Balancer",
            (
                'spec.type: Unsupported value: "Balancer": '
                'supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"'
            ),
        ),
        (
            "spec.ports.0.port",
            0,
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "spec.ports.0.nodePort",
            30000,
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "spec.clusterIP",
            "10.43.0.8",
            'spec.clusterIPs: Invalid value: ["10.43.0.7"]: first value must match `clusterIP`',
        ),
        (
            "spec.externalTrafficPolicy",
            "Local",
            (
                'spec.externalTrafficPolicy: Invalid value: "Local": '
                "may only be set for externally-accessible services"
            ),
        ),
        (
            "spec.sessionAffinity",
            "ClientIP",
            "spec.sessionAffinityConfig: Required value: when session affinity type is ClientIP",
        ),
        (
            "spec.externalIPs",
            ["127.0.0.1"],
            (
                'spec.externalIPs[0]: Invalid value: "127.0.0.1": '
                "may not be in the loopback range (127.0.0.0/8, ::1/128)"
            ),
        ),
    ],
)
def test_wrong_services_are_named(path: str, value: Any, line: str) -> None:
    assert line in lines(services.service(changed(service(), path, value)))


def test_ports_are_told_apart() -> None:
    port = {"port": 80, "targetPort": 80, "protocol": "TCP"}
    assert lines(services.service(service(ports=[port, port]))) == [
        "spec.ports[0].name: Required value",
        "spec.ports[1].name: Required value",
        'spec.ports[1]: Duplicate value: {"port":80,"protocol":"TCP"}',
    ]


def test_addresses_stay() -> None:
    new = service(clusterIP="10.43.0.9", clusterIPs=["10.43.0.9"])
    assert lines(services.service_update(new, service())) == [
        'spec.clusterIPs[0]: Invalid value: ["10.43.0.9"]: may not change once set'
    ]
    name = service(
        type="ExternalName",
        externalName="a.b",
        clusterIP="",
        clusterIPs=[],
        ipFamilies=[],
        ipFamilyPolicy=None,
        internalTrafficPolicy=None,
    )
    assert lines(services.service_update(name, service())) == []


def test_slices() -> None:
    assert lines(services.endpoint_slice(changed(SLICE, "endpoints.0.addresses", ["::1"]))) == [
        (
            'endpoints[0].addresses[0]: Invalid value: "::1": '
            "may not be in the loopback range (127.0.0.0/8, ::1/128)"
        )
    ]
    assert lines(services.endpoint_slice_update({**SLICE, "addressType": "IPv6"}, SLICE))[-1] == (
        'addressType: Invalid value: "IPv6": field is immutable'
    )
