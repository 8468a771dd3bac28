"""What the devices of a claim must have in common or apart."""

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from kubelite.api.kinds.resource import Device, DeviceAttribute, DeviceConstraint
from kubelite.control.scheduler.devices.pools import Offer

Value = tuple[str, object] | None  # kind and value; None: of a kind that cannot be compared


class Constraint(Protocol):
    """Holds of the devices that were added. Once it refuses one, more devices do not make it accept that one."""

    def concerns(self, request: str, whole: str) -> bool:
        """Return whether devices of a request count; `whole` names its alternative too."""
        ...

    def add(self, offer: Offer) -> bool:
        """Add a device unless the constraint would be broken."""
        ...

    def remove(self, offer: Offer) -> None:
        """Take back a device that was added."""
        ...


class _OfAttribute:
    def __init__(self, name: str, requests: Sequence[str]) -> None:
        self._name = name
        self._requests = frozenset(requests)
        self._values: Counter[Value] = Counter()

    def concerns(self, request: str, whole: str) -> bool:
        """Return whether devices of a request count."""
        return not self._requests or request in self._requests or whole in self._requests

    def add(self, offer: Offer) -> bool:
        """Add a device that has the attribute, unless its value does not suit."""
        attribute = attribute_of(offer, self._name)
        if attribute is None:
            return False
        value = value_of(attribute)
        if self._values and not self._suits(value):
            return False
        self._values[value] += 1
        return True

    def remove(self, offer: Offer) -> None:
        """Take back a device."""
        attribute = attribute_of(offer, self._name)
        assert attribute is not None
        value = value_of(attribute)
        self._values[value] -= 1
        if not self._values[value]:
            del self._values[value]

    def _suits(self, value: Value) -> bool:
        raise NotImplementedError


class Match(_OfAttribute):
    """All devices have the same value of an attribute."""

    def _suits(self, value: Value) -> bool:
        return value is not None and value in self._values


class Distinct(_OfAttribute):
    """No two devices have the same value of an attribute."""

    def _suits(self, value: Value) -> bool:
        return value is not None and value not in self._values


def constraint_of(wanted: DeviceConstraint) -> Constraint | None:
    """Return a constraint without devices; None for an unknown one."""
    if wanted.matchAttribute is not None:
        return Match(wanted.matchAttribute, wanted.requests)
    if wanted.distinctAttribute is not None:
        return Distinct(wanted.distinctAttribute, wanted.requests)
    return None


def attribute_of(offer: Offer, name: str) -> DeviceAttribute | None:
    """Return a device's attribute of a name with a domain; names without one are of the driver's."""
    device: Device = offer.device
    found = device.attributes.get(name)
    if found is not None:
        return found
    domain, slash, own = name.partition("/")
    if not slash or domain != offer.key[0]:
        return None
    return device.attributes.get(own)


def value_of(attribute: DeviceAttribute) -> Value:
    """Return what of an attribute is compared."""
    for kind in ("string", "int", "bool", "version"):
        value = getattr(attribute, kind)
        if value is not None:
            return kind, value
    return None
