"""The health of the devices of one driver, as it reports it. Pure; numbers are upstream's.

A device that is not reported again in time is of unknown health. Dates are seconds of any steady clock.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from kubelite.api.kinds.core.container_status import ResourceHealth
from kubelite.limits import DRA_DEVICES
from kubelite.node.dra.messages import DeviceHealth, HealthStatus

TIMEOUT_SECONDS: Final = 30.0
TIMEOUT_MAX_SECONDS: Final = 365 * 86_400.0  # what a timer takes; any longer is for good
MESSAGE_CHARACTERS_MAX: Final = 1024
_NAMES: Final = {HealthStatus.HEALTHY: "Healthy", HealthStatus.UNHEALTHY: "Unhealthy"}
Place = tuple[str, str]  # pool and name of a device


class Health(Struct, frozen=True):
    """What is known of a device."""

    state: str = "Unknown"
    message: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS


UNKNOWN: Final = Health()


class DriverHealth:
    """The devices of one driver."""

    def __init__(self) -> None:
        self._known: dict[Place, tuple[Health, float]] = {}  # with when it was reported

    def get(self, place: Place) -> Health:
        """Return the health of a device."""
        return self._known.get(place, (UNKNOWN, 0.0))[0]

    def report(self, devices: Iterable[DeviceHealth], now: float) -> set[Place]:
        """Store what a driver reports; return the devices whose health changed. Those past the bound are left out."""
        changed = self.expire(now)
        for device in devices:
            if device.device is None:
                continue
            place = (device.device.pool_name, device.device.device_name)
            if place not in self._known and len(self._known) >= DRA_DEVICES.value:
                DRA_DEVICES.reached()
                break
            health = _health(device)
            if self.get(place) != health:
                changed.add(place)
            self._known[place] = (health, now)
        return changed

    def expire(self, now: float) -> set[Place]:
        """Forget devices that were not reported in time; return them."""
        late = {
            place
            for place, (health, reported) in self._known.items()
            if reported + health.timeout_seconds <= now
        }
        for place in late:
            del self._known[place]
        return late

    @property
    def next_expiry(self) -> float | None:
        """When the next device is of unknown health if nothing is reported; None if all are."""
        dates = (reported + health.timeout_seconds for health, reported in self._known.values())
        return min(dates, default=None)

    def clear(self) -> set[Place]:
        """Forget all devices; return them."""
        places = set(self._known)
        self._known.clear()
        return places


def _health(device: DeviceHealth) -> Health:
    message = device.message
    if len(message) > MESSAGE_CHARACTERS_MAX:
        message = f"{message[: MESSAGE_CHARACTERS_MAX - 3]}..."
    seconds = float(device.health_check_timeout_seconds)
    timeout = min(seconds, TIMEOUT_MAX_SECONDS) if seconds > 0 else TIMEOUT_SECONDS
    known = device.health in _NAMES
    state = _NAMES[HealthStatus(device.health)] if known else "Unknown"
    return Health(state, message, timeout)


def resource_health(identity: str, health: Health) -> ResourceHealth:
    """Return the health of a device as a pod's status has it."""
    return ResourceHealth(resourceID=identity, health=health.state, message=health.message or None)
