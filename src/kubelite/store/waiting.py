"""Writes in line for the disk, bounded by number and bytes, and how many of them go into one commit."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import Struct

from kubelite.limits import WAITING_BYTES, WAITING_WRITES
from kubelite.store.history import LoggedChange

# One commit takes no more than this, unless one write is larger: its records enter the index in one go, on the loop.
BATCH_OPERATIONS_MAX = 500
BATCH_BYTES_MAX = 16 * 1024 * 1024


class Write(Struct):
    """Changes of one commit, and the future its caller awaits."""

    records: Sequence[LoggedChange]
    done: asyncio.Future[int]
    revision: int

    @property
    def size_bytes(self) -> int:
        """Memory that the write holds until it is durable."""
        return sum(len(record.change.value) for record in self.records)


class WaitingWrites:
    """A bounded FIFO of writes."""

    def __init__(self) -> None:
        self._writes: deque[Write] = deque()
        self._operations = 0
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._writes)

    def has_room(self, operations: int) -> bool:
        """Return whether that many operations fit; counts the limit that refuses them."""
        if self._operations + operations > WAITING_WRITES.value:
            WAITING_WRITES.reached()
            return False
        if self._bytes > WAITING_BYTES.value:
            WAITING_BYTES.reached()
            return False
        return True

    def append(self, write: Write) -> None:
        """Enqueue a write."""
        self._writes.append(write)
        self._operations += len(write.records)
        self._bytes += write.size_bytes

    def take(self) -> list[Write]:
        """Dequeue the writes of one commit: the first one, and what else fits into BATCH_…_MAX."""
        taken: list[Write] = []
        operations = size_bytes = 0
        while self._writes:
            head = self._writes[0]
            operations += len(head.records)
            size_bytes += head.size_bytes
            if taken and (operations > BATCH_OPERATIONS_MAX or size_bytes > BATCH_BYTES_MAX):
                break
            taken.append(self._writes.popleft())
            self._operations -= len(head.records)
            self._bytes -= head.size_bytes
        return taken

    def clear(self) -> list[Write]:
        """Dequeue all writes."""
        taken = list(self._writes)
        self._writes.clear()
        self._operations = self._bytes = 0
        return taken


def records_of(writes: Iterable[Write]) -> list[LoggedChange]:
    """Return the changes of all writes in order."""
    return [record for write in writes for record in write.records]
