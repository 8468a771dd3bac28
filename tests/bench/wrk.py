"""Loads a server over TLS with `wrk`."""

import re
import socket
import subprocess
from pathlib import Path

from msgspec import Struct
from testbed.hosts import Server

SECONDS = 8
UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Load(Struct, frozen=True):
    """What a load came to."""

    requests: int
    rate: float  # requests per second
    p50_ms: float
    p99_ms: float


def wrk(
    server: Server,
    token: str,
    path: str,
    clients: int,
    *,
    seconds: int = SECONDS,
    script: Path | None = None,
) -> Load:
    """Send requests from some connections; raises RuntimeError unless every answer is a success."""
    line = ["wrk", f"-t{min(2, clients)}", f"-c{clients}", f"-d{seconds}s", "--latency"]
    line += ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
    line += ["-s", str(script)] if script else []
    url = f"https://127.0.0.1:{server.port}{path}"
    printed = subprocess.run([*line, url], capture_output=True, text=True, check=True).stdout
    return _load(printed)


def _load(printed: str) -> Load:
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(f"requests failed:\n{printed}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    requests = re.search(r"(\d+) requests in", printed)
    assert rate is not None
    assert requests is not None
    return Load(int(requests[1]), float(rate[1]), _latency(printed, 50), _latency(printed, 99))


def wrk_host(url: str, host: str, clients: int, *, seconds: int = SECONDS) -> Load:
    """Send requests for a host from one thread; raises RuntimeError unless every answer is a success."""
    line = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", "-H", f"Host: {host}", url]
    printed = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    return _load(printed)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _latency(printed: str, percentile: int) -> float:
    found = re.search(rf"{percentile}%\s+([\d.]+)(us|ms|s)\b", printed)
    assert found is not None
    return float(found[1]) * UNITS_MS[found[2]]
