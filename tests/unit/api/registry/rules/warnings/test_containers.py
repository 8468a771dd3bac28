"""Warnings about containers: amounts, variables and ports."""

from typing import Any

import pytest
from fakes.rule_samples import container, pod_spec

from kubelite.api.registry.rules.warnings import containers

Ports = list[dict[str, Any]]


def told(*made: dict[str, Any], **fields: Any) -> list[str]:
    spec = pod_spec(containers=list(made), **fields)
    return [
        *containers.containers("", spec, {}, is_template=False),
        *containers.ports("spec", spec),
    ]


def test_fractions_of_bytes() -> None:
    odd = container(
        resources={
            "limits": {"memory": "100m", "cpu": "100m"},
            "requests": {"memory": "2", "ephemeral-storage": "1.5"},
        }
    )
    assert told(odd) == [
        (
            'spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, '
            "must be an integer"
        ),
        (
            "spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value "
            '"1500m" is invalid, must be an integer'
        ),
    ]


@pytest.mark.parametrize(
    ("second", "hides"),
    [
        ({"name": "A", "value": "$(A):b"}, False),
        ({"name": "B", "value": "b"}, False),
        ({"name": "A", "value": "b"}, True),
        ({"name": "A"}, True),
        ({"name": "A", "value": "$(A)"}, True),
        ({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}, True),
    ],
)
def test_variables_set_twice(second: dict[str, Any], hides: bool) -> None:
    warning = (
        'spec.containers[0].env[1]: hides previous definition of "A", '
        "which may be dropped when using apply"
    )
    assert told(container(env=[{"name": "A", "value": "a"}, second])) == [warning] * hides


def port(number: int = 80, **fields: Any) -> dict[str, Any]:
    return {"containerPort": number, "protocol": "TCP", **fields}


AT = "spec.containers[0].ports"


@pytest.mark.parametrize(
    ("found", "warnings"),
    [
        ([port(80), port(81), port(80, protocol="UDP")], []),
        ([port(), port()], [f"{AT}[1]: duplicate port definition with {AT}[0]"]),
        (
            [port(), port(), port()],
            [
                f"{AT}[1]: duplicate port definition with {AT}[0]",
                f"{AT}[2]: duplicate port definition with {AT}[0]",
                f"{AT}[2]: duplicate port definition with {AT}[1]",
            ],
        ),
        (
            [port(hostPort=8080), port()],
            [f"{AT}[1]: overlapping port definition with {AT}[0]"],
        ),
        (
            [port(), port(hostPort=8080)],
            [f"{AT}[1]: overlapping port definition with {AT}[0]"],
        ),
        ([port(hostPort=8080), port(hostPort=8081)], []),
        (
            [port(hostPort=8080, hostIP="10.0.0.1"), port(hostPort=8080)],
            [f"{AT}[1]: dangerously ambiguous port definition with {AT}[0]"],
        ),
        (
            [port(hostPort=8080), port(hostPort=8080, hostIP="10.0.0.1")],
            [f"{AT}[1]: dangerously ambiguous port definition with {AT}[0]"],
        ),
        (
            [port(hostPort=8080, hostIP="10.0.0.2"), port(hostPort=8080, hostIP="10.0.0.1")],
            [],
        ),
        (
            [port(hostIP="10.0.0.1", name="web")],
            [
                (
                    f"{AT}[0]: hostIP set without hostPort: {{Name:web HostPort:0 ContainerPort:80 "
                    "Protocol:TCP HostIP:10.0.0.1}"
                )
            ],
        ),
    ],
)
def test_ports_defined_twice(found: Ports, warnings: list[str]) -> None:
    assert told(container(ports=found)) == warnings


def test_port_names_over_all_containers() -> None:
    sidecar = container(name="side", ports=[port(81, name="http")])
    assert told(container(ports=[port(name="http")]), initContainers=[sidecar]) == [
        (
            f'{AT}[0]: duplicate port name "http" with spec.initContainers[0].ports[0], services and '
            "probes that select ports by name will use spec.initContainers[0].ports[0]"
        )
    ]


def test_many_host_ports_of_one_container_port_are_not_compared_pairwise() -> None:
    class Counted(dict[int, Any]):
        looked_at = 0

        def __getitem__(self, key: int) -> Any:
            Counted.looked_at += 1
            return super().__getitem__(key)

    same: dict[int, dict[str, list[tuple[int, str]]]] = Counted(
        {number: {"": [(number, "")]} for number in range(1, 20_000)}
    )
    assert list(containers._clashing(same, "", 30_000)) == []
    assert Counted.looked_at == 0
