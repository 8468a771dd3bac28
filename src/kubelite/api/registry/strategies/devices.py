"""ResourceClaims lose what drivers said about devices with the allocation, and taints of ResourceSlices get a date.

Source: Kubernetes' strategy of claims and its defaults of taints.
"""

from typing import Any

from kubelite.api.machinery.times import format_time
from kubelite.api.registry.strategy import Strategy, WriteContext

JSON = dict[str, Any]
_FIELDS = ("driver", "pool", "device", "shareID")


class ResourceClaimStrategy(Strategy):
    """The write hooks of ResourceClaims."""

    def prepare_part(self, item: JSON, old: JSON, subresource: str, context: WriteContext) -> None:
        """Drop the reports about devices that the claim no longer has, so that no client need know of them."""
        super().prepare_part(item, old, subresource, context)
        status = item.get("status") or {}
        gone = _allocated(old) - _allocated(item)
        devices = status.get("devices")
        if not gone or not devices:
            return
        status["devices"] = [one for one in devices if _key(one) not in gone]
        if not status["devices"]:
            del status["devices"]


def _allocated(claim: JSON) -> set[tuple[str, ...]]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    return {_key(one) for one in (allocation.get("devices") or {}).get("results") or ()}


def _key(one: JSON) -> tuple[str, ...]:
    return tuple(one.get(field) or "" for field in _FIELDS)


class ResourceSliceStrategy(Strategy):
    """The write hooks of ResourceSlices."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Date the taints that have no date."""
        super().prepare_create(item, context)
        _date(item, context)

    def prepare_update(
        self, item: JSON, old: JSON, subresource: str, context: WriteContext
    ) -> None:
        """Date the taints that have no date, before the generation is counted."""
        _date(item, context)
        super().prepare_update(item, old, subresource, context)


def _date(item: JSON, context: WriteContext) -> None:
    for device in (item.get("spec") or {}).get("devices") or ():
        for taint in device.get("taints") or ():
            if not taint.get("timeAdded"):
                taint["timeAdded"] = format_time(context.now)
