"""Real pods on a real engine, beside bare containers on the same one."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from testbed.hosts import ADDRESS, Host, Server
from testbed.waiting import wait_for

from bench.processes import cpu_share, resident_megabytes
from bench.report import Figure

IMAGE = "kubelite.local/hello:1"
EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
AT_ONCE = 30
REST_SECONDS = 30


def measure(folder: Path) -> Iterator[Figure]:
    """Start a node in a host of its own and run pods on it."""
    host = Host("kubelite-bench", folder)
    try:
        host.start_engine()
        server = Server(host, folder)
        images = folder / "data" / "agent" / "images"
        images.mkdir(parents=True)
        host.run(sys.executable, str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        started = time.perf_counter()
        server.start()
        yield Figure(
            "node: process start to ready, whole server", time.perf_counter() - started, "s", "< 1"
        )
        try:
            yield from _measure(host, server)
        finally:
            server.stop()
    finally:
        host.close()


def _measure(host: Host, server: Server) -> Iterator[Figure]:
    wait_for(lambda: " Ready" in server.kubectl("get", "nodes"), "ready node")
    wait_for(lambda: "hello" in host.docker("images"), "image")
    alone = sorted(_ready_seconds(server, f"alone-{number}", 1) for number in range(5))[2]
    yield Figure("pods: create to Ready, alone", alone, "s", "Kubernetes: 0.26")
    yield Figure("pods: 2 bare `docker run`", _bare_seconds(host, 1), "s")
    together = _ready_seconds(server, "many", AT_ONCE)
    yield Figure(f"pods: create to Ready, {AT_ONCE} at once", together, "s", "Kubernetes: 8.0")
    yield Figure(
        f"pods: {2 * AT_ONCE} bare `docker run`, {AT_ONCE} at once",
        _bare_seconds(host, AT_ONCE),
        "s",
    )
    started = time.perf_counter()
    server.kubectl("apply", "-f", str(EXAMPLE))
    question = "curl", "-s", "--max-time", "1", f"http://{ADDRESS}:30080/"
    wait_for(lambda: host.run(*question, check=False), "answer")
    yield Figure(
        "pods: `kubectl apply` of hello to its answer", time.perf_counter() - started, "s", "< 10"
    )
    time.sleep(5)
    share = cpu_share(server.pid, REST_SECONDS)
    yield Figure(
        f"node: CPU at rest over {REST_SECONDS} s, hello running", share, "% of a core", "< 1"
    )
    yield Figure("node: resident memory", resident_megabytes(server.pid), "MB", "< 130")


def _ready_seconds(server: Server, name: str, number: int) -> float:
    """Create pods at once; return the seconds from the first creation to the last Ready.

    A watch tells when each pod became Ready: dates in a pod's status are whole seconds.
    """
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-{position}", "labels": {"bench": name}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "hello", "image": IMAGE}],
            },
        }
        for position in range(number)
    ]
    columns = "NAME:.metadata.name,READY:.status.conditions[?(@.type=='Ready')].status"
    watch = (
        "kubectl",
        f"--kubeconfig={server.kubeconfig}",
        "get",
        "pods",
        "-l",
        f"bench={name}",
        "-w",
    )
    assert server.host is not None
    process = server.host.start(
        f"watch-{name}", *watch, "-o", f"custom-columns={columns}", "--no-headers"
    )
    log = server.folder / f"watch-{name}.log"
    created = time.perf_counter()
    server.kubectl(
        "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    )
    wait_for(lambda: len(set(_ready_names(log))) == number, f"{number} ready pods", 120)
    seconds = time.perf_counter() - created
    process.kill()
    process.wait()
    server.kubectl("delete", "pod", "-l", f"bench={name}", "--wait=true")
    return seconds


def _ready_names(log: Path) -> list[str]:
    rows = [line.split() for line in log.read_text().splitlines()]
    return [row[0] for row in rows if row[-1:] == ["True"]]


def _bare_seconds(host: Host, number: int) -> float:
    """Run twice as many bare containers, `number` at a time, and wait until all run."""
    started = time.perf_counter()
    for round_ in range(2):
        run = "docker", "-H", f"unix://{host.socket}", "run", "-d", "--network=none", "--label=bare"
        running = [host.start("bare", *run, IMAGE) for _ in range(number)]
        if [process.wait() for process in running] != [0] * number:
            raise RuntimeError(f"cannot run bare containers in round {round_}")
    seconds = time.perf_counter() - started
    host.docker("rm", "-f", *host.docker("ps", "-aq", "--filter", "label=bare").split())
    return seconds
