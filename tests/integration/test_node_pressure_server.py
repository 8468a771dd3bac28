"""A whole server whose node has too little disk from the start: conditions, taints, refusals, and what is kept back."""

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
GROUPS = Path("/sys/fs/cgroup")
GIB = 1 << 30
POD = """
apiVersion: v1
kind: Pod
metadata: {name: late}
spec:
  nodeName: NODE
  containers: [{name: app, image: "kubelite.local/hello:1"}]
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-pressure-"))
    host = Host("kubelite-press", folder)
    try:
        server = Server(
            host,
            folder,
            "--max-pods=7",
            "--system-reserved=memory=1Gi,cpu=100m",
            "--kube-reserved=ephemeral-storage=1Gi",
            "--eviction-hard=nodefs.available<98%",
            "--eviction-pressure-transition-period=1s",
        )
        host.start_engine()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        host.close()


def node_of(server: Server) -> dict[str, Any]:
    listed: list[dict[str, Any]] = json.loads(server.kubectl("get", "nodes", "-o", "json"))["items"]
    return listed[0] if listed else {"spec": {}, "status": {"conditions": []}}


def limit_of_pods() -> int:
    for path in ("memory/kubelite/memory.limit_in_bytes", "kubelite/memory.max"):
        if (GROUPS / path).exists():
            text = (GROUPS / path).read_text().strip()
            return int(text) if text.isdecimal() else 1 << 62
    return 1 << 62


def test_a_full_node_says_so_and_takes_no_pods(server: Server) -> None:
    def is_tainted() -> bool:
        taints = node_of(server)["spec"].get("taints", [])
        return "node.kubernetes.io/disk-pressure" in {taint["key"] for taint in taints}

    wait_for(is_tainted, "taint of a full node", 60)
    node = node_of(server)
    conditions = {one["type"]: one for one in node["status"]["conditions"]}
    assert conditions["DiskPressure"]["status"] == "True"
    assert conditions["DiskPressure"]["reason"] == "KubeletHasDiskPressure"
    assert conditions["MemoryPressure"]["status"] == "False"
    assert conditions["Ready"]["status"] == "True"
    capacity, allocatable = node["status"]["capacity"], node["status"]["allocatable"]
    assert (capacity["pods"], allocatable["pods"]) == ("7", "7")
    kept = int(capacity["memory"].removesuffix("Ki")) - int(
        allocatable["memory"].removesuffix("Ki")
    )
    assert kept == GIB // 1024
    assert allocatable["cpu"] == f"{int(capacity['cpu']) * 1000 - 100}m"

    server.kubectl("create", "-f", "-", stdin=POD.replace("NODE", node["metadata"]["name"]))
    shown = "jsonpath={.status.reason}: {.status.message}"
    wait_for(
        lambda: (
            server.kubectl("get", "pod", "late", "-o", shown)
            == "Evicted: Pod was rejected: The node had condition: [DiskPressure]. "
        ),
        "refused pod",
    )
    total = int(capacity["memory"].removesuffix("Ki")) * 1024
    assert total - GIB - 4096 <= limit_of_pods() <= total - GIB
    events = server.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"NodeHasDiskPressure", "EvictionThresholdMet", "NodeAllocatableEnforced"} <= set(events)

    # Without the flags the node recovers, and the limit goes.
    server.stop()
    server.flags = [
        flag for flag in server.flags if "eviction" not in flag and "reserved" not in flag
    ]
    server.start()
    wait_for(lambda: not is_tainted(), "node without pressure", 60)
    wait_for(lambda: limit_of_pods() > total, "lifted limit", 30)


def test_what_cannot_be_kept_back_is_refused_at_the_start() -> None:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-pressure-"))
    host = Host("kubelite-press2", folder)
    try:
        server = Server(host, folder, "--system-reserved=memory=900Ti")
        server.begin()
        assert server.process is not None
        assert server.process.wait(60) != 0
        said = server.log.read_text()
        assert (
            'invalid Node Allocatable configuration. Resource "memory" has a reservation of' in said
        )
        assert "Traceback" not in said
    finally:
        host.close()
