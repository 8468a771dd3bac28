"""A whole node with addresses of both families, and one with IPv6 only, on a real engine."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.hosts import ADDRESS, Host, Server, missing_tools
from testbed.waiting import wait_for

from kubelite.net.ipv6_host import BEFORE

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "curl")
NODE_V6 = "2001:db8:1::1"
BOTH = (
    f"--node-ip={ADDRESS},{NODE_V6}",
    "--cluster-cidr=10.42.0.0/16,fd42::/56",
    "--service-cidr=10.43.0.0/16,fd43::/112",
)
ONLY_IPV6 = (f"--node-ip={NODE_V6}", "--cluster-cidr=fd42::/56", "--service-cidr=fd43::/112")
CLIENT = """
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - name: client
    image: kubelite.local/hello:1
    env:
    - {name: IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
    - {name: HOSTS, valueFrom: {fieldRef: {fieldPath: status.hostIPs}}}
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
    pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="the host has IPv6 off"),
]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-ipv6-"))
    host = Host("kubelite-ipv6", folder)
    try:
        host.run("ip", "address", "add", f"{NODE_V6}/64", "dev", "eth0", "nodad")
        server = Server(host, folder)
        server.flags = [flag for flag in server.flags if not flag.startswith("--node-ip")]
        server.flags += request.param
        host.start_engine()
        images = folder / "data" / "agent" / "images"
        images.mkdir(parents=True)
        host.run(sys.executable, str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        host.close()
        BEFORE.unlink(missing_ok=True)  # a note of this namespace, not of the machine


@pytest.mark.parametrize(
    ("server", "families"), [(BOTH, ["IPv4", "IPv6"]), (ONLY_IPV6, ["IPv6"])], indirect=["server"]
)
def test_a_node_serves_by_all_its_families(server: Server, families: list[str]) -> None:
    host = server.host
    assert host is not None
    server.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=60s")
    nodes = json.loads(server.kubectl("get", "node", "-o", "json"))["items"]
    internal = [e["address"] for e in nodes[0]["status"]["addresses"] if e["type"] == "InternalIP"]
    assert internal == [{"IPv4": ADDRESS, "IPv6": NODE_V6}[family] for family in families]
    assert len(nodes[0]["spec"]["podCIDRs"]) == len(families)

    server.kubectl("apply", "-f", str(EXAMPLE))
    prefer = '{"spec": {"ipFamilyPolicy": "PreferDualStack"}}'
    server.kubectl("patch", "service", "hello", "-p", prefer)
    server.kubectl("create", "-f", "-", stdin=CLIENT)
    server.kubectl(
        "rollout", "status", "deployment/hello", "--timeout=60s"
    )  # probed by the primary
    server.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
    client = json.loads(server.kubectl("get", "pod", "client", "-o", "json"))["status"]
    own = [entry["ip"] for entry in client["podIPs"]]
    assert [":" in address for address in own] == [family == "IPv6" for family in families]
    assert [entry["ip"] for entry in client["hostIPs"]] == internal
    assert client["podIP"] == own[0]

    def inside(*line: str) -> str:
        return server.kubectl("exec", "client", "--", *line)

    known = inside("busybox", "cat", "/etc/hosts").split()
    assert set(own) <= set(known)
    assert inside("busybox", "sh", "-c", "echo $IPS $HOSTS").split() == [
        ",".join(own),
        ",".join(internal),
    ]
    resolvers = inside("busybox", "cat", "/etc/resolv.conf")
    dns = [{"IPv4": "10.43.0.10", "IPv6": "fd43::a"}[family] for family in families]
    assert [line.split()[1] for line in resolvers.splitlines() if "nameserver" in line] == dns
    kinds = {"IPv4": "a", "IPv6": "aaaa"}
    service = json.loads(server.kubectl("get", "service", "hello", "-o", "json"))["spec"]
    assert service["ipFamilies"] == families
    for family, address in zip(families, service["clusterIPs"], strict=True):
        name = "hello.default.svc.cluster.local"
        answer = inside("busybox", "nslookup", f"-type={kinds[family]}", name)
        assert address in answer
        ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | busybox nc -w 2 {address} 80"
        assert "hello" in inside("busybox", "sh", "-c", ask)
    for address in internal:
        place = f"[{address}]" if ":" in address else address
        question = "curl", "-s", "--max-time", "1", f"http://{place}:30080/"
        wait_for(lambda asked=question: host.run(*asked, check=False), "answer")  # type: ignore[misc]
    assert "Traceback" not in server.log.read_text()
