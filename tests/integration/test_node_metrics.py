"""What a real node and its pods use, by a stock kubectl and by the node's own endpoint."""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.hosts import Host, Server, missing_tools
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: burner, labels: {app: burner}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: burns
    image: kubelite.local/hello:1
    imagePullPolicy: IfNotPresent
    command: [sh, -c, "while true; do true; done"]
    resources: {limits: {cpu: 200m, memory: 64Mi}}
    readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
  - name: rests
    image: kubelite.local/hello:1
    imagePullPolicy: IfNotPresent
    command: [sleep, "3600"]
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.kubectl,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-metrics-"))
    host = Host("kubelite-metrics", folder)
    try:
        host.start_engine()
        server = Server(host, folder)
        images = folder / "data" / "agent" / "images"
        images.mkdir(parents=True)
        host.run("python3", str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        server.start()
        try:
            # The first token of a namespace's account may come a moment after the server is ready.
            wait_for(
                lambda: "created" in server.kubectl("create", "-f", "-", stdin=POD, check=False),
                "pod",
            )
            server.kubectl("wait", "--for=condition=Ready", "pod/burner", "--timeout=60s")
            yield server
        finally:
            server.stop()
    finally:
        host.close()


def node_name(server: Server) -> str:
    return server.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")


def read(server: Server, path: str) -> str:
    """Return a page of the node's own endpoint, through the proxy of nodes."""
    return server.kubectl("get", "--raw", f"/api/v1/nodes/{node_name(server)}/proxy{path}")


def burnt(server: Server) -> int:
    """Return the thousandths of a core that kubectl shows for the container that burns; 0 while it shows none."""
    shown = server.kubectl("top", "pod", "burner", "--containers", "--no-headers", check=False)
    rows = [line.split() for line in shown.splitlines()]
    found = [row[2].removesuffix("m") for row in rows if row[1:2] == ["burns"]]
    return int(found[0]) if found and found[0].isdecimal() else 0


def test_kubectl_top_shows_what_is_burnt(server: Server) -> None:
    wait_for(lambda: burnt(server) > 50, "usage of the container that burns", 90)
    assert burnt(server) <= 260  # its limit, and what a short window may be off
    listed = server.kubectl("top", "pod", "-A", "--containers", "--sort-by=cpu", "--no-headers")
    assert [line.split()[2] for line in listed.splitlines()] == ["burns", "rests"]
    assert "burner" in server.kubectl("top", "pod", "-l", "app=burner", "--sort-by=memory")
    assert "burner" not in server.kubectl("top", "pod", "-l", "app=other", check=False)
    (name, cpu, _, memory, share) = server.kubectl("top", "node", "--no-headers").split()
    assert name == node_name(server)
    assert int(cpu.removesuffix("m")) > 50
    assert int(memory.removesuffix("Mi")) > 0
    assert share.endswith("%")
    assert "burner" in server.kubectl("get", "pods.v1beta1.metrics.k8s.io")


def test_the_summary_shows_a_pod_as_its_control_groups_do(server: Server) -> None:
    def pod() -> dict[str, Any]:
        listed = json.loads(read(server, "/stats/summary"))["pods"]
        return next(iter(one for one in listed if one["podRef"]["name"] == "burner"), {})

    found = pod()
    containers = {one["name"]: one for one in found["containers"]}
    assert containers.keys() == {"burns", "rests"}
    used = containers["burns"]["cpu"]["usageCoreNanoSeconds"]
    assert found["cpu"]["usageCoreNanoSeconds"] >= used > 0
    assert 0 < containers["burns"]["memory"]["workingSetBytes"] < 64 << 20
    assert containers["burns"]["memory"]["availableBytes"] < 64 << 20
    assert found["network"]["name"] == "eth0"
    assert found["process_stats"]["process_count"] >= 2
    wait_for(
        lambda: (
            {one["name"]: one for one in pod()["containers"]}["burns"]["cpu"][
                "usageCoreNanoSeconds"
            ]
            > used
        ),
        "a newer measurement",
        60,
    )


def test_the_metrics_of_the_node_name_the_pod(server: Server) -> None:
    where = 'container="burns",namespace="default",pod="burner"'
    assert f"container_cpu_usage_seconds_total{{{where}}} " in read(server, "/metrics/resource")
    cadvisor = read(server, "/metrics/cadvisor")
    assert 'container_memory_working_set_bytes{container="burns"' in cadvisor
    assert 'interface="eth0"' in cadvisor
    counted = 'prober_probe_total{probe_type="Readiness",result="successful",container="burns"'
    wait_for(lambda: counted in read(server, "/metrics/probes"), "counted probes", 30)


BUSY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: busy
        image: kubelite.local/hello:1
        imagePullPolicy: IfNotPresent
        command: [sh, -c, "while true; do true; done"]
        resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}
"""


def test_an_autoscaler_scales_by_what_is_measured(server: Server) -> None:
    server.kubectl("create", "-f", "-", stdin=BUSY)
    server.kubectl("autoscale", "deployment", "busy", "--cpu-percent=50", "--max=2")

    def scaled() -> bool:
        return server.kubectl("get", "deployment", "busy", "-o", "jsonpath={.spec.replicas}") == "2"

    wait_for(
        scaled,
        "second replica",
        150,
        lambda: server.kubectl("describe", "hpa", "busy", check=False),
    )
    shown = server.kubectl("describe", "hpa", "busy")
    assert "New size: 2; reason: cpu resource utilization (percentage of request) above" in shown
    assert "ScalingActive   True    ValidMetricFound" in shown
    server.kubectl("delete", "hpa,deployment", "busy")
