"""Every test of the contract runs on every engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kubelite.clock import SystemClock
from kubelite.store.embedded import EmbeddedStore
from kubelite.store.history import HistoryLimits
from kubelite.store.memory_engine import MemoryEngine


@pytest.fixture(params=["memory", "lmdb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    limits = HistoryLimits(changes=100)
    if request.param == "memory":
        opened = EmbeddedStore(MemoryEngine(), clock=SystemClock(), limits=limits)
    else:
        opened = await EmbeddedStore.open(tmp_path / "db", clock=SystemClock(), limits=limits)
    yield opened
    await opened.close()
