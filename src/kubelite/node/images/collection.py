"""Decides which images are removed when their disk fills up, or when they have not been used for long. Pure.

Thresholds, order and words are the kubelet's. Only images that this node has pulled are ever candidates: an engine may
be shared with its user, whose own images are nowhere else, and images that were preloaded cannot be pulled again.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from kubelite.node.images.names import ImageName, find_name
from kubelite.node.images.records import PulledRecord
from kubelite.node.images.registries import Registries
from kubelite.node.runtime import ContainerRecord, Image
from kubelite.node.usage_files import Filesystem

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class CollectionPolicy(Struct, frozen=True):
    """When images are removed."""

    high_percent: int = 85  # of the disk: from here on unused images are removed
    low_percent: int = 80  # until so much of the disk is in use
    min_age: timedelta = timedelta(minutes=2)  # younger images are kept
    max_age: timedelta = timedelta(0)  # unused for longer they are removed anyway; 0: never

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever removed but on demand."""
        return self.high_percent == 100 and not self.max_age


class Candidate(Struct, frozen=True):
    """An image that may be removed."""

    image: Image
    first_seen: datetime
    last_used: datetime | None  # None: not since the node agent started

    @property
    def idle_since(self) -> datetime:
        """The date since which nothing uses it."""
        return self.last_used or self.first_seen


def in_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates in the order in which they are removed: the longest unused first, then the oldest."""
    return sorted(
        candidates,
        key=lambda one: (
            one.last_used is not None,
            one.last_used or one.first_seen,
            one.first_seen,
        ),
    )


def is_too_old(candidate: Candidate, policy: CollectionPolicy, now: datetime) -> bool:
    """Return whether an image is removed however much room there is."""
    return bool(policy.max_age) and now - candidate.idle_since > policy.max_age


def is_too_young(candidate: Candidate, policy: CollectionPolicy, now: datetime) -> bool:
    """Return whether an image is kept however little room there is: a container may be about to use it."""
    return now - candidate.first_seen < policy.min_age


def used_percent(disk: Filesystem) -> int:
    """Return how much of a disk is in use, rounded up."""
    available = min(disk.available_bytes, disk.capacity_bytes)
    return 100 - available * 100 // disk.capacity_bytes


def bytes_to_free(disk: Filesystem, policy: CollectionPolicy) -> int:
    """Return how many bytes must be freed; 0 below the high threshold."""
    if used_percent(disk) < policy.high_percent:
        return 0
    available = min(disk.available_bytes, disk.capacity_bytes)
    return disk.capacity_bytes * (100 - policy.low_percent) // 100 - available


def is_in_use(image: Image, ids: Collection[str], digests: Collection[str]) -> bool:
    """Return whether containers or pods use an image, by its id or by one of its digests."""
    return image.id in ids or any(name.rpartition("@")[2] in digests for name in image.names)


def used_by(records: Iterable[ContainerRecord]) -> frozenset[str]:
    """Return the ids and digests of the images of containers, ended ones included."""
    return frozenset(record.image_id.rpartition("@")[2] for record in records)


def is_own(image: Image, record: PulledRecord | None, registries: Registries) -> bool:
    """Return whether this node alone gave an image its names."""
    if record is None or image.pinned:
        return False
    own = set()
    for repository in record.credential_mapping:
        if (name := find_name(repository)) is not None:
            own |= _repositories(name, registries)
    given = [find_name(name) for name in image.names]
    return all(name is not None and name.full_repository in own for name in given)


def _repositories(name: ImageName, registries: Registries) -> set[str]:
    sources = (find_name(source.reference) for source in registries.sources(name))
    return {name.full_repository, *(one.full_repository for one in sources if one is not None)}


def shown_size(size_bytes: int) -> str:
    """Return a size in the largest unit of which there is one."""
    size, unit = float(size_bytes), 0
    while size >= 1024 and unit < len(UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size_bytes} B"


def shortage(disk: Filesystem, freed_bytes: int) -> str:
    """Return the words for a disk on which too little could be freed."""
    return (
        f"Insufficient free disk space on the node's image filesystem ({used_percent(disk)}% of "
        f"{shown_size(disk.capacity_bytes)} used). Failed to free sufficient space by deleting unused images "
        f"(freed {freed_bytes} bytes). Investigate disk usage, as it could be used by active images, logs, volumes, "
        "or other data."
    )
