"""A clock that starts in 1970, as on boards without a battery: the server waits, says so, and can be stopped."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from testbed.hosts import SOURCE, stop
from testbed.waiting import wait_for

# The whole server, with a clock that stands in 1970 as long as a file is there.
SERVER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from kubelite import clock
unset, real = Path(sys.argv.pop(1)), clock.SystemClock.now
clock.SystemClock.now = lambda self: datetime(1970, 1, 1, 0, 1, tzinfo=UTC) if unset.exists() else real(self)
from kubelite.cli import main
main()
"""


class Unset:
    """A server process, its clock's file, and what it wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "clock-is-unset"
        self.file.touch()
        self.log = folder / "kubelite.log"
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", SERVER, self.file, "server", "--disable-agent"),
                    f"--data-dir={folder}/data",
                    f"--write-kubeconfig={folder}/kubeconfig",
                    f"--https-listen-port={port}",
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
            )
        wait_for(lambda: "waiting for the clock" in self.log.read_text(), "word of the clock", 30)


@pytest.fixture
def unset(tmp_path: Path) -> Iterator[Unset]:
    server = Unset(tmp_path)
    yield server
    stop(server.process)


def test_a_clock_in_1970_makes_the_server_wait_and_say_so(unset: Unset) -> None:
    assert "date=1970-01-01T00:01:00" in unset.log.read_text()
    assert unset.process.poll() is None
    assert list((unset.folder / "data").iterdir()) == []
    assert not (unset.folder / "kubeconfig").exists()
    unset.file.unlink()
    wait_for(lambda: "kubelite is ready" in unset.log.read_text(), "ready server", 30)
    assert unset.log.read_text().count("waiting for the clock") == 1
    [authority, *_] = x509.load_pem_x509_certificates(
        next((unset.folder / "data" / "pki").glob("*ca.crt")).read_bytes()
    )
    assert abs((datetime.now(UTC) - authority.not_valid_before_utc).days) < 2
    unset.process.send_signal(signal.SIGTERM)
    assert unset.process.wait(20) == 0


def test_a_server_that_waits_for_the_clock_can_be_stopped(unset: Unset) -> None:
    unset.process.send_signal(signal.SIGTERM)
    assert unset.process.wait(10) == 0
    assert "Traceback" not in unset.log.read_text()
