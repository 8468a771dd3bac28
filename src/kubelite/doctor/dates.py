"""The clock: whether it is set, kept right, and does not jump."""

import ctypes
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from kubelite.clock import Clock, SystemClock, is_sane
from kubelite.doctor.findings import Finding, error, note, ok, warning
from kubelite.doctor.wanted import Wanted

WATCH_SECONDS, JUMP_SECONDS = 1.0, 0.2
AHEAD_SECONDS = 300.0
UNSYNCHRONISED = 0x0040  # STA_UNSYNC of timex.h


class Dates(Struct, frozen=True):
    """What is known of the clock."""

    now: datetime
    is_synchronised: bool | None = None
    jumped_seconds: float = 0.0  # while it was watched
    newest_file: datetime | None = None  # of the data folder


def judge(dates: Dates, _: Wanted) -> Iterator[Finding]:
    """Yield what there is to say about the clock."""
    shown = f"{dates.now:%Y-%m-%d %H:%M} UTC"
    if not is_sane(dates.now):
        yield error(
            f"the clock shows {shown}, which is before this release",
            "certificates of that date would be worth nothing, so a server waits until it is set",
            "set it: timedatectl set-ntp true, or date -s; see that the machine keeps its clock",
        )
        return
    if dates.newest_file and (dates.newest_file - dates.now).total_seconds() > AHEAD_SECONDS:
        yield warning(
            f"the data folder has files of {dates.newest_file:%Y-%m-%d %H:%M} UTC, and the clock shows {shown}",
            "the clock was set back: certificates made meanwhile are not valid yet",
            "set the clock; kubelite certificate rotate, if it was wrong before",
        )
    if abs(dates.jumped_seconds) >= JUMP_SECONDS:
        yield warning(
            f"the clock jumped by {dates.jumped_seconds:+.1f} s while it was watched",
            "tokens and certificates are refused, and CronJobs run twice or not at all",
            "let one program keep the clock, which slews it (chrony); look at the host of a virtual machine",
        )
    if dates.is_synchronised is False:
        yield note(
            f"nothing says that the clock ({shown}) is kept right",
            "machines of a cluster whose clocks differ by minutes refuse each other's certificates",
            "systemctl enable --now systemd-timesyncd, or chrony",
        )
    else:
        yield ok(
            f"the clock shows {shown}" + (", and is kept right" if dates.is_synchronised else "")
        )


def gather_quickly(wanted: Wanted, clock: Clock | None = None) -> Dates:
    """Read the clock and what the kernel says of it."""
    return Dates((clock or SystemClock()).now(), _is_synchronised(), 0.0, _newest(wanted))


def gather(wanted: Wanted) -> Dates:
    """Read the clock, and watch it for a second beside one that never jumps."""
    clock = SystemClock()
    began, at = clock.now(), time.monotonic()
    time.sleep(WATCH_SECONDS)
    passed = (clock.now() - began).total_seconds() - (time.monotonic() - at)
    found = gather_quickly(wanted, clock)
    return Dates(found.now, found.is_synchronised, passed, found.newest_file)


class _Timex(ctypes.Structure):
    """The kernel's struct timex; modes 0 asks, and changes nothing."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        *((name, ctypes.c_long) for name in ("offset", "frequency", "error_max", "error")),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


def _is_synchronised() -> bool | None:
    asked = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(asked)) < 0:
        return None
    return not asked.status & UNSYNCHRONISED


def _newest(wanted: Wanted) -> datetime | None:
    times = []
    for folder in (wanted.store, wanted.data / "pki", wanted.agent / "pki"):
        try:
            times += [path.stat().st_mtime for path in Path(folder).iterdir()]
        except OSError:
            continue
    return datetime.fromtimestamp(max(times), UTC) if times else None
