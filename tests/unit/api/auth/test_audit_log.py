import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kubelite.api.auth.audit_log import Bounds, LineLog, backups_of, rotate, too_many
from kubelite.clock import SetClock
from kubelite.limits import AUDIT_BYTES, AUDIT_LINES

NOW = datetime(2026, 9, 1, tzinfo=UTC)


def written(log: LineLog, path: Path, *lines: bytes) -> list[bytes]:
    log.start()
    for line in lines:
        log.put(line)
    log.stop()
    return path.read_bytes().splitlines()


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    path.parent.mkdir()
    path.write_bytes(b"old\n")
    log = LineLog(path, Bounds(), SetClock(NOW))
    assert written(log, path, b"a", b"b") == [b"old", b"a", b"b"]


def test_a_new_file_is_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    written(LineLog(path, Bounds(), SetClock(NOW)), path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_somebody_took_away_comes_back_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = LineLog(path, Bounds(), SetClock(NOW))
    log.start()
    path.unlink()
    log.put(b"line")
    log.stop()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"x" * 90 + b"\n")
    log = LineLog(path, Bounds(size_bytes=100), SetClock(NOW))
    assert written(log, path, b"y" * 20) == [b"y" * 20]
    (backup,) = backups_of(path)
    assert backup.read_bytes() == b"x" * 90 + b"\n"


def test_too_many_lines_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AUDIT_LINES, "value", 2)
    log = LineLog(tmp_path / "audit.log", Bounds(), SetClock(NOW))
    for _ in range(5):
        log.put(b"line")
    assert log.dropped == 3


def test_lines_of_too_many_bytes_are_dropped_until_some_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AUDIT_BYTES, "value", 100)
    path = tmp_path / "audit.log"
    log = LineLog(path, Bounds(), SetClock(NOW))
    for _ in range(3):
        log.put(b"x" * 50)
    log.put(b"")
    assert log.dropped == 1
    assert [len(line) for line in written(log, path)] == [50, 50, 0]
    log.put(b"x" * 100)
    assert log.dropped == 1


def test_an_unwritable_file_does_not_end_the_thread(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = LineLog(path, Bounds(), SetClock(NOW))
    log.start()
    path.unlink()
    path.mkdir()
    log.put(b"line")
    log.stop()
    assert log.dropped == 1


def test_what_goes() -> None:
    dates = {Path(str(days)): NOW - timedelta(days=days) for days in (0, 1, 5, 40)}
    assert too_many(dates, Bounds(backups=0, age_days=30), NOW) == [Path("40")]
    assert too_many(dates, Bounds(backups=2, age_days=0), NOW) == [Path("40"), Path("5")]
    assert too_many(dates, Bounds(backups=0, age_days=0), NOW) == []


def test_rotation_leaves_other_files_alone(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    (tmp_path / "audit-mine.log").touch()
    for days in range(4):
        path.touch()
        rotate(path, Bounds(backups=2), NOW + timedelta(days=days))
    assert len(backups_of(path)) == 2
    assert (tmp_path / "audit-mine.log").exists()


class Waits(threading.Event):
    """An event that fails instead of waiting for ever."""

    def wait(self, timeout: float | None = None) -> bool:
        assert self.is_set() or timeout is not None, "nobody would set it again"
        return self.is_set()


class EndsRightAfter(Waits):
    """An event that is set between the end of a wait in vain and what the waiter does next."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop

    def wait(self, timeout: float | None = None) -> bool:
        before = super().wait(timeout)
        self.set()
        self._stop()
        return before


def test_an_end_that_comes_while_lines_are_gathered_is_seen(tmp_path: Path) -> None:
    log = LineLog(tmp_path / "audit.log", Bounds(), SetClock(NOW))
    log._some = Waits()
    log._ending = EndsRightAfter(log._some.set)
    log.put(b"line")
    log._run()
    assert (tmp_path / "audit.log").read_bytes() == b"line\n"
