"""What a node says of itself."""

from datetime import UTC, datetime

import pytest

from kubelite.node.registration import conditions_of, extended_resources

NOW = datetime(2026, 5, 1, tzinfo=UTC)
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
