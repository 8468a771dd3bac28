"""Which devices are given out: by the claims' status, and by allocations that are being written."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

from kubelite.api.kinds.resource import (
    AllocationResult,
    DeviceRequestAllocationResult,
    ResourceClaim,
)
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.control.scheduler.devices.pools import DeviceKey, PoolKey

REMEMBERED: Final = 64  # new allocations: decisions on which as many come are made again
NOTHING: Mapping[str, Decimal] = {}


class Usage:
    """Devices by the claims that have them. A device allocated for admin access is not in use."""

    def __init__(self) -> None:
        self._by_claim: dict[str, AllocationResult] = {}  # by uid
        self._pending: set[str] = set()  # claims whose allocation is being written
        self._whole: Counter[DeviceKey] = Counter()
        self._shares: Counter[DeviceKey] = Counter()
        self._amounts: dict[DeviceKey, dict[str, Decimal]] = {}
        self.revision = 0  # grows with each allocation that is new
        self._latest: deque[frozenset[PoolKey]] = deque(maxlen=REMEMBERED)  # the pools of such

    def has_whole(self, key: DeviceKey) -> bool:
        """Return whether a claim has a device for itself."""
        return key in self._whole

    def has_share(self, key: DeviceKey) -> bool:
        """Return whether claims share a device."""
        return key in self._shares

    def amounts(self, key: DeviceKey) -> Mapping[str, Decimal]:
        """Return what is given out of a shared device's capacities."""
        return self._amounts.get(key, NOTHING)

    def is_pending(self, uid: str) -> bool:
        """Return whether an allocation of a claim is being written."""
        return uid in self._pending

    def has_grown(self, pools: frozenset[PoolKey], since: int) -> bool:
        """Return whether allocations with devices of some pools came after a revision, or may have come."""
        new = self.revision - since
        if not pools or not new:
            return False
        return new > len(self._latest) or any(
            not pools.isdisjoint(self._latest[-number]) for number in range(1, new + 1)
        )

    def changed(self, before: ResourceClaim | None, after: ResourceClaim | None) -> None:
        """Take in a change of a claim; while its allocation is being written only that counts."""
        claim = after or before
        assert claim is not None
        uid = claim.metadata.uid
        if before is not None and before.metadata.uid != uid:
            self._pending.discard(before.metadata.uid)
            self._set(before.metadata.uid, None)
        allocation = after.status.allocation if after is not None else None
        if after is not None and allocation is None and uid in self._pending:
            return
        self._pending.discard(uid)
        self._set(uid, allocation)

    def assume(self, uid: str, allocation: AllocationResult) -> None:
        """Count an allocation that is about to be written."""
        self._pending.add(uid)
        self._set(uid, allocation)

    def rename(self, uid: str, to: str) -> None:
        """Count an assumed allocation for the claim that was made for it."""
        self._pending.remove(uid)
        self._pending.add(to)
        self._by_claim[to] = self._by_claim.pop(uid)

    def withdraw(self, uid: str, current: ResourceClaim | None) -> bool:
        """Forget an allocation that was not written; return whether there was any."""
        if uid not in self._pending:
            return False
        self._pending.discard(uid)
        is_same = current is not None and current.metadata.uid == uid
        self._set(uid, current.status.allocation if is_same and current is not None else None)
        return True

    def _set(self, uid: str, allocation: AllocationResult | None) -> None:
        known = self._by_claim.pop(uid, None)
        if known is not None:
            self._count(known, -1)
        if allocation is not None:
            self._by_claim[uid] = allocation
            self._count(allocation, 1)
            if known is None or known.devices.results != allocation.devices.results:
                self.revision += 1
                self._latest.append(frozenset(key_of(one)[:2] for one in _in_use(allocation)))

    def _count(self, allocation: AllocationResult, sign: int) -> None:
        for one in _in_use(allocation):
            key = key_of(one)
            if one.shareID is None:
                _add(self._whole, key, sign)
                continue
            _add(self._shares, key, sign)
            if key not in self._shares:
                self._amounts.pop(key, None)
                continue
            amounts = self._amounts.setdefault(key, {})
            for name, text in one.consumedCapacity.items():
                amount = parse_quantity(text).amount
                amounts[name] = amounts.get(name, Decimal(0)) + sign * amount


def key_of(one: DeviceRequestAllocationResult) -> DeviceKey:
    """Return the device of a result."""
    return one.driver, one.pool, one.device


def _in_use(allocation: AllocationResult) -> Iterable[DeviceRequestAllocationResult]:
    return (one for one in allocation.devices.results if not one.adminAccess)


def _add(counts: Counter[DeviceKey], key: DeviceKey, sign: int) -> None:
    counts[key] += sign
    if not counts[key]:
        del counts[key]
