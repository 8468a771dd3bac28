import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from kubelite.clock import OLDEST_SANE_DATE, SetClock
from kubelite.doctor.dates import Dates, gather, gather_quickly, judge
from unit.doctor.hosts import SERVER, bad, in_folder

NOW = datetime(2027, 3, 4, 5, 6, tzinfo=UTC)
GOOD = Dates(NOW, True, 0.001, NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"newest_file": None}, []),
        ({"is_synchronised": None}, []),
        (
            {"now": datetime(1970, 1, 1, tzinfo=UTC)},
            ["error: the clock shows 1970-01-01 00:00 UTC, which is before this release"],
        ),
        ({"now": OLDEST_SANE_DATE, "newest_file": None}, []),
        (
            {"is_synchronised": False},
            ["note: nothing says that the clock (2027-03-04 05:06 UTC) is kept right"],
        ),
        (
            {"jumped_seconds": -3.0},
            ["warning: the clock jumped by -3.0 s while it was watched"],
        ),
        (
            {"newest_file": NOW + timedelta(hours=2)},
            [
                "warning: the data folder has files of 2027-03-04 07:06 UTC, and the clock shows 2027-03-04 05:06 UTC"
            ],
        ),
        ({"newest_file": NOW + timedelta(minutes=4)}, []),
    ],
)
def test_clocks(changes: dict[str, object], found: list[str]) -> None:
    assert bad(judge(replace(GOOD, **changes), SERVER)) == found


def test_a_clock_that_is_unset(tmp_path: Path) -> None:
    clock = SetClock(datetime(1970, 1, 1, 0, 1, tzinfo=UTC))
    [found] = bad(judge(gather_quickly(in_folder(tmp_path), clock), SERVER))
    assert found.startswith("error: the clock shows 1970-01-01")


def test_files_of_the_future(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    folder.mkdir()
    (folder / "ca.crt").touch()
    later = time.time() + 90_000
    os.utime(folder / "ca.crt", (later, later))
    found = gather_quickly(in_folder(tmp_path))
    assert any("was set back" in one.why for one in judge(found, SERVER))


def test_the_clock_of_this_machine_does_not_jump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubelite.doctor.dates.WATCH_SECONDS", 0.01)
    found = gather(in_folder(tmp_path))
    assert abs(found.jumped_seconds) < 1.0
    assert found.is_synchronised in (True, False, None)
