"""Warnings about Services, endpoints, Ingresses and NetworkPolicies."""

from typing import Any

import pytest
from fakes.rule_samples import service

from kubelite.api.registry.rules.warnings import networking

HEADLESS = {"clusterIP": "None", "clusterIPs": ["None"]}
DEPRECATED = "spec.externalIPs is deprecated and may no longer be implemented in some clusters"


@pytest.mark.parametrize(
    ("fields", "warnings"),
    [
        ({}, []),
        (HEADLESS, []),
        (
            {
                **HEADLESS,
                "sessionAffinity": "ClientIP",
                "externalIPs": ["10.0.0.1"],
                "loadBalancerIP": "10.0.0.1",
            },
            [
                "spec.loadBalancerIP is ignored for headless services",
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
            ],
        ),
        ({"externalIPs": ["10.0.0.1"]}, [DEPRECATED]),
        (
            {"externalIPs": ["010.0.0.1"]},
            [
                'spec.externalIPs[0]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"',
                DEPRECATED,
            ],
        ),
        (
            {"clusterIPs": ["10.43.0.7", "FD00::7"]},
            [
                (
                    'spec.clusterIPs[1]: IPv6 address "FD00::7" should be in RFC 5952 canonical format '
                    '("fd00::7")'
                )
            ],
        ),
        (
            {"loadBalancerIP": "010.0.0.1", "loadBalancerSourceRanges": ["10.1.0.0/8"]},
            [
                'spec.loadBalancerIP: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"',
                (
                    'spec.loadBalancerSourceRanges[0]: CIDR value "10.1.0.0/8" is ambiguous in this '
                    'context (should be "10.0.0.0/8" or "10.1.0.0/32"?)'
                ),
            ],
        ),
        (
            {"type": "ExternalName", "externalName": "a.example", "externalIPs": ["10.0.0.1"]},
            ['spec.externalIPs is ignored when spec.type is "ExternalName"'],
        ),
        (
            {"externalName": "a.example"},
            ['spec.externalName is ignored when spec.type is not "ExternalName"'],
        ),
        (
            {"trafficDistribution": "PreferClose"},
            ['spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"'],
        ),
    ],
)
def test_services(fields: dict[str, Any], warnings: list[str]) -> None:
    assert list(networking.service(service(**fields))) == warnings


def test_topology_hints() -> None:
    old = service()
    old["metadata"]["annotations"] = {"service.kubernetes.io/topology-aware-hints": "auto"}
    assert list(networking.service(old)) == [
        (
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
            "service.kubernetes.io/topology-mode instead"
        )
    ]


def test_addresses_of_load_balancers() -> None:
    status = {"loadBalancer": {"ingress": [{"hostname": "a"}, {"ip": "010.0.0.1"}]}}
    assert list(networking.balancer_status({"status": status}, {})) == [
        'status.loadBalancer.ingress[1]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"'
    ]


def test_endpoints() -> None:
    subset = {"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "010.0.0.1"}]}
    thing: dict[str, Any] = {"metadata": {"name": "a"}, "subsets": [subset]}
    assert list(networking.endpoints(thing)) == [
        (
            'subsets[0].notReadyAddresses[0].ip: non-standard IP address "010.0.0.1" is invalid: '
            'use "10.0.0.1"'
        )
    ]
    thing["metadata"]["labels"] = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
    assert list(networking.endpoints(thing)) == []


def test_endpoint_slices() -> None:
    thing: dict[str, Any] = {
        "metadata": {"name": "a"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["010.0.0.1"]}],
    }
    odd = (
        'endpoints[0].addresses[0]: non-standard IP address "010.0.0.1" is invalid: use "10.0.0.1"'
    )
    assert list(networking.endpoint_slice(thing)) == [odd]
    label = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    assert list(networking.endpoint_slice({**thing, "metadata": {"labels": label}})) == []
    names = {**thing, "addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]}
    assert list(networking.endpoint_slice(names)) == [
        "spec.addressType: FQDN endpoints are deprecated"
    ]
    assert list(networking.endpoint_slice_addresses(names)) == []


def test_ingresses() -> None:
    thing: dict[str, Any] = {
        "metadata": {"annotations": {"kubernetes.io/ingress.class": "nginx"}},
        "spec": {},
    }
    assert list(networking.ingress(thing)) == [
        (
            'annotation "kubernetes.io/ingress.class" is deprecated, '
            "please use 'spec.ingressClassName' instead"
        )
    ]
    assert list(networking.ingress({**thing, "spec": {"ingressClassName": "nginx"}})) == []


def test_policies() -> None:
    block = {"ipBlock": {"cidr": "10.1.0.0/8", "except": ["10.0.0.0/08"]}}
    spec = {"ingress": [{"from": [{"podSelector": {}}, block]}], "egress": [{"to": [block]}]}
    told = list(networking.policy({"spec": spec}))
    assert [one.partition(":")[0] for one in told] == [
        "spec.ingress[0].from[1].ipBlock.cidr",
        "spec.ingress[0].from[1].ipBlock.except[0]",
        "spec.egress[0].to[0].ipBlock.cidr",
        "spec.egress[0].to[0].ipBlock.except[0]",
    ]
