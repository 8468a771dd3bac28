"""A host whose addresses change under a running node: all that announces or uses them follows, without a restart."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed.hosts import ADDRESS, Host, Server, missing_tools
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip")
LOOPBACK = "127.0.0.1"

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]

ON_HOST = """
apiVersion: v1
kind: Pod
metadata: {name: on-host}
spec:
  hostNetwork: true
  containers:
  - {name: app, image: "kubelite.local/hello:1", imagePullPolicy: IfNotPresent,
     readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1, failureThreshold: 1}}
"""


class Moving:
    """A server whose node's address nobody configured, and what it says of itself."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.server = Server(host, host.folder)
        self.server.flags.remove(f"--node-ip={ADDRESS}")

    def json(self, *arguments: str) -> Any:
        return json.loads(self.server.kubectl("get", *arguments, "-o", "json"))

    def node_addresses(self) -> list[str]:
        [node] = self.json("nodes")["items"]
        listed = node["status"].get("addresses", [])
        return [one["address"] for one in listed if one["type"] == "InternalIP"]

    def endpoints(self) -> list[str]:
        subsets = self.json("endpoints", "kubernetes").get("subsets", [])
        slices = self.json("endpointslice", "kubernetes").get("endpoints") or []
        listed = [one["ip"] for subset in subsets for one in subset["addresses"]]
        sliced = [one for endpoint in slices for one in endpoint["addresses"]]
        if listed != sliced:  # read one after the other, and written so
            return [f"endpoints {listed}, slices {sliced}"]
        return listed

    def pod(self, selector: str = "") -> dict[str, Any]:
        items = self.json("pods", f"--selector={selector}")["items"]
        found: dict[str, Any] = items[0]
        return found

    def reaches_api(self, pod: str) -> bool:
        """Return whether something answers a pod at the address of the API's Service."""
        script = "nc -w 2 10.43.0.1 443 </dev/null && echo open || echo closed"
        return "open" in self.server.kubectl("exec", pod, "--", "sh", "-c", script)


@pytest.fixture(scope="module")
def moving() -> Iterator[Moving]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-moves-"))
    host = Host("kubelite-moves", folder)
    try:
        host.start_engine()
        made = Moving(host)
        images = folder / "data" / "agent" / "images"
        images.mkdir(parents=True)
        host.run(sys.executable, str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        made.server.start()
        try:
            yield made
        finally:
            assert made.server.stop() == 0
            assert "Traceback" not in made.server.log.read_text()
    finally:
        host.close()


def test_everything_follows(moving: Moving) -> None:
    server, host = moving.server, moving.host
    server.kubectl("apply", "-f", str(EXAMPLE))
    server.kubectl("apply", "-f", "-", stdin=ON_HOST)
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=90s")
    server.kubectl("wait", "--for=condition=Ready", "pod/on-host", "--timeout=60s")
    name = moving.pod("app=hello")["metadata"]["name"]
    container = moving.pod("app=hello")["status"]["containerStatuses"][0]["containerID"]
    assert moving.node_addresses() == moving.endpoints() == [ADDRESS]

    def check(address: str) -> None:
        """Assert that the host is at `address` (empty: at none) for all who ask."""
        wait_for(lambda: moving.node_addresses() == [address or LOOPBACK], "node address", 10)
        wait_for(lambda: moving.endpoints() == ([address] if address else []), "endpoint", 10)
        assert server.kubectl("exec", name, "--", "echo", "through").strip() == "through"
        assert "answers on port" in server.kubectl("logs", name)
        assert moving.reaches_api(name) is bool(address)
        on_host = wait_for(
            lambda: moving.json("pod", "on-host")["status"].get("podIP") == (address or LOOPBACK),
            "address of a pod on the host's network",
            10,
        )
        assert on_host
        statuses = [one["status"] for one in moving.json("pods")["items"]]
        assert {one["hostIP"] for one in statuses} == {address or LOOPBACK}
        reached = f"https://{address or LOOPBACK}:6443"
        assert server.kubectl(f"--server={reached}", "get", "--raw", "/readyz") == "ok"
        url = f"http://{address or LOOPBACK}:30080/"
        wait_for(lambda: host.run("curl", "-sS", "-m", "3", url, check=False).strip(), url, 10)

    check(ADDRESS)
    host.run("ip", "address", "add", "198.51.100.20/24", "dev", "eth0")
    host.run("ip", "address", "del", f"{ADDRESS}/24", "dev", "eth0")
    check("198.51.100.20")
    host.run("ip", "address", "del", "198.51.100.20/24", "dev", "eth0")
    check("")
    host.run("ip", "route", "flush", "default")
    host.run("ip", "address", "add", "203.0.113.30/24", "dev", "eth0")
    check("203.0.113.30")
    after = moving.pod("app=hello")["status"]["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (container, 0)
    assert moving.json("pod", "on-host")["status"]["containerStatuses"][0]["restartCount"] == 0


def test_a_node_starts_without_any_address_and_finds_one_later(moving: Moving) -> None:
    host, server = moving.host, moving.server
    assert server.stop() == 0
    host.run("ip", "address", "flush", "dev", "eth0")
    server.start()
    wait_for(lambda: moving.node_addresses() == [LOOPBACK], "node on loopback", 30)
    assert moving.endpoints() == []
    name = moving.pod("app=hello")["metadata"]["name"]
    wait_for(
        lambda: "on" in server.kubectl("exec", name, "--", "echo", "on", check=False), "exec", 30
    )
    host.run("ip", "address", "add", "192.0.2.99/24", "dev", "eth0")
    wait_for(lambda: moving.node_addresses() == moving.endpoints() == ["192.0.2.99"], "address", 10)
    assert moving.reaches_api(name)
