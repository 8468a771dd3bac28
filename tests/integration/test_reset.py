"""`kubelite reset` on a host with running pods: nothing of kubelite's stays, all of others' does."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.hosts import ADDRESS, Host, Server, missing_tools
from testbed.waiting import wait_for

from kubelite.config import Config

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "curl")
IMAGE = "kubelite.local/hello:1"
SECRET = """
apiVersion: v1
kind: Pod
metadata: {name: mounted}
spec:
  containers:
  - name: app
    image: kubelite.local/hello:1
    volumeMounts: [{name: memory, mountPath: /memory}, {name: memory, mountPath: /part, subPath: a}]
  volumes: [{name: memory, emptyDir: {medium: Memory}}]
"""

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]


@pytest.fixture(params=["given engine"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-reset-"))
    host = Host("kubelite-reset", folder)
    try:
        server = Server(host, folder)
        if request.param == "given engine":
            host.start_engine()
        else:
            server.flags = [flag for flag in server.flags if "docker-socket" not in flag]
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


def _reset(server: Server, *more: str) -> subprocess.CompletedProcess[str]:
    assert server.host is not None
    flags = [
        flag
        for flag in server.flags
        if flag.startswith(("--data", "--docker", "--write", "--container-log"))
    ]
    line = server.host.command(sys.executable, "-m", "kubelite", "reset", "--yes", *flags, *more)
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1] / "src")}
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120)


def _groups(uids: list[str]) -> list[Path]:
    return [path for uid in uids for path in Path("/sys/fs/cgroup").rglob(f"*pod{uid}")]


def _links(host: Host) -> set[str]:
    lines = host.run("ip", "-o", "link").splitlines()
    return {line.split(":")[1].strip().partition("@")[0] for line in lines}


def test_reset_takes_everything_of_kubelite_and_nothing_else(server: Server) -> None:
    host = server.host
    assert host is not None
    links = _links(host) & {"lo", "eth0", "eth0-far"}
    server.kubectl("apply", "-f", str(EXAMPLE))
    server.kubectl("create", "-f", "-", stdin=SECRET)
    server.kubectl("rollout", "status", "deployment/hello", "--timeout=60s")
    server.kubectl("wait", "pod/mounted", "--for=condition=Ready", "--timeout=60s")
    question = "curl", "-s", "--max-time", "1", f"http://{ADDRESS}:30080/"
    wait_for(lambda: host.run(*question, check=False), "answer")
    uids = server.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.uid}").split()
    assert len(uids) == 4
    assert _groups(uids)
    logs = server.folder / "log"
    assert {path.name.rpartition("_")[2] for path in (logs / "pods").iterdir()} == set(uids)
    assert len(list((logs / "containers").iterdir())) == 4
    assert "kubelite" in host.run("nft", "list", "tables")
    assert f"{server.folder}/data/" in Path("/proc/mounts").read_text()
    host.run("nft", "add", "table", "inet", "foreign")
    foreign = host.docker("run", "-d", "--network=none", "--name=foreign", IMAGE).strip()

    refused = _reset(server)
    assert refused.returncode == 1
    assert "stop the server first" in refused.stderr
    assert len(host.docker("ps", "-q").split()) == 9

    server.stop()
    done = _reset(server, "--node-name=other")  # what the node was called does not matter
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed 8 containers" in done.stdout
    assert host.docker("ps", "-aq", "--no-trunc").split() == [foreign]
    assert host.docker("inspect", "-f", "{{.State.Running}}", "foreign").strip() == "true"
    assert host.run("nft", "list", "tables").split() == ["table", "inet", "foreign"]
    assert _links(host) == links
    assert "10.42." not in host.run("ip", "route", "show", "table", "all")
    assert f"{server.folder}/data" not in Path("/proc/mounts").read_text()
    assert not _groups(uids)
    assert not (server.folder / "data").exists()
    assert not server.kubeconfig.exists()
    assert list(logs.iterdir()) == []

    again = _reset(server)
    assert again.returncode == 1
    assert "there is no cluster in it" in again.stderr


@pytest.mark.parametrize("server", ["own engine"], indirect=True)
def test_reset_ends_an_engine_of_our_own_also_one_that_has_died(server: Server) -> None:
    wait_for(lambda: " Ready" in server.kubectl("get", "nodes"), "ready node")
    server.kubectl("create", "-f", "-", stdin=SECRET)
    server.kubectl("wait", "pod/mounted", "--for=condition=Ready", "--timeout=60s")
    uid = server.kubectl("get", "pod", "mounted", "-o", "jsonpath={.metadata.uid}")
    config = Config(data_dir=f"{server.folder}/data")
    engine = int((config.run_dir / "docker" / "docker.pid").read_text())
    server.stop()
    os.kill(engine, signal.SIGKILL)
    wait_for(lambda: not _lives(engine), "end of the engine")
    assert _groups([uid])
    done = _reset(server)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "removed 2 containers" in done.stdout
    assert not _groups([uid])
    assert not config.run_dir.exists()
    assert not Path(config.data_dir).exists()
    assert (
        str(server.folder)
        not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
    )


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
