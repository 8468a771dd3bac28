"""A store killed with -9 during writes: nothing acknowledged is lost, nothing is half there, no revision comes twice.

The writer tells each acknowledged write over a pipe; after each kill the folder is checked against what was told.
"""

import asyncio
import multiprocessing
import os
import struct
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from kubelite.clock import SystemClock
from kubelite.store import snapshots
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.history import HistoryLimits
from kubelite.store.protocol import Delete, Put

ROUNDS = 200
CLIENTS = 16
LIMITS = HistoryLimits(changes=2000)  # so that compaction is under way at most kills
ROW = struct.Struct("<III")  # client, count, revision

Told = list[tuple[int, int, int]]


def write_for_ever(folder: str, round_: int, told: Connection) -> None:
    """Let many clients write what must stand or fall together, and tell each write that was acknowledged."""

    async def client(store: EmbeddedStore, number: int) -> None:
        for count in range(1 << 20):
            value = struct.pack("<II", round_, count)
            revision = await store.commit(
                Put(f"/left/{number}", value),
                Put(f"/right/{number}", value),
                Put(f"/all/{round_}/{number}/{count}", value),
            )
            os.write(told.fileno(), ROW.pack(number, count, revision))

    async def main() -> None:
        store = await EmbeddedStore.open(Path(folder), clock=SystemClock(), limits=LIMITS)
        await asyncio.gather(*(client(store, number) for number in range(CLIENTS)))

    asyncio.run(main())


@pytest.mark.timeout(300)
async def test_two_hundred_kills_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(sys.path)
    )  # what the server of forks loads from
    newest = 0
    for round_ in range(ROUNDS):
        told = _write_and_kill(tmp_path, round_, rows=1 + (round_ * 37) % 400)
        report = snapshots.check(tmp_path)
        assert report.problems == []
        store = await EmbeddedStore.open(tmp_path, clock=SystemClock(), limits=LIMITS)
        assert store.revision >= max([newest, *(revision for _, _, revision in told)])
        for client, count, revision in told:
            assert revision > newest, "a revision came twice"
            entry = store.get(f"/all/{round_}/{client}/{count}")
            assert entry is not None, f"round {round_}: acknowledged write {client}/{count} is lost"
            assert entry.revision == revision
        for left in store.list("/left/").entries:
            right = store.get(left.key.replace("left", "right"))
            assert right is not None
            assert (right.value, right.revision) == (left.value, left.revision + 1), "half applied"
        # The next round meets the pages that this one frees.
        await store.commit(*(Delete(entry.key) for entry in store.list("/all/").entries))
        newest = store.revision
        await store.close()


def _write_and_kill(folder: Path, round_: int, rows: int) -> Told:
    """Let the writer go on until it told `rows` acknowledgements, kill it, return all it told."""
    # Forked from a process that has everything loaded: starting Python took most of the time.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    reading, writing = context.Pipe(duplex=False)
    writer = context.Process(target=write_for_ever, args=(str(folder), round_, writing))
    writer.start()
    writing.close()
    told = b""
    while len(told) < ROW.size * rows and (part := os.read(reading.fileno(), 1 << 16)):
        told += part
    writer.kill()
    while part := os.read(reading.fileno(), 1 << 16):
        told += part
    writer.join()
    writer.close()
    reading.close()
    assert len(told) >= ROW.size * rows
    return list(ROW.iter_unpack(told[: len(told) // ROW.size * ROW.size]))
