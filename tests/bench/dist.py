"""What kubelite is shipped as: sizes, the first start, which may have to unpack, and later starts until /readyz."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts import Server

from bench.report import ROOT, Figure

PORT = 16443
READY_SECONDS = 60.0


def measure(folder: Path) -> Iterator[Figure]:
    """Build all forms and measure them; it takes two minutes."""
    built = Path(os.environ.get("DIST_FOLDER") or folder / "dist").resolve()
    if not built.is_dir():
        line = [sys.executable, str(ROOT / "packaging" / "build.py"), str(built)]
        subprocess.run(line, check=True, stdout=sys.stderr)
    for path in sorted(built.iterdir()):
        yield Figure(f"size of {path.name}", path.stat().st_size / 1e6, "MB")
    binary = next(built.glob("kubelite-linux-*"))
    unpacked = {"SHIV_ROOT": str(folder / "unpacked"), "TMPDIR": str(folder)}
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**own, **unpacked}
    for name, line in {
        "zip application": [sys.executable, str(built / "kubelite.pyz")],
        "single file": [str(binary)],
    }.items():
        for number, which in enumerate(("first", "later")):
            began = time.monotonic()
            subprocess.run([*line, "version"], check=True, env=environment, capture_output=True)
            yield Figure(f"{name}: {which} `version`", time.monotonic() - began, "s")
            if number:
                data = folder / name.replace(" ", "-")
                for start in ("first", "later"):
                    seconds = _seconds_to_ready(line, data, environment)
                    yield Figure(f"{name}: ready, {start} start of a cluster", seconds, "s")


def _seconds_to_ready(line: list[str], folder: Path, environment: dict[str, str]) -> float:
    folder.mkdir(exist_ok=True)
    server = Server(None, folder, "--disable-agent", "--bind-address=127.0.0.1", port=PORT)
    log = folder / "log"
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*line, "server", *server.flags], env=environment, stdout=output, stderr=output
        )
        try:
            while b"is ready after" not in log.read_bytes():
                if time.monotonic() - began > READY_SECONDS or process.poll() is not None:
                    raise TimeoutError(log.read_text())
                time.sleep(0.005)
            return time.monotonic() - began
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
