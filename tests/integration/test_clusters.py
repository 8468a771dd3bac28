"""Ephemeral clusters as a user has them: two at once, published ports, stop and start, kill -9, and nothing left."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.bed import Bed
from testbed.topology import one_link
from testbed.waiting import wait_for

from integration.cluster_host import HELLO, MISSING, Command, ask, difference, machine_state

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(180),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: hello}
spec:
  rules:
  - http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: hello, port: {number: 80}}}}]
"""
KEEPER = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: keeper}
spec:
  containers:
  - name: main
    image: kubelite.local/hello:1
    command: [sh, -c, "date +%s >>/kept/starts; sleep 100000"]
    volumeMounts: [{name: kept, mountPath: /kept}]
  volumes: [{name: kept, persistentVolumeClaim: {claimName: kept}}]
"""


@pytest.fixture(name="before", scope="module")
def look_before() -> set[str]:
    return machine_state()


@pytest.fixture(name="command", scope="module")
def make_command(before: set[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    del before
    folder = tmp_path_factory.mktemp("home") / "clusters"
    command = Command(folder)
    yield command
    names = list(command.rows())
    if names:
        command("delete", *names)


@pytest.fixture(name="image", scope="module")
def make_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    archive = tmp_path_factory.mktemp("image") / "hello.tar"
    subprocess.run([sys.executable, str(HELLO / "image.py"), str(archive)], check=True)
    return str(archive)


@pytest.fixture(name="real", scope="module")
def make_real(command: Command, image: str) -> str:
    command(
        "create", "real", "--agents=1", "--simulate-nodes=1", f"--image={image}",
        "--port=18080:80@ingress", "--port=18081:30080@agent-0",
    )  # fmt: skip
    return "real"


def _ready_nodes(command: Command, cluster: str) -> set[str]:
    nodes = json.loads(command.kubectl(cluster, "get", "nodes", "-o", "json"))["items"]
    return {
        node["metadata"]["name"]
        for node in nodes
        if any(
            one["type"] == "Ready" and one["status"] == "True"
            for one in node["status"]["conditions"]
        )
    }


def _server_of(command: Command, cluster: str) -> int:
    """Return the process of a cluster's server itself, by number."""
    mark = f"/{cluster}/server/config.yaml"
    [pid] = [
        pid for pid, line in command.processes().items()
        if mark in line and Path(f"/proc/{pid}/exe").resolve().name.startswith("python")
    ]  # fmt: skip
    return pid


def test_a_real_cluster_answers_through_its_ingress(command: Command, real: str) -> None:
    assert _ready_nodes(command, real) == {"real-server", "real-agent-0", "simulated-0"}
    command.kubectl(real, "cordon", "simulated-0")
    command.kubectl(real, "apply", "-f", str(HELLO))
    command.kubectl(real, "apply", "-f", "-", stdin=INGRESS)
    assert "hello" in ask("http://127.0.0.1:18080/")
    assert "hello" in ask("http://127.0.0.1:18081/")
    config = command("kubeconfig", real)
    assert "current-context: kubelite-real" in config
    assert "kubelite agent joined" in command("logs", real, "--node=agent-0")


def test_another_cluster_beside_it(command: Command, real: str) -> None:
    command("create", "sim", "--simulate-nodes=2")
    assert command.rows() == {"real": "running", "sim": "running"}
    assert _ready_nodes(command, "sim") == {"simulated-0", "simulated-1"}
    command.kubectl("sim", "run", "web", "--image=web:1")
    wait_for(lambda: "Running" in command.kubectl("sim", "get", "pods"), "running pod", 20)
    said = command.kubectl("sim", "logs", "web", check=False)
    assert "is simulated: its containers write no logs" in said
    assert "web" not in command.kubectl(real, "get", "pods")
    assert "cluster real exists" in command("create", "real", check=False)
    assert "8080 is in use" not in command("list")
    refused = command("create", "other", "--agents=0", "--port=18080:80@ingress", check=False)
    assert "another cluster has 18080" in refused
    assert command.rows() == {"real": "running", "sim": "running"}


def test_images_come_to_all_nodes(command: Command, real: str, tmp_path: Path, image: str) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(Path(image).read_bytes())
    assert command("load-image", real, str(other)) == "loaded on server\nloaded on agent-0\n"
    assert "simulated nodes hold no images" in command("load-image", "sim", image, check=False)


def test_data_outlives_a_stop_and_a_kill(command: Command, real: str) -> None:
    command.kubectl(real, "apply", "-f", "-", stdin=KEEPER)

    def starts() -> int:
        said = command.kubectl(real, "exec", "keeper", "--", "cat", "/kept/starts", check=False)
        return sum(line.strip().isdecimal() for line in said.splitlines())

    wait_for(lambda: starts() == 1, "first start", 30)
    command("stop", real)
    assert command.rows()[real] == "stopped"
    assert not [line for line in command.processes().values() if "/real/" in line]
    assert not [line for line in machine_state() if "kl-" in line]
    with socket.create_server(("127.0.0.1", 18081)):
        said = command("start", real, check=False)
    assert "cannot publish the ports of cluster real" in said
    assert command.rows()[real] == "stopped"
    command("start", real)
    wait_for(lambda: starts() == 2, "second start", 30)

    os.kill(_server_of(command, real), signal.SIGKILL)
    wait_for(
        lambda: not [one for one in command.processes().values() if "/real/server/" in one],
        "end",
        10,
    )
    assert command.rows()[real] == "stopped"
    assert not [line for line in command.processes().values() if "/real/" in line]
    # Its container waits for its turn, as any that has ended twice within ten minutes, so the disk is asked.
    [kept] = (command.folder / real).glob("*/data/storage/*/starts")
    assert len(kept.read_text().splitlines()) == 2
    command("start", real)
    assert command.rows()[real] == "running"


def test_a_command_that_was_killed_leaves_nothing(command: Command, real: str) -> None:
    making = command.begin("create", "cut", "--agents=0")
    wait_for(
        lambda: any("/cut/server/" in one for one in command.processes().values()), "a host", 20
    )
    making.kill()
    making.wait()
    assert "cut" not in command.rows()
    assert not (command.folder / "cut").exists()
    assert not [line for line in command.processes().values() if "/cut/" in line]
    assert command.rows()[real] == "running"


def test_a_cluster_that_cannot_start_says_why_and_leaves_nothing(command: Command) -> None:
    config = command.folder.parent / "wrong.yaml"
    config.write_text("simulate-nodes: 1\nserver: {colour: red}\n")
    said = command("create", "wrong", f"--config={config}", check=False)
    assert "its server has ended" in said
    assert 'unknown key "colour"' in said
    assert not (command.folder / "wrong").exists()
    # Nodes that are not Ready in time are named.
    config.write_text("simulate-nodes: 1\nsimulation-file: lost.yaml\n")
    (command.folder.parent / "lost.yaml").write_text("node: {lost: {afterSeconds: 0}}\n")
    said = command("create", "wrong", f"--config={config}", "--wait=1s", check=False)
    assert "after 1 s " in said
    assert "simulated" in said or "nodes have registered" in said
    assert not (command.folder / "wrong").exists()


def test_without_root(tmp_path: Path) -> None:
    command = Command(tmp_path / "clusters", "unshare", "--user")
    assert "real nodes need root" in command("create", "user", check=False)
    command("create", "user", "--simulate-nodes=1")
    assert _ready_nodes(command, "user") == {"simulated-0"}
    os.kill(_server_of(command, "user"), signal.SIGKILL)
    wait_for(lambda: not command.processes(), "end", 10)
    assert command.rows() == {"user": "stopped"}
    command("delete", "user")
    assert not command.folder.exists()


def test_in_a_container(image: str) -> None:
    """A privileged container: mounts, processes, control groups and a network of its own, and no engine."""
    with Bed(one_link("alpha"), engines=False) as bed:
        alpha = bed["alpha"]
        program = (sys.executable, "-m", "kubelite", "cluster")
        alpha.run(
            *program, "create", "inside", "--agents=0", f"--image={image}", "--port=8080:80@ingress"
        )
        kubeconfig = "/var/lib/kubelite-clusters/inside/kubeconfig.yaml"
        kubectl = ("kubectl", f"--kubeconfig={kubeconfig}")
        assert " Ready " in alpha.run(*kubectl, "get", "nodes")
        alpha.run(*kubectl, "run", "hello", "--image=kubelite.local/hello:1")
        alpha.run(*kubectl, "wait", "--for=condition=Ready", "pod/hello", "--timeout=30s")
        alpha.run(*program, "delete", "inside")
        # The folder goes away, and the node goes on: it is found by what the kernel has of it.
        alpha.run(*program, "--clusters-dir=/var/lib/other", "create", "gone", "--wait=0")
        alpha.run("mv", "/var/lib/other", "/var/lib/moved")
        alpha.run(*program, "list")
        assert "kubelite server" not in alpha.run("ps", "-eo", "args")
        left = alpha.run(
            "sh",
            "-c",
            "ip -br link; nft list tables; ls /var/lib; ls -d /sys/fs/cgroup/*/kubelite*",
            check=False,
        )
        assert not [word for word in left.split() if word.startswith(("kl", "kubelite-cluster"))]


def test_nothing_is_left(command: Command, real: str, before: set[str]) -> None:
    command("delete", real, "sim")
    assert command.processes() == {}
    assert not command.folder.exists()
    assert difference(before) == []
