"""Brings all Secrets on disk to the newest key while the server runs: in the background, a little at a time.

Begins when encryption was switched on or the key was changed, and again at the next start when it was cut short. What
is written meanwhile is sealed anyway. Watchers see nothing, for objects and revisions stay as they are. At the end the
data file is compacted, so that no free page keeps an older form, and older keys are forgotten.
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

# Between two commits of sealed values: writes of others wait for one of them at most.
PAUSE_SECONDS = 0.02

# Calls the engine when no commit is under way.
BetweenCommits = Callable[[Callable[[], Any]], Awaitable[Any]]


async def seal_all(
    engine: EncryptedEngine, key_file: Path, between_commits: BetweenCommits
) -> None:
    """Seal, compact and forget older keys, as far as that is left to do."""
    try:
        await _seal_all(engine, key_file, between_commits)
    except EngineFailed as error:
        # The disk is full or broken: what is left to do is still marked, and the next start goes on.
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
