"""A disk that is slow, refuses writes and loses power, all by seed, over an engine that keeps what it accepted."""

import asyncio
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from kubelite.store.engine import Batch, EngineFailed, Logged
from kubelite.store.memory_engine import MemoryEngine
from kubelite.store.protocol import Entry
from kubelite.store.snapshots import log_problems

P = ParamSpec("P")
T = TypeVar("T")

SLOW = 0.02  # which part of the calls takes long


class Disk:
    """What survives a crash of the process: the engine, and how badly it behaves."""

    def __init__(self, seed: int) -> None:
        self.durable = MemoryEngine()
        self.random = random.Random(seed)
        self.refused = 0.0  # which part of the writes fails, and nothing is written
        self.unsure = 0.0  # which part fails although all is written
        self.order_faults: list[str] = []

    def calm(self) -> None:
        """Accept everything from now on."""
        self.refused = self.unsure = 0.0

    def faults(self) -> list[str]:
        """Return what is wrong with what is durable."""
        newest = self.durable.revision()
        revisions = {entry.key: entry.revision for entry in self.durable.entries()}
        problems = log_problems(self.durable.log(), newest, revisions)
        owners: dict[int, str] = {}
        for key, revision in revisions.items():
            if not 0 < revision <= newest:
                problems.append(f"{key}: revision {revision}, newest {newest}")
            if revision in owners:
                problems.append(f"{key}: revision {revision} is also that of {owners[revision]}")
            owners[revision] = key
        return [*self.order_faults, *problems]


class FaultyEngine:
    """One process's handle of the disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._has_power = True

    def cut_power(self) -> None:
        """Write nothing more: the process is gone."""
        self._has_power = False

    def revision(self) -> int:
        """Return the revision of the newest batch; without power, fail."""
        self._require_power()
        return self._disk.durable.revision()

    def entries(self) -> Iterator[Entry]:
        """Yield all current entries."""
        return self._disk.durable.entries()

    def log(self) -> Iterator[Logged]:
        """Yield the undo log."""
        return self._disk.durable.log()

    def write(self, batch: Batch) -> None:
        """Write, or not, as the seed says."""
        self._require_power()
        disk = self._disk
        if disk.random.random() < disk.refused:
            raise EngineFailed("No space left on device")
        before = disk.durable.revision()
        expected = [before + number + 1 for number in range(len(batch.log))]
        # A batch without changes only asks whether the disk works again.
        newest = before + len(batch.log)
        if [row.revision for row in batch.log] != expected or batch.revision != newest:
            disk.order_faults.append(f"a batch up to {batch.revision} follows {before}")
        disk.durable.write(batch)
        if disk.random.random() < disk.unsure:
            raise EngineFailed("Input/output error")

    def size_bytes(self) -> int:
        """Return 0."""
        return self._disk.durable.size_bytes()

    def close(self) -> None:
        """Do nothing: the disk stays."""

    def _require_power(self) -> None:
        if not self._has_power:
            raise EngineFailed("no power")


class DiskExecutor(Executor):
    """Runs each call on the loop a moment later, one after the other: the writer thread in virtual time."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._free_at = 0.0

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Plan a call."""
        future: Future[T] = Future()
        loop = asyncio.get_running_loop()
        slow = self._disk.random.random() < SLOW
        took = self._disk.random.uniform(0.1, 2.0) if slow else self._disk.random.uniform(0, 0.01)
        self._free_at = max(self._free_at, loop.time()) + took

        def run() -> None:
            try:
                future.set_result(call(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - as an executor does
                future.set_exception(error)

        loop.call_at(self._free_at, run)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: there is no thread."""
