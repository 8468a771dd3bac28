"""A joined agent at rest on a real engine: its memory by kind, its CPU, and how long it took to be a Ready node."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts import ADDRESS, SOURCE, Host, Server, stop
from testbed.waiting import wait_for

from bench.processes import cpu_share
from bench.report import Figure

NODE = "agent"
SETTLE_SECONDS = 20
REST_SECONDS = 60
READY = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
KINDS = {"Rss": "resident", "Pss": "proportional", "Anonymous": "anonymous"}
AIMS = {"Rss": "<= 60"}


def measure(folder: Path) -> Iterator[Figure]:
    """Start a control plane and an agent in one host, and look at the agent when it has nothing to do."""
    with contextlib.ExitStack() as stack:
        host = Host("kubelite-memory", folder)
        stack.callback(host.close)
        host.start_engine()
        server = Server(host, folder, "--disable-agent")
        server.start()
        stack.callback(server.stop)
        token = host.run(*_kubelite("token", "create", f"--kubeconfig={server.kubeconfig}")).strip()
        for what in ("first", "next"):
            started = time.perf_counter()
            agent = _start(host, token)
            wait_for(lambda: _is_ready(server), "ready node", 60)
            seconds = time.perf_counter() - started
            yield Figure(f"agent: {what} start to Ready", seconds, "s", "<= 3")
            if what == "first":
                stack.callback(stop, agent)
                yield from _at_rest("joined just now", agent.pid)
                stop(agent)
                server.kubectl("delete", "node", NODE)
            else:
                stack.callback(stop, agent)
                yield from _at_rest("joined before", agent.pid)


def _at_rest(what: str, pid: int) -> Iterator[Figure]:
    time.sleep(SETTLE_SECONDS)
    share = cpu_share(pid, REST_SECONDS)
    yield Figure(f"agent {what}: CPU at rest", share, "% of a core", "<= 0.5")
    for kind, size in memory_megabytes(pid).items():
        yield Figure(f"agent {what}: {KINDS[kind]} memory", size, "MB", AIMS.get(kind, ""))
    status = Path(f"/proc/{pid}/status").read_text()
    threads = int(status.partition("Threads:")[2].split()[0])
    yield Figure(f"agent {what}: threads", threads, "")


def memory_megabytes(pid: int | str) -> dict[str, float]:
    """Return the memory of a process: resident, proportional (shared pages divided by users), anonymous."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {kind: re.search(rf"^{kind}:\s+(\d+) kB", text, re.MULTILINE) for kind in KINDS}
    return {kind: int(match[1]) * 1024 / 1e6 for kind, match in found.items() if match is not None}


def _kubelite(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kubelite", *arguments]


def _start(host: Host, token: str) -> "subprocess.Popen[bytes]":
    line = host.command(
        *_kubelite(
            "agent",
            f"--join=https://{ADDRESS}:6443",
            f"--data-dir={host.folder}/agent",
            f"--container-log-dir={host.folder}/agent-log",
            f"--docker-socket={host.socket}",
            f"--node-name={NODE}",
        )
    )
    with (host.folder / "agent.log").open("ab") as log:
        return subprocess.Popen(
            line,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE), "KUBELITE_TOKEN": token},
        )


def _is_ready(server: Server) -> bool:
    return server.kubectl("get", "node", NODE, "-o", READY, check=False) == "True"
