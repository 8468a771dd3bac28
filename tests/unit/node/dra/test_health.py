"""What is known of the health of devices, by reports and by their absence."""

import pytest

from kubelite.limits import DRA_DEVICES
from kubelite.node.dra.health import DriverHealth, Health
from kubelite.node.dra.messages import DeviceHealth, DeviceIdentifier


def device(name: str, health: int = 1, seconds: int = 0, message: str = "") -> DeviceHealth:
    return DeviceHealth(
        device=DeviceIdentifier(pool_name="pool", device_name=name),
        health=health,
        health_check_timeout_seconds=seconds,
        message=message,
    )


def test_a_report_tells_what_changed() -> None:
    known = DriverHealth()
    assert known.report([device("a"), device("b", 2, message="hot")], 0) == {
        ("pool", "a"),
        ("pool", "b"),
    }
    assert known.report([device("a"), device("b", 2, message="hot")], 1) == set()
    assert known.report([device("b", 2, message="hotter")], 2) == {("pool", "b")}
    assert known.get(("pool", "b")) == Health("Unhealthy", "hotter", 30.0)


def test_a_device_that_is_not_reported_in_time_is_of_unknown_health() -> None:
    known = DriverHealth()
    known.report([device("a"), device("b", seconds=100), device("c", seconds=-5)], 0)
    assert known.next_expiry == 30.0
    assert known.expire(29.9) == set()
    assert known.expire(30.0) == {("pool", "a"), ("pool", "c")}
    assert known.get(("pool", "a")).state == "Unknown"
    assert known.next_expiry == 100.0
    assert known.clear() == {("pool", "b")}
    assert known.next_expiry is None


@pytest.mark.parametrize("state", [0, 3, -1, 2**31 - 1])
def test_other_states_are_unknown(state: int) -> None:
    known = DriverHealth()
    known.report([device("a", state)], 0)
    assert known.get(("pool", "a")).state == "Unknown"


def test_messages_and_timeouts_are_cut() -> None:
    known = DriverHealth()
    known.report([DeviceHealth(), device("a", seconds=2**62, message="x" * 1025)], 0)
    health = known.get(("pool", "a"))
    assert health.message == "x" * 1021 + "..."
    assert known.next_expiry == 365 * 86_400


def test_devices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DRA_DEVICES, "value", 2)
    known = DriverHealth()
    assert len(known.report([device(name) for name in "abc"], 0)) == 2
    assert known.report([device("a", 2), device("d")], 1) == {("pool", "a")}
