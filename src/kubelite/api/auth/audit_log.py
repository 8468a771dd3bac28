"""Appends lines to a rotated file, in a thread of its own behind a bounded queue."""

import logging
import os
import threading
from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct

from kubelite.api.auth.secret_files import SECRET_MODE
from kubelite.clock import Clock
from kubelite.limits import AUDIT_BYTES, AUDIT_LINES

log = logging.getLogger(__name__)

# The thread batches the lines of this time, since a wake-up per line would cost each request a context switch.
GATHER_SECONDS = 0.1
DATE = "%Y-%m-%dT%H-%M-%S.%f"


class Bounds(Struct, frozen=True, kw_only=True):
    """The retention of the log; 0 means unlimited."""

    size_bytes: int = 100 * 1024 * 1024  # of the current file, before it is rotated
    age_days: int = 30  # of rotated files
    backups: int = 10


class LineLog:
    """Appends lines from the loop; drops, counts and logs those that arrive faster than the disk takes them."""

    def __init__(self, path: Path, bounds: Bounds, clock: Clock) -> None:
        self._path = path
        self._bounds = bounds
        self._clock = clock
        # The locks of a queue would cost as much as the rest of a record, so use a deque.
        self._waiting: deque[bytes] = deque()
        self._some = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit log", daemon=True)
        # A counter for each thread, since neither could change a common one without a lock.
        self._put_bytes = 0  # since the start; changed by the loop
        self._written_bytes = 0  # or lost, since the start; changed by the log's thread
        self.dropped = 0  # lines, since the start

    def start(self) -> None:
        """Create the file if it is missing, check that it is writable and start the thread; raises OSError. Blocks."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.touch(mode=SECRET_MODE)
        with self._path.open("ab"):
            pass  # a folder passes `touch` but not `open`
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Enqueue a line, or drop it if the queue is full. Never blocks."""
        size = self._put_bytes - self._written_bytes + len(line)
        for limit, held in (AUDIT_LINES, len(self._waiting) + 1), (AUDIT_BYTES, size):
            if held > limit.value:
                limit.reached()
                self._drop()
                return
        self._put_bytes += len(line)
        self._waiting.append(line)
        if not self._some.is_set():
            self._some.set()

    def _drop(self) -> None:
        if self.dropped == 0:
            log.warning(
                "audit events dropped: the disk is too slow", extra={"path": str(self._path)}
            )
        self.dropped += 1

    def stop(self) -> None:
        """Write the queued lines and end the thread. Blocks."""
        self._ending.set()
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            self._some.wait()
            self._ending.wait(GATHER_SECONDS)
            # Before looking, so that what comes later sets it again. `stop` sets it last, so an end whose wake-up is
            # cleared here is seen in the next line.
            self._some.clear()
            ended = self._ending.is_set()
            lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
            try:
                if lines:
                    self._append(lines)
            except OSError as error:
                self.dropped += len(lines)
                log.error("audit log unwritable", extra={"error": str(error)})  # noqa: TRY400 - no trace wanted
            self._written_bytes += sum(map(len, lines))

    def _append(self, lines: list[bytes]) -> None:
        content = b"\n".join(lines) + b"\n"
        size = self._path.stat().st_size if self._path.exists() else 0
        if size and self._bounds.size_bytes and size + len(content) > self._bounds.size_bytes:
            rotate(self._path, self._bounds, self._clock.now())
        with open(self._path, "ab", opener=_owners_only) as file:
            file.write(content)


def _owners_only(path: str, flags: int) -> int:
    return os.open(path, flags, SECRET_MODE)


def rotate(path: Path, bounds: Bounds, now: datetime) -> None:
    """Rename the current file by the date, and delete the rotated files that are too many or too old. Blocks."""
    path.rename(path.with_name(f"{path.stem}-{now.strftime(DATE)}{path.suffix}"))
    path.touch(mode=SECRET_MODE)
    for old in too_many(backups_of(path), bounds, now):
        old.unlink(missing_ok=True)


def backups_of(path: Path) -> dict[Path, datetime]:
    """Return the rotated files with their dates. Blocks."""
    found = {}
    for file in path.parent.glob(f"{path.stem}-*{path.suffix}"):
        text = file.name.removeprefix(f"{path.stem}-").removesuffix(path.suffix)
        try:
            found[file] = datetime.strptime(text, DATE).replace(tzinfo=UTC)
        except ValueError:
            continue
    return found


def too_many(backups: dict[Path, datetime], bounds: Bounds, now: datetime) -> list[Path]:
    """Return the rotated files to delete, by number and age."""
    newest_first = sorted(backups, key=lambda file: backups[file], reverse=True)
    surplus = newest_first[bounds.backups :] if bounds.backups else []
    limit = now - timedelta(days=bounds.age_days)
    aged = [file for file in newest_first if bounds.age_days and backups[file] < limit]
    return sorted({*surplus, *aged})
