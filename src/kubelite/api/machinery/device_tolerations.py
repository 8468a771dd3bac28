"""Which taints of devices a claim tolerates; shared by the scheduler and by eviction."""

from kubelite.api.kinds.resource import DeviceTaint, DeviceToleration


def covers(toleration: DeviceToleration, taint: DeviceTaint) -> bool:
    """Return whether a toleration tolerates a taint of a device; an absent key or effect matches all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator:
        case "" | "Equal":
            return toleration.value == taint.value
        case "Exists":
            return True
        case _:
            return False
