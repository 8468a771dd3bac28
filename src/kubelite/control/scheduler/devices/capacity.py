"""How much of a device's capacities a request takes, where several claims share the device.

Amounts are rounded up to what the capacity's policy allows, and refused where it allows none; as in Kubernetes 1.36.
"""

from collections.abc import Mapping
from decimal import Decimal

from kubelite.api.kinds.resource import (
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    CapacityRequirements,
    DeviceCapacity,
)
from kubelite.api.machinery.quantity import BINARY, Quantity, parse_quantity

Amounts = Mapping[str, Decimal]


def consumed(
    wanted: CapacityRequirements | None, capacities: Mapping[str, DeviceCapacity]
) -> dict[str, Quantity]:
    """Return what a request takes of each capacity of a device."""
    asked = wanted.requests if wanted is not None else {}
    return {
        name: _rounded(parse_quantity(asked[name]), one.requestPolicy)
        if name in asked
        else _unasked(one)
        for name, one in capacities.items()
    }


def is_enough(
    wanted: CapacityRequirements | None,
    capacities: Mapping[str, DeviceCapacity],
    taken: Amounts,
    also_taken: Amounts,
) -> bool:
    """Return whether a device of which two amounts are taken has what a request takes, and its policies allow that."""
    if wanted is not None and not wanted.requests.keys() <= capacities.keys():
        return False
    for name, amount in consumed(wanted, capacities).items():
        one = capacities[name]
        if _violates(amount, one.requestPolicy):
            return False
        used = amount.amount + taken.get(name, 0) + also_taken.get(name, 0)
        if used > parse_quantity(one.value).amount:
            return False
    return True


def _unasked(capacity: DeviceCapacity) -> Quantity:
    """Return what a request that does not speak of a capacity takes: the policy's default, else all."""
    policy = capacity.requestPolicy
    if policy is not None and policy.default is not None:
        return parse_quantity(policy.default)
    return parse_quantity(capacity.value)


def _rounded(asked: Quantity, policy: CapacityRequestPolicy | None) -> Quantity:
    if policy is None:
        return asked
    if policy.validRange is not None and policy.validRange.min is not None:
        return _in_range(asked, parse_quantity(policy.validRange.min), policy.validRange)
    for text in policy.validValues:
        if asked <= (allowed := parse_quantity(text)):
            return allowed
    return asked


def _in_range(asked: Quantity, least: Quantity, bounds: CapacityRequestPolicyRange) -> Quantity:
    if asked < least:
        return least
    step = _step(bounds)
    if not step:
        return asked
    steps = -((least.value() - asked.value()) // step)
    return Quantity(least.value() + step * steps, BINARY)


def _step(bounds: CapacityRequestPolicyRange) -> int:
    return max(parse_quantity(bounds.step).value(), 0) if bounds.step is not None else 0


def _violates(amount: Quantity, policy: CapacityRequestPolicy | None) -> bool:
    if policy is None or (policy.default is not None and amount == parse_quantity(policy.default)):
        return False
    bounds = policy.validRange
    if bounds is not None:
        if bounds.max is not None and amount > parse_quantity(bounds.max):
            return True
        step = _step(bounds)
        least = parse_quantity(bounds.min).value() if bounds.min is not None else 0
        return bool(step) and (amount.value() - least) % step != 0
    return bool(policy.validValues) and all(
        amount != parse_quantity(one) for one in policy.validValues
    )
