"""A machine joins a cluster over a network: from two bare hosts to a pod on the second one, and why it may not."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.hosts import ADDRESS, SOURCE, Host, Server, missing_tools, stop
from testbed.waiting import wait_for

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
AGENT_ADDRESS = "192.0.2.11"
URL = f"https://{ADDRESS}:6443"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "curl")

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


class LinkedHost(Host):
    """A host whose only link leads to another one."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.socket = folder / "docker.sock"
        self._engine = None
        self._logs = []
        self.run("ip", "netns", "add", name, inside=False)
        self.run("ip", "link", "set", "lo", "up")

    def set_up(self, address: str) -> None:
        """Give the link its address."""
        for command in (
            f"ip address add {address}/24 dev eth0",
            "ip link set eth0 up",
            "ip route add default dev eth0",
        ):
            self.run(*command.split())


class Agent:
    """A `kubelite agent` process inside a host."""

    def __init__(self, host: Host, *flags: str) -> None:
        self.host = host
        self.log = host.folder / "agent.log"
        self.flags = [
            f"--data-dir={host.folder}/data",
            f"--container-log-dir={host.folder}/log",
            f"--docker-socket={host.socket}",
            *flags,
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self, *flags: str, token: str = "") -> None:
        """Start it without waiting."""
        self.log.write_bytes(b"")
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.host.command(sys.executable, "-m", "kubelite", "agent", *self.flags, *flags),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**environment, "KUBELITE_TOKEN": token} if token else environment,
            )

    def start(self, *flags: str, token: str = "") -> str:
        """Start it and return the line by which it says that it has joined."""
        self.begin(*flags, token=token)
        return wait_for(self._greeting, "agent that has joined", 30)

    def _greeting(self) -> str:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"agent ended: {self.log.read_text()}")
        lines = self.log.read_text().splitlines()
        return next((line for line in lines if line.startswith("kubelite agent ")), "")

    def refused(self, *flags: str, token: str = "") -> str:
        """Start it, and return the one line with which it ends."""
        self.begin(*flags, token=token)
        assert self.process is not None
        assert self.process.wait(30) == 1
        *_, last = self.log.read_text().splitlines()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()
        return last

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        return 0 if self.process is None else stop(self.process)


class Pair:
    """A server on one host, and another host that may join it."""

    def __init__(self, server: Server, other: Host) -> None:
        self.server = server
        self.other = other

    def agent(self, *flags: str) -> Agent:
        return Agent(self.other, "--node-name=worker", *flags)

    def token(self, *flags: str) -> str:
        """Return a new join token."""
        host = self.server.host
        assert host is not None
        with_kubeconfig = f"--kubeconfig={self.server.kubeconfig}"
        program = (sys.executable, "-m", "kubelite")
        return host.run(*program, "token", "create", with_kubeconfig, *flags).strip()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with contextlib.ExitStack() as stack:
        hosts = []
        for name in ("kubelite-join-a", "kubelite-join-b"):
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
            hosts.append(LinkedHost(name, folder))
            stack.callback(hosts[-1].close)
        one, two = hosts
        one.run(
            "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", two.name
        )
        for host, address in ((one, ADDRESS), (two, AGENT_ADDRESS)):
            host.set_up(address)
            host.start_engine()
            images = host.folder / "data" / "agent" / "images"
            images.mkdir(parents=True)
            host.run(sys.executable, str(EXAMPLE / "image.py"), str(images / "hello.tar"))
        server = Server(one, one.folder, "--node-name=server")
        server.start()
        stack.callback(server.stop)
        yield Pair(server, two)


def _is_ready(pair: Pair, node: str) -> bool:
    path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    return pair.server.kubectl("get", "node", node, "-o", path, check=False) == "True"


def _listening(host: Host) -> list[str]:
    lines = host.run("ss", "-Hltn").splitlines()
    return sorted(line.split()[3] for line in lines)


POD = """
apiVersion: v1
kind: Pod
metadata: {name: far}
spec:
  nodeName: worker
  containers:
  - {name: app, image: "kubelite.local/hello:1"}
"""


def test_1_each_reason_not_to_join_is_one_line(pair: Pair) -> None:
    agent, token = pair.agent(), pair.token()
    assert "give a server with --join" in agent.refused(token=token)
    join = f"--join={URL}"
    assert "cannot join without a token" in agent.refused(join)
    wrong = token[:-1] + ("a" if token[-1] != "a" else "b")
    assert "it does not accept the token" in agent.refused(join, token=wrong)
    soon = pair.token("--ttl=1s")
    secret = f"bootstrap-token-{soon.partition('::')[2].partition('.')[0]}"
    gone = "wait", "-n", "kube-system", f"secret/{secret}", "--for=delete", "--timeout=30s"
    pair.server.kubectl(*gone)  # what has expired is removed
    assert "has expired" in agent.refused(join, token=soon)
    other = f"K10{'0' * 64}::{token.partition('::')[2]}"
    assert "has the hash that the token names" in agent.refused(join, token=other)
    assert "cannot trust a server by a short token" in agent.refused(
        join, token=token.partition("::")[2]
    )
    assert "and this agent was given 10.99.0.0/16" in agent.refused(
        join, "--cluster-cidr=10.99.0.0/16", token=token
    )
    assert "unknown 'kubernetes.io' or 'k8s.io' labels" in agent.refused(
        join, "--node-label=k8s.io/x=y", token=token
    )
    assert '"localhost" is one of the server' in agent.refused(
        join, "--node-name=localhost", token=token
    )
    assert "cannot join" in agent.refused(join, "--node-name=server", token=token)
    assert "there is no such interface" in agent.refused(join, "--interface=none7", token=token)


def test_2_a_server_that_is_not_there_is_waited_for(pair: Pair) -> None:
    agent = pair.agent()
    agent.begin(f"--join=https://{ADDRESS}:6444", token=pair.token())
    wait_for(lambda: "trying again" in agent.log.read_text(), "line")
    assert f"cannot reach https://{ADDRESS}:6444: Connection refused" in agent.log.read_text()
    assert agent.stop() == 0


def test_3_from_a_bare_host_to_a_pod(pair: Pair) -> None:
    agent = pair.agent("--node-label=disk=ssd", "--node-external-ip=198.51.100.7")
    before = _listening(pair.other)
    greeting = agent.start(f"--join={URL}", "--node-taint=a=b:NoSchedule", token=pair.token())
    try:
        assert re.fullmatch(rf"kubelite agent joined {URL} as worker after [0-9.]+ s", greeting)
        wait_for(lambda: _is_ready(pair, "worker"), "ready node")
        shown = pair.server.kubectl(
            "get", "node", "worker", "-o",
            "jsonpath={.metadata.labels.disk} {.spec.taints[0].key} {.status.addresses[*].address}",
        )  # fmt: skip
        assert shown == f"ssd a {AGENT_ADDRESS} 198.51.100.7 worker"
        pair.server.kubectl("taint", "node", "worker", "a-")
        pair.server.kubectl("create", "-f", "-", stdin=POD)
        pair.server.kubectl("wait", "pod/far", "--for=condition=Ready", "--timeout=60s")
        # The endpoint of the node listens on its loopback, so these come through its tunnel.
        wait_for(lambda: "far answers" in pair.server.kubectl("logs", "far", check=False), "logs")
        assert pair.server.kubectl("exec", "far", "--", "hostname").strip() == "far"
        name = "kubernetes.default.svc.cluster.local"
        found = pair.server.kubectl("exec", "far", "--", "nslookup", name)
        assert "10.43.0.1" in found
        address = pair.server.kubectl("get", "pod", "far", "-o", "jsonpath={.status.podIP}")
        host = pair.server.host
        assert host is not None
        question = "curl", "-s", "--max-time", "1", f"http://{address}:8080/"
        wait_for(lambda: host.run(*question, check=False), "answer from the other host")
        # Nothing listens towards the network but what pods and Services are for.
        new = [one for one in _listening(pair.other) if one not in before]
        assert [one for one in new if not one.startswith(("127.0.0.1:", "10.43.0.10:"))] == []
    finally:
        assert agent.stop() == 0
    assert len(pair.other.docker("ps", "-q").split()) == 2  # pods run on while no agent runs
    secrets = pair.other.folder / "data" / "agent" / "pki"
    assert {path.name: path.stat().st_mode & 0o777 for path in secrets.glob("*.key")} == {
        "node.key": 0o600,
        "network.key": 0o600,
    }


def test_4_a_second_start_needs_neither_token_nor_server(pair: Pair) -> None:
    before = pair.other.docker("ps", "-q")
    agent = pair.agent()
    try:
        assert "joined" in agent.start()
        wait_for(lambda: _is_ready(pair, "worker"), "ready node")
        assert pair.other.docker("ps", "-q") == before
    finally:
        assert agent.stop() == 0
    pair.server.stop()
    try:
        assert f"waits for {URL}" in agent.start()
    finally:
        pair.server.start()
    try:
        pair.server.kubectl("delete", "pod", "far", "--timeout=60s")
        assert pair.other.docker("ps", "-q") == ""
    finally:
        assert agent.stop() == 0


def test_5_a_port_that_is_taken(pair: Pair) -> None:
    program = "import socket, time; s = socket.create_server(('127.0.0.1', 10250)); time.sleep(60)"
    holder = pair.other.start("holder", sys.executable, "-c", program)
    try:
        wait_for(lambda: "127.0.0.1:10250" in _listening(pair.other), "taken port")
        line = "cannot listen on 127.0.0.1:10250: Address already in use; see --kubelet-port"
        assert line in pair.agent().refused()
    finally:
        stop(holder)


def test_6_another_machine_cannot_take_the_name(pair: Pair) -> None:
    data = pair.other.folder / "data"
    data.rename(data.with_name("first"))
    try:
        refusal = pair.agent().refused(f"--join={URL}", token=pair.token())
        assert f"cannot join {URL} as worker: " in refusal
        assert "kubectl delete" in refusal
    finally:
        pair.other.run("rm", "-rf", str(data))
        data.with_name("first").rename(data)


def test_7_leaving(pair: Pair) -> None:
    agent = pair.agent()
    flags = [flag for flag in agent.flags if flag.startswith(("--data", "--docker", "--container"))]
    pair.other.run(sys.executable, "-m", "kubelite", "reset", "--yes", *flags)
    assert not (pair.other.folder / "data" / "agent").exists()
    assert "kubelite" not in pair.other.run("nft", "list", "tables")
    pair.server.kubectl("delete", "node", "worker")
    agent.start(f"--join={URL}", token=pair.token())  # the name is free again
    try:
        wait_for(lambda: _is_ready(pair, "worker"), "ready node")
    finally:
        assert agent.stop() == 0
