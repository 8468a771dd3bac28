"""Ephemeral clusters: from the command to Ready nodes and an answer, and what simulated nodes cost at rest.

Others, as they publish it for one node that answers: k3d 19.9 s, kind 33 s, minikube 50.8 s.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts import SOURCE, missing_tools
from testbed.waiting import wait_for

from bench.processes import cpu_share, resident_megabytes
from bench.report import Figure

HELLO = Path(__file__).parents[2] / "examples" / "hello"
PORT = 18070
RUNS = 5
NODES = 100
SETTLE_SECONDS = 15
REST_SECONDS = 30
PEERS = "k3d 19.9, kind 33, minikube 50.8"
OBJECTS = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "Ingress",
    "metadata": {"name": "hello"},
    "spec": {
        "defaultBackend": {"service": {"name": "hello", "port": {"number": 80}}},
    },
}


def measure(folder: Path) -> Iterator[Figure]:
    """Make and delete clusters as a user does, and take the median of some runs."""
    # Installed programs have their bytecode; without it the imports take half of the time.
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(SOURCE)], check=True)
    clusters = _Clusters(folder / "clusters")
    try:
        yield from _simulated(clusters)
        if missing_tools("root", "dockerd", "unshare", "kubectl"):
            return
        archive = folder / "hello.tar"
        subprocess.run([sys.executable, str(HELLO / "image.py"), str(archive)], check=True)
        yield from _real(clusters, archive)
    finally:
        for name in clusters.names():
            clusters.run("delete", name)


def _simulated(clusters: "_Clusters") -> Iterator[Figure]:
    taken = []
    for _ in range(RUNS):
        taken.append(clusters.seconds("create", "sim", "--simulate-nodes=1"))
        clusters.run("delete", "sim")
    yield Figure("cluster: simulated, command to Ready", sorted(taken)[RUNS // 2], "s", "< 1")
    for number in (1, NODES):
        name = f"simulated nodes, {number}"
        seconds = clusters.seconds("create", "rest", f"--simulate-nodes={number}")
        if number > 1:
            yield Figure(f"cluster: {name}, command to Ready", seconds, "s")
        pid = clusters.server("rest")
        time.sleep(SETTLE_SECONDS)
        share = cpu_share(pid, REST_SECONDS)
        yield Figure(f"cluster: {name}, CPU at rest", share, "% of a core")
        yield Figure(f"cluster: {name}, resident memory", resident_megabytes(pid), "MB")
        clusters.run("delete", "rest")


def _real(clusters: "_Clusters", archive: Path) -> Iterator[Figure]:
    ready, answers, agents = [], [], []
    for _ in range(RUNS):
        started = time.perf_counter()
        clusters.run("create", "real", f"--image={archive}", f"--port={PORT}:80@ingress")
        ready.append(time.perf_counter() - started)
        kubectl = ["kubectl", f"--kubeconfig={clusters.folder}/real/kubeconfig.yaml"]
        for more, text in (
            (["apply", "-f", str(HELLO)], ""),
            (["apply", "-f", "-"], json.dumps(OBJECTS)),
        ):
            subprocess.run(
                [*kubectl, *more], input=text, text=True, check=True, capture_output=True
            )
        wait_for(_answers, "answer")
        answers.append(time.perf_counter() - started)
        clusters.run("delete", "real")
    for _ in range(3):
        agents.append(clusters.seconds("create", "agents", "--agents=2"))
        clusters.run("delete", "agents")
    yield Figure("cluster: real node, command to Ready", sorted(ready)[RUNS // 2], "s", "< 3")
    yield Figure("cluster: two agents more, command to Ready", sorted(agents)[1], "s")
    name = "cluster: command to answer through the ingress"
    yield Figure(name, sorted(answers)[RUNS // 2], "s", f"< 6; {PEERS}")


def _answers() -> bool:
    ask = ["curl", "-sf", "-m", "1", f"http://127.0.0.1:{PORT}/"]
    return subprocess.run(ask, capture_output=True).returncode == 0


class _Clusters:
    """`kubelite cluster` over a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str) -> str:
        line = [sys.executable, "-m", "kubelite", "cluster", "--clusters-dir", str(self.folder)]
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        return subprocess.run(
            [*line, *arguments], check=True, capture_output=True, text=True, env=environment
        ).stdout

    def seconds(self, *arguments: str) -> float:
        started = time.perf_counter()
        self.run(*arguments)
        return time.perf_counter() - started

    def names(self) -> list[str]:
        return [line.split()[0] for line in self.run("list").splitlines()[1:]]

    def server(self, name: str) -> int:
        noted = json.loads((self.folder / name / "server" / "process.json").read_text())
        return int(noted["pid"])
