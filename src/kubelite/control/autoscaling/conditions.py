"""The conditions of an autoscaler."""

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from kubelite.api.kinds.autoscaling_v2 import HorizontalPodAutoscalerCondition as Condition
from kubelite.api.machinery.times import format_time

ABLE, ACTIVE, LIMITED, SCALED_TO_ZERO = (
    "AbleToScale",
    "ScalingActive",
    "ScalingLimited",
    "ScaledToZero",
)


class Conditions:
    """Conditions that are being set; a new one is the last, and others keep their place."""

    def __init__(self, conditions: Sequence[Condition], now: datetime) -> None:
        self.all = list(conditions)
        self._now = format_time(now)

    def set(self, type_: str, reason: str, message: str, *, true: bool) -> None:
        """Set a condition; the time of its last transition changes with its status alone."""
        status = "True" if true else "False"
        fresh = Condition(
            type=type_,
            status=status,
            reason=reason,
            message=message,
            lastTransitionTime=self._now,
        )
        for index, old in enumerate(self.all):
            if old.type == type_:
                if old.status == status:
                    fresh = replace(fresh, lastTransitionTime=old.lastTransitionTime)
                self.all[index] = fresh
                return
        self.all.append(fresh)

    def remove(self, type_: str) -> None:
        """Remove a condition."""
        self.all = [one for one in self.all if one.type != type_]
