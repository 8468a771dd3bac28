"""A hundred remote agents on one server: real HTTPS and certificates, simulated containers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts import SOURCE, Server
from testbed.waiting import wait_for

from bench.processes import cpu_seconds, resident_megabytes
from bench.report import Figure
from bench.wrk import free_port

AGENTS = 100
PODS = 1000
SETTLE_SECONDS = 20
REST_SECONDS = 60  # three bookmarks of each watch, 18 renewals of each lease
LOOK_SECONDS = 1.0  # kubectl uses a core too

_COLUMNS = "custom-columns=PHASE:.status.phase,NODE:.spec.nodeName"


class AgentProcess:
    """The process of all agents."""

    def __init__(self, server: Server, data: Path, number: int) -> None:
        tests = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "bench.agent_processes",
                str(server.port),
                str(data),
                str(number),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tests,
            env={**os.environ, "PYTHONPATH": f"{SOURCE}:{tests}"},
        )

    def ask(self, command: str) -> dict[str, float]:
        """Send a command; return the figures of the process after it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = json.loads(self._process.stdout.readline())
        return answer

    def stop(self) -> None:
        """End all agents at once."""
        self._process.kill()
        self._process.wait()


def measure(folder: Path) -> Iterator[Figure]:
    """Start a control plane, let agents join, rest, then run pods."""
    server = Server(None, folder, "--disable-agent", port=free_port())
    server.start()
    time.sleep(SETTLE_SECONDS)
    before = resident_megabytes(server.pid)
    agents = AgentProcess(server, folder / "data", AGENTS)
    try:
        yield from _rest(server, agents, before)
        yield from _pods(server)
    finally:
        agents.stop()
        server.stop()


def _rest(server: Server, agents: AgentProcess, before: float) -> Iterator[Figure]:
    alone = agents.ask("figures")["megabytes"]
    started = time.perf_counter()
    agents.ask("start")
    wait_for(lambda: _ready(server) == AGENTS, "ready nodes", 120)
    yield Figure(f"agents: {AGENTS} joined at once, to Ready", time.perf_counter() - started, "s")
    time.sleep(SETTLE_SECONDS)
    first, used = agents.ask("figures"), cpu_seconds(server.pid)
    time.sleep(REST_SECONDS)
    last, used = agents.ask("figures"), cpu_seconds(server.pid) - used
    name = f"agents: {AGENTS} at rest"
    server_bytes = (resident_megabytes(server.pid) - before) * 1e6
    yield Figure(f"{name}, server's memory for each", server_bytes / AGENTS / 1e6, "MB")
    connections = last["connections"]
    yield Figure("agents: connections of an agent", connections, "")
    yield Figure(
        "agents: server's memory of a connection", server_bytes / AGENTS / connections / 1e3, "KB"
    )
    yield Figure(f"{name}, server's CPU", used / REST_SECONDS * 100, "% of a core")
    yield Figure(
        "agents: bytes an idle agent costs on the wire, TLS, both ways",
        (last["bytes"] - first["bytes"]) / REST_SECONDS * 3600 / 1e6,
        "MB/h",
    )
    share = (last["cpu_seconds"] - first["cpu_seconds"]) / REST_SECONDS / AGENTS * 100
    yield Figure(f"{name}, CPU of each", share, "% of a core", "< 0.5")
    own = (last["megabytes"] - alone) / AGENTS
    yield Figure(f"{name}, memory of each beyond the process", own, "MB")


def _ready(server: Server) -> int:
    return server.kubectl("get", "nodes", "--no-headers").count(" Ready ")


def _pods(server: Server) -> Iterator[Figure]:
    server.kubectl("create", "deployment", "many", "--image=work:1", f"--replicas={PODS}")
    started = time.perf_counter()
    counts = {"created": 0.0, "running": 0.0}

    def is_complete() -> bool:
        time.sleep(LOOK_SECONDS)
        lines = server.kubectl("get", "pods", "--no-headers", "-o", _COLUMNS).splitlines()
        now = time.perf_counter() - started
        running = sum(line.startswith("Running") for line in lines)
        for name, number in (("created", len(lines)), ("running", running)):
            if number >= PODS and not counts[name]:
                counts[name] = now
        return running >= PODS

    used = cpu_seconds(server.pid)
    wait_for(is_complete, "running pods", 300)
    used = cpu_seconds(server.pid) - used
    for name, seconds in counts.items():
        yield Figure(f"agents: {PODS} pods {name}, {AGENTS} agents", PODS / seconds, "/s")
    yield Figure("agents: server's CPU per pod, created to Running", used / PODS * 1e3, "ms")
