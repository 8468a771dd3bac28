"""Hints by the shares of zones in the nodes' CPUs."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from fakes.harness import Harness

from kubelite.api.kinds.core.events import Event
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import Endpoint, EndpointConditions, EndpointSlice
from kubelite.control.endpointslice import EndpointSliceController
from kubelite.control.topology_hints import (
    FEW_ENDPOINTS,
    NO_NODES,
    NO_ZONE,
    HintsDisabled,
    allocations,
    asks_for_hints,
    cpu_shares,
    hinted,
)

MODE, OLD = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"


def node(name: str, zone: str, cpu: str = "4", **labels: str) -> Node:
    return msgspec.convert(
        {
            "metadata": {
                "name": name,
                "labels": {"topology.kubernetes.io/zone": zone, **labels},
            },
            "status": {
                "allocatable": {"cpu": cpu},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
        Node,
    )


@pytest.mark.parametrize(
    ("annotations", "asks"),
    [
        ({}, False),
        ({MODE: "Auto"}, True),
        ({MODE: "auto"}, True),
        ({MODE: "Disabled"}, False),
        ({OLD: "Auto"}, True),
        ({OLD: "Disabled", MODE: "Auto"}, False),
    ],
)
def test_who_asks(annotations: dict[str, str], asks: bool) -> None:
    assert asks_for_hints(annotations) is asks


def test_shares_are_those_of_ready_workers() -> None:
    control = node("d", "z3", **{"node-role.kubernetes.io/control-plane": ""})
    assert cpu_shares(
        [node("a", "z1", "1"), node("b", "z2", "2500m"), node("c", "z2", "500m"), control]
    ) == {
        "z1": 0.25,
        "z2": 0.75,
    }
    assert cpu_shares([node("a", "z1"), node("b", "")]) == {}
    assert cpu_shares([node("a", "z1"), node("b", "z1")]) == {}
    assert cpu_shares([node("a", "z1"), node("b", "z2", "0")]) == {}


def endpoints(*zones: str, ready: bool = True) -> list[Endpoint]:
    return [
        Endpoint(addresses=["10.0.0.1"], zone=zone, conditions=EndpointConditions(ready=ready))
        for zone in zones
    ]


def zones_of(found: list[Endpoint]) -> list[str]:
    return [one.hints.forZones[0].name if one.hints else "" for one in found]


@pytest.mark.parametrize(
    ("shares", "zones", "expected"),
    [
        ({"a": 0.5, "b": 0.5}, "aabb", {"a": 2, "b": 2}),
        ({"a": 0.5, "b": 0.5}, "aaaa", {"a": 2, "b": 2}),
        ({"a": 0.5, "b": 0.5}, "aaab", {"a": 2, "b": 2}),
        ({"a": 0.75, "b": 0.25}, "bbbb", {"a": 3, "b": 1}),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, "aaaaaa", {"a": 2, "b": 2, "c": 2}),
    ],
)
def test_zones_get_endpoints_by_their_share(
    shares: dict[str, float], zones: str, expected: dict[str, int]
) -> None:
    found = hinted(endpoints(*zones), shares, [""] * len(zones))
    assert Counter(zones_of(found)) == expected
    # Once decided, nothing moves.
    assert zones_of(hinted(endpoints(*zones), shares, zones_of(found))) == zones_of(found)


@pytest.mark.parametrize(
    ("shares", "zones", "reason"),
    [
        ({}, ["a", "b"], NO_NODES),
        ({"a": 0.5, "b": 0.5}, ["a"], f"{FEW_ENDPOINTS} (1 endpoints, 2 zones)"),
        ({"a": 0.5, "b": 0.5}, ["a", ""], NO_ZONE),
        ({"a": 0.9, "b": 0.1}, ["a", "b"], "without exceeding overload threshold (2 endpoints, 2"),
    ],
)
def test_when_there_are_no_hints(shares: dict[str, float], zones: list[str], reason: str) -> None:
    with pytest.raises(HintsDisabled) as disabled:
        hinted(endpoints(*zones), shares, [""] * len(zones))
    assert reason in str(disabled.value)


def test_what_is_not_ready_has_no_hint_and_does_not_count() -> None:
    given = [*endpoints("a", "b"), *endpoints("a", ready=False)]
    assert zones_of(hinted(given, {"a": 0.5, "b": 0.5}, ["", "", "a"])) == ["a", "b", ""]


def test_no_zone_gets_less_than_its_minimum_or_more_than_its_maximum() -> None:
    for count in range(2, 40):
        try:
            wanted = allocations({"a": 0.5, "b": 0.3, "c": 0.2}, count)
        except HintsDisabled:
            continue
        found = hinted(endpoints(*"a" * count), {"a": 0.5, "b": 0.3, "c": 0.2}, [""] * count)
        counts = Counter(zones_of(found))
        assert counts.total() == count
        assert all(wanted[zone].minimum <= counts[zone] for zone in wanted)


def pod(name: str, where: str, address: str) -> Pod:
    body: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"nodeName": where, "containers": [{"name": "c"}]},
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    return msgspec.convert(body, Pod)


async def test_the_controller_follows_annotation_and_nodes_and_tells_once() -> None:
    async with Harness(EndpointSliceController) as harness:
        client = harness.client
        await client.create(node("n1", "a"))
        await client.create(node("n2", "b"))
        for number, where in enumerate(("n1", "n1", "n2", "n2")):
            await client.create(pod(f"p{number}", where, f"10.42.0.{number + 1}"))
        body = {
            "metadata": {"name": "web", "namespace": "default", "annotations": {MODE: "Auto"}},
            "spec": {
                "selector": {"app": "web"},
                "clusterIP": "10.43.0.9",
                "ipFamilies": ["IPv4"],
                "ports": [{"port": 80, "protocol": "TCP"}],
            },
        }
        await client.create(msgspec.convert(body, Service))
        await harness.settle()

        def hints() -> Counter[str]:
            (one,) = client.all(EndpointSlice)
            return Counter(zones_of(one.endpoints))

        def told() -> list[str]:
            return [one.message for one in client.all(Event)]

        assert hints() == {"a": 2, "b": 2}
        assert told() == ["Topology Aware Hints has been enabled"]
        await client.patch(
            Node, "n2", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
        )
        await harness.settle()
        assert hints() == {"": 4}
        assert told()[1:] == [f"{NO_NODES}, addressType: IPv4"]
        await client.patch(
            Node, "n2", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        )
        await client.patch(Service, "web", {"metadata": {"annotations": {MODE: None}}}, "default")
        await harness.settle()
        assert hints() == {"": 4}
