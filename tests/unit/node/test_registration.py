"""What a node says of itself."""

from datetime import UTC, datetime

import pytest
from fakes.fake_client import FakeClient

from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.scheduling import Taint
from kubelite.clock import SetClock
from kubelite.node.machine import Machine
from kubelite.node.registration import (
    EngineView,
    NodeIdentity,
    NodeRegistration,
    conditions_of,
    default_labels,
    extended_resources,
    node_labels,
    status_of_node,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
MACHINE = Machine(1, 1, 1, "arm64", "kernel", "os", "machine", "boot", "system")
NO_NETWORK = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady"


@pytest.mark.parametrize(
    ("engine_error", "network_error", "status", "message"),
    [
        ("", "", "True", "kubelet is posting ready status"),
        ("gone", "", "False", "container runtime is down: ContainerRuntimeNotReady: gone"),
        ("gone", "none", "False", "container runtime is down: ContainerRuntimeNotReady: gone"),
        (
            "",
            "no range",
            "False",
            f"{NO_NETWORK} message:no range",
        ),
    ],
)
def test_readiness(engine_error: str, network_error: str, status: str, message: str) -> None:
    ready = conditions_of(engine_error, (), NOW, network_error)[-1]
    assert (ready.type, ready.status, ready.message) == ("Ready", status, message)


def test_the_dates_of_conditions_that_did_not_change_stay() -> None:
    before = conditions_of("", (), NOW)
    later = conditions_of("gone", before, NOW.replace(hour=5))
    assert [one.lastTransitionTime == "2026-05-01T00:00:00Z" for one in later] == [True] * 3 + [
        False
    ]
    assert {one.lastHeartbeatTime for one in later} == {"2026-05-01T05:00:00Z"}


def test_only_what_others_advertise_is_taken_over() -> None:
    assert extended_resources({"cpu": "4", "pods": "9", "example.com/gpu": "2"}) == {
        "example.com/gpu": "2"
    }


def test_labels_and_taints_of_flags_are_set_when_the_node_is_created_and_never_again() -> None:
    identity = NodeIdentity("n", (), 10250, {"a": "b", "kubernetes.io/arch": "mine"})
    assert node_labels(identity, MACHINE)["a"] == "b"
    assert node_labels(identity, MACHINE)["kubernetes.io/arch"] == "mine"
    kept = default_labels(identity, MACHINE)
    assert "a" not in kept
    assert "kubernetes.io/arch" not in kept  # it is not corrected to what it was not created with
    assert kept["kubernetes.io/hostname"] == "n"


@pytest.mark.parametrize("external", ["", "198.51.100.7"])
def test_the_addresses_of_a_node(external: str) -> None:
    identity = NodeIdentity("n", ("192.0.2.1",), 10250, external_address=external)
    found = status_of_node(identity, MACHINE, None, (), []).addresses
    assert [(one.type, one.address) for one in found] == [
        ("InternalIP", "192.0.2.1"),
        *([("ExternalIP", external)] if external else []),
        ("Hostname", "n"),
    ]


async def test_an_administrator_changes_labels_and_taints_of_flags_for_good() -> None:
    taint = Taint(key="t", value="v", effect="NoSchedule")
    identity = NodeIdentity("n", ("192.0.2.1",), 10250, {"a": "flag"}, (taint,))
    client = FakeClient()

    async def engine() -> EngineView:
        return EngineView()

    registration = NodeRegistration(identity, MACHINE, client, SetClock(NOW), engine)
    created = await registration._register()
    assert created.metadata.labels["a"] == "flag"
    assert [(one.key, one.value, one.effect) for one in created.spec.taints] == [
        ("t", "v", "NoSchedule")
    ]
    change = {
        "metadata": {"labels": {"a": "changed", "kubernetes.io/os": "wrong"}},
        "spec": {"taints": []},
    }
    await client.patch(Node, "n", change)
    again = await registration._register()
    assert again.metadata.labels["a"] == "changed"
    assert again.metadata.labels["kubernetes.io/os"] == "linux"
    assert again.spec.taints == []
