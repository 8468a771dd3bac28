"""Re-encrypts all Secrets on disk with the newest key while the server runs, in the background and in small batches.

It runs after encryption was enabled or the key was rotated, and resumes at the next start if interrupted. Writes made
meanwhile are sealed anyway. Watches see nothing, since objects and revisions do not change. At the end the data file is
compacted, so that no free page keeps an older form, and older keys are removed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from kubelite.api.auth.encryption import (
    EncryptedEngine,
    EncryptionFailed,
    read_keys,
    retire_keys,
)
from kubelite.store.engine import EngineFailed

log = logging.getLogger(__name__)

# Pause between two batches, so that other writes wait for one batch at most.
PAUSE_SECONDS = 0.02

# Calls a function when no commit is in flight.
BetweenCommits = Callable[[Callable[[], Any]], Awaitable[Any]]


async def seal_all(
    engine: EncryptedEngine, key_file: Path, between_commits: BetweenCommits
) -> None:
    """Seal all stale values, compact the file and remove older keys; does nothing if that is done already."""
    try:
        await _seal_all(engine, key_file, between_commits)
    except EngineFailed as error:
        # The disk is full or broken. The mark in the store remains, so the next start resumes.
        log.warning("cannot seal all Secrets on disk before the next start: %s", error)


async def _seal_all(
    engine: EncryptedEngine, key_file: Path, between_commits: BetweenCommits
) -> None:
    if await between_commits(lambda: engine.is_finished):
        return
    total, sealed = engine.stale, 0
    log.info("sealing Secrets on disk", extra={"values": total})
    while engine.stale:
        sealed += await between_commits(engine.seal)
        await asyncio.sleep(PAUSE_SECONDS)
    if not await between_commits(engine.finish):
        log.warning(
            "Secrets are sealed, but older forms stay in free pages of the data file until the next start: "
            "another process reads the file",
            extra={"secrets": sealed},
        )
        return
    await asyncio.to_thread(_forget_older_keys, key_file)
    log.info(
        "Secrets are sealed and the data file is compacted",
        extra={"secrets": sealed, "values": total},
    )


def _forget_older_keys(path: Path) -> None:
    try:
        if len(read_keys(path).keys) > 1:
            retire_keys(path)
    except (EncryptionFailed, OSError) as error:
        log.warning("cannot forget older keys", extra={"path": str(path), "error": str(error)})
