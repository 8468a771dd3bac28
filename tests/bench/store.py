"""The embedded store alone: durable writes, file growth, opening it with many objects."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from bench.report import Figure
from kubelite.clock import SystemClock
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.protocol import Put

VALUE = b"x" * 1200
MANY = 100_000


def measure(folder: Path) -> Iterator[Figure]:
    """Write, rewrite, fill, open again."""
    yield from uvloop.run(_measure(folder / "db"))


async def _measure(path: Path) -> list[Figure]:
    store = await EmbeddedStore.open(path, clock=SystemClock())
    waits = []
    for number in range(500):
        started = time.perf_counter()
        await store.commit(Put(f"/one/{number}", VALUE))
        waits.append(time.perf_counter() - started)
    figures = [Figure("store: durable write, one client, p50", sorted(waits)[250] * 1e3, "ms")]

    async def client(name: int) -> None:
        for number in range(300):
            await store.commit(Put(f"/many/{name}/{number}", VALUE))

    started = time.perf_counter()
    await asyncio.gather(*(client(name) for name in range(64)))
    rate = 64 * 300 / (time.perf_counter() - started)
    figures.append(Figure("store: durable writes, 64 clients", rate, "/s"))
    for part in ("first", "second"):
        for round_ in range(500):
            await _write(store, "/again", range(1000), b"%d" % round_ + VALUE)
        size = store.size_bytes() / 1e6
        figures.append(
            Figure(f"store: file after the {part} 500k rewrites of 1000 objects", size, "MB")
        )
    for start in range(0, MANY, 2000):
        await _write(store, "/bulk", range(start, start + 2000), VALUE)
    await store.close()
    started = time.perf_counter()
    store = await EmbeddedStore.open(path, clock=SystemClock())
    figures.append(Figure(f"store: open with {MANY} objects", time.perf_counter() - started, "s"))
    await store.close()
    return figures


async def _write(store: EmbeddedStore, prefix: str, numbers: range, value: bytes) -> None:
    await asyncio.gather(*(store.commit(Put(f"{prefix}/{number}", value)) for number in numbers))
