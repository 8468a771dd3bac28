"""The thresholds at which a node is under pressure, and the flags that set them, as upstream has them. Pure.

`--eviction-hard memory.available<100Mi,nodefs.available<5%`: below a hard threshold pods end at once, below a soft one
after its grace period. A signal may have one of each.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.machinery.quantity import BINARY, Quantity, canonical_quantity, parse_quantity
from kubelite.api.machinery.times import parse_duration
from kubelite.node.eviction.defaults import EVICTION_HARD

MEMORY = "memory.available"
ALLOCATABLE_MEMORY = "allocatableMemory.available"
NODE_FS = "nodefs.available"
NODE_FS_INODES = "nodefs.inodesFree"
IMAGE_FS = "imagefs.available"
IMAGE_FS_INODES = "imagefs.inodesFree"
CONTAINER_FS = "containerfs.available"
CONTAINER_FS_INODES = "containerfs.inodesFree"
PROCESSES = "pid.available"

MEMORY_PRESSURE, DISK_PRESSURE, PROCESS_PRESSURE = "MemoryPressure", "DiskPressure", "PIDPressure"
CONDITIONS: Mapping[str, str] = {
    MEMORY: MEMORY_PRESSURE,
    ALLOCATABLE_MEMORY: MEMORY_PRESSURE,
    NODE_FS: DISK_PRESSURE,
    NODE_FS_INODES: DISK_PRESSURE,
    IMAGE_FS: DISK_PRESSURE,
    IMAGE_FS_INODES: DISK_PRESSURE,
    CONTAINER_FS: DISK_PRESSURE,
    CONTAINER_FS_INODES: DISK_PRESSURE,
    PROCESSES: PROCESS_PRESSURE,
}
RESOURCES: Mapping[str, str] = {
    MEMORY: "memory",
    ALLOCATABLE_MEMORY: "memory",
    NODE_FS: "ephemeral-storage",
    NODE_FS_INODES: "inodes",
    IMAGE_FS: "ephemeral-storage",
    IMAGE_FS_INODES: "inodes",
    CONTAINER_FS: "ephemeral-storage",
    CONTAINER_FS_INODES: "inodes",
    PROCESSES: "pids",
}
# The container filesystem is the node's or the images' one, whose thresholds hold for it; upstream overrides these too.
IGNORED = frozenset({CONTAINER_FS, CONTAINER_FS_INODES})
DISABLED = frozenset({"0%", "100%"})


class InvalidThreshold(ValueError):
    """A flag of thresholds cannot be used; `str()` has upstream's words where it has some."""


class Amount(Struct, frozen=True):
    """An absolute quantity, or a part of a capacity."""

    text: str = ""  # canonical; "" for a percentage
    percent: float = 0.0

    def of(self, capacity: int) -> int:
        """Return the amount in whole units, given the capacity of the resource."""
        return (
            parse_quantity(self.text).value() if self.text else int(capacity * self.percent / 100)
        )

    def shown(self, capacity: int) -> str:
        """Return the amount as messages show it."""
        return self.text or str(Quantity(self.of(capacity), BINARY))


class Threshold(Struct, frozen=True):
    """An amount of a resource below which the node is under pressure."""

    signal: str
    amount: Amount
    grace_seconds: float = 0.0  # how long it is met before pods are evicted; 0: a hard threshold
    minimum_reclaim: Amount | None = None

    @property
    def is_hard(self) -> bool:
        """Whether pods are evicted at once."""
        return self.grace_seconds == 0

    @property
    def resource(self) -> str:
        """The resource that is reclaimed, in the words of messages."""
        return RESOURCES[self.signal]


def parse_thresholds(
    hard: Iterable[str],
    soft: Iterable[str] = (),
    soft_grace: Iterable[str] = (),
    minimum_reclaim: Iterable[str] = (),
    *,
    enforces_allocatable: bool = True,
) -> tuple[Threshold, ...]:
    """Return the thresholds of the flags, the hard ones first. Raises InvalidThreshold.

    With `enforces_allocatable` the hard threshold for memory counts for the memory of all pods as well.
    """
    graces = {signal: _grace(text) for signal, text in _pairs(soft_grace, "=")}
    reclaims = {signal: _reclaim(signal, text) for signal, text in _pairs(minimum_reclaim, "=")}
    found = list(_statements(hard))
    for threshold in _statements(soft):
        if threshold.signal not in graces:
            raise InvalidThreshold(
                f"grace period must be specified for the soft eviction threshold {threshold.signal}"
            )
        found.append(replace(threshold, grace_seconds=graces[threshold.signal]))
    found = [replace(one, minimum_reclaim=reclaims.get(one.signal)) for one in found]
    if enforces_allocatable:
        found += [
            replace(one, signal=ALLOCATABLE_MEMORY)
            for one in found
            if one.signal == MEMORY and one.is_hard
        ]
    return tuple(one for one in found if one.signal not in IGNORED)


def split_pairs(texts: Iterable[str], separator: str) -> dict[str, str]:
    """Split texts of comma-separated pairs; the last one of a key counts. Raises InvalidThreshold."""
    found = {}
    for pair in (part.strip() for text in texts for part in text.split(",")):
        if not pair:
            continue
        key, present, value = pair.partition(separator)
        if not present:
            raise InvalidThreshold(f"malformed pair, expect string{separator}string")
        found[key.strip()] = value.strip()
    return found


def _pairs(texts: Iterable[str], separator: str) -> Iterable[tuple[str, str]]:
    for signal, value in split_pairs(texts, separator).items():
        if signal not in RESOURCES:
            raise InvalidThreshold(f"unsupported eviction signal {signal}")
        yield signal, value


def _statements(texts: Iterable[str]) -> Iterable[Threshold]:
    for signal, value in _pairs(texts, "<"):
        if value not in DISABLED:
            yield Threshold(signal, _amount(signal, value))


def _amount(signal: str, text: str) -> Amount:
    if text.endswith("%"):
        percent = _percent(text)
        if percent < 0:
            raise InvalidThreshold(f"eviction percentage threshold {signal} must be >= 0%: {text}")
        if percent > 100:
            raise InvalidThreshold(
                f"eviction percentage threshold {signal} must be <= 100%: {text}"
            )
        return Amount(percent=percent)
    quantity = _quantity(text)
    if quantity.value() <= 0:
        raise InvalidThreshold(f"eviction threshold {signal} must be positive: {quantity}")
    return Amount(canonical_quantity(text))


def _reclaim(signal: str, text: str) -> Amount:
    if text.endswith("%"):
        percent = _percent(text)
        if percent <= 0:
            raise InvalidThreshold(
                f"eviction percentage minimum reclaim {signal} must be positive: {text}"
            )
        return Amount(percent=percent)
    if _quantity(text).value() < 0:
        raise InvalidThreshold(f"negative eviction minimum reclaim specified for {signal}")
    return Amount(canonical_quantity(text))


def _percent(text: str) -> float:
    try:
        percent = float(text.rstrip("%"))
    except ValueError:
        raise InvalidThreshold(f"{text!r} is no percentage") from None
    if percent != percent:
        raise InvalidThreshold(f"{text!r} is no percentage")
    return percent


def _quantity(text: str) -> Quantity:
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise InvalidThreshold(f"{text!r}: {error}") from None


def _grace(text: str) -> float:
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        raise InvalidThreshold(str(error)) from None
    if seconds < 0:
        raise InvalidThreshold(
            f"invalid eviction grace period specified: {text}, must be a positive value"
        )
    return seconds


class EvictionSettings(Struct, frozen=True):
    """The settings of eviction."""

    thresholds: tuple[Threshold, ...] = parse_thresholds(EVICTION_HARD)
    max_pod_grace_seconds: int = 0  # of soft thresholds; negative: that of the pod
    transition_seconds: float = 300.0  # how long a condition stays after it was last observed
