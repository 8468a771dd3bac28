"""How much output of a container is kept, and how many of its ended runs."""

from datetime import timedelta

from msgspec import Struct

from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.machinery.times import parse_duration

FILES_MIN = 2  # the one that is written, and the one before it
DEAD_MAX = 1_000_000


class LogPolicy(Struct, frozen=True):
    """When the file of a container's output is rotated away, and how many files there are then."""

    max_bytes: int = 10 * 1024 * 1024  # of a file; 0: files are not rotated
    max_files: int = 5

    @property
    def total_bytes(self) -> int:
        """The size that all files of a container have together, about."""
        return self.max_bytes * self.max_files


class DeadContainerPolicy(Struct, frozen=True):
    """Which ended runs of a container stay beside the newest, as for `logs --previous`."""

    kept: int = 1  # of one container of a pod; less than 0: all
    age: timedelta = timedelta()  # younger ones stay in any case
    total: int = -1  # on the whole node, the newest ones as well; less than 0: not bounded


LOGS_BY_DEFAULT = LogPolicy()
DEAD_BY_DEFAULT = DeadContainerPolicy()


def read_log_policy(size: str, files: int) -> LogPolicy:
    """Read the settings of log files; a size below zero means no rotation. Raises ValueError."""
    max_bytes = parse_quantity(size).value()
    if files < FILES_MIN:
        raise ValueError("must be greater than 1")
    return LogPolicy(max(max_bytes, 0), files)


def read_dead_policy(kept: int, age: str, total: int = -1) -> DeadContainerPolicy:
    """Read the settings of ended containers. Raises ValueError."""
    minimum = parse_duration(age)
    if minimum < timedelta():
        raise ValueError("must not be less than zero")
    return DeadContainerPolicy(min(kept, DEAD_MAX), minimum, min(total, DEAD_MAX))
