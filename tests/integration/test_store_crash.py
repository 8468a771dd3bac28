"""A store killed with -9 during writes: nothing acknowledged is lost, nothing is half there, no revision comes twice.

The writer tells each acknowledged pair over a pipe; after each kill the folder is checked against what was told.
"""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from kubelite.clock import SystemClock
from kubelite.store import snapshots
from kubelite.store.embedded import EmbeddedStore

ROUNDS = 200
SOURCE = str(Path(__file__).parents[2] / "src")
ROW = struct.Struct("<III")  # client, number, revision

# Many clients write pairs that must stand or fall together, and tell each one that was acknowledged.
WRITER = """
import asyncio, os, struct, sys
from pathlib import Path
from kubelite.clock import SystemClock
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.protocol import Put

async def client(store, round_, number):
    for count in range(1 << 20):
        value = struct.pack("<II", round_, count)
        revision = await store.commit(
            Put(f"/left/{number}", value), Put(f"/right/{number}", value), Put(f"/all/{round_}/{number}/{count}", value)
        )
        os.write(1, struct.pack("<III", number, count, revision))

async def main():
    store = await EmbeddedStore.open(Path(sys.argv[1]), clock=SystemClock())
    await asyncio.gather(*(client(store, int(sys.argv[2]), number) for number in range(16)))

asyncio.run(main())
"""


@pytest.mark.timeout(300)
async def test_two_hundred_kills_lose_nothing(tmp_path: Path) -> None:
    newest = 0
    for round_ in range(ROUNDS):
        told = _write_and_kill(tmp_path, round_, rows=1 + (round_ * 37) % 400)
        report = snapshots.check(tmp_path)
        assert report.problems == []
        store = await EmbeddedStore.open(tmp_path, clock=SystemClock())
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
        newest = store.revision
        await store.close()


def _write_and_kill(folder: Path, round_: int, rows: int) -> list[tuple[int, int, int]]:
    """Let the writer go on until it told `rows` acknowledgements, kill it, return all it told."""
    environment = {**os.environ, "PYTHONPATH": SOURCE}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(round_)],
        stdout=subprocess.PIPE,
        env=environment,
    ) as writer:
        assert writer.stdout is not None
        told = writer.stdout.read(ROW.size * rows)
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read()
    assert len(told) >= ROW.size * rows
    return list(ROW.iter_unpack(told[: len(told) // ROW.size * ROW.size]))
