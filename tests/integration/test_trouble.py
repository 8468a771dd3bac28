"""What a new user meets when something is in the way: one clear line, or a server that waits and recovers."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from testbed.hosts import SOURCE, Host, Server, missing_tools
from testbed.waiting import wait_for

MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip")
needs_a_host = pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
)


def _fails(folder: Path, *flags: str, prefix: tuple[str, ...] = ()) -> str:
    """Run a server that cannot start; return what it printed."""
    done = subprocess.run(
        [
            *prefix,
            sys.executable,
            "-m",
            "kubelite",
            "server",
            f"--write-kubeconfig={folder}/kubeconfig",
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_a_taken_port(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        data = tmp_path / "data"
        line = _fails(
            tmp_path, "--disable-agent", f"--data-dir={data}", f"--https-listen-port={port}"
        )
    assert line == (
        f"kubelite: cannot listen on 0.0.0.0:{port}: Address already in use; see --https-listen-port"
    )
    assert not data.exists()


def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    port = f"--https-listen-port={_free_port()}"
    line = _fails(tmp_path, "--disable-agent", f"--data-dir={tmp_path}/file/data", port)
    assert line == (
        f"kubelite: cannot use data folder {tmp_path}/file/data: Not a directory; see --data-dir"
    )
    assert not (tmp_path / "kubeconfig").exists()


def test_a_second_server_on_the_same_folder(tmp_path: Path) -> None:
    server = Server(None, tmp_path, "--disable-agent", port=_free_port())
    server.start()
    try:
        line = _fails(
            tmp_path,
            "--disable-agent",
            f"--data-dir={tmp_path}/data",
            f"--https-listen-port={_free_port()}",
        )
        assert line == (
            f"kubelite: cannot open store in {tmp_path}/data/db: process {server.pid} uses it; "
            "stop the server first"
        )
        assert "kube-system" in server.kubectl("get", "namespaces")
    finally:
        server.stop()


# A server whose index fails once the batch with a certain key is durable.
BREAKING = """
import sys
from kubelite.store.index import Index

put = Index.put

def fail(index, entry):
    if "poison" in entry.key and sys.argv[1] == "server":
        raise MemoryError("no memory")
    put(index, entry)

Index.put = fail
from kubelite.cli import main
main()
"""


def test_a_store_that_cannot_go_on_ends_the_server_and_the_next_start_recovers(
    tmp_path: Path,
) -> None:
    server = Server(None, tmp_path, "--disable-agent", port=_free_port())
    server.begin((sys.executable, "-c", BREAKING))
    wait_for(server.is_ready, "ready server", 60)
    server.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    with pytest.raises(AssertionError, match="the index may differ from the disk"):
        server.kubectl("create", "configmap", "poison")
    assert server.process is not None
    assert server.process.wait(30) == 1
    log = server.log.read_text()
    assert log.splitlines()[-1] == (
        "kubelite: cannot write: the index may differ from the disk after a MemoryError"
    )
    assert log.count("the store cannot go on") == 1
    server.start()
    try:
        # It was durable, so it is there now.
        assert "poison" in server.kubectl("get", "configmaps", "kept", "poison", "-o", "name")
    finally:
        server.stop()


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="drops a right that only root has")
def test_no_right_to_change_the_network(tmp_path: Path) -> None:
    line = _fails(
        tmp_path,
        f"--data-dir={tmp_path}/data",
        f"--https-listen-port={_free_port()}",
        prefix=("setpriv", "--bounding-set=-net_admin"),
    )
    assert line == (
        "kubelite: cannot set up pod networking: needs root (CAP_NET_ADMIN); "
        "--disable-agent runs the control plane only"
    )
    assert not (tmp_path / "data").exists()


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host("kubelite-engine", Path(tempfile.mkdtemp(prefix="kubelite-trouble-")))
    try:
        yield host
    finally:
        host.close()


@pytest.mark.docker
@needs_a_host
def test_without_an_engine_the_node_says_so_and_recovers_by_itself(host: Host) -> None:
    server = Server(host, host.folder)
    server.start()
    try:

        def ready() -> dict[str, str]:
            nodes = json.loads(server.kubectl("get", "nodes", "-o", "json"))["items"]
            conditions = [one for node in nodes for one in node["status"].get("conditions", [])]
            return next((one for one in conditions if one["type"] == "Ready"), {})

        condition = wait_for(ready, "condition")
        assert condition["status"] == "False"
        assert condition["reason"] == "KubeletNotReady"
        assert "container runtime is down" in condition["message"]
        host.start_engine()
        wait_for(lambda: ready()["status"] == "True", "ready node", 30)
        host.stop_engine()
        wait_for(lambda: ready()["status"] == "False", "node that misses its engine", 30)
        host.start_engine()
        wait_for(lambda: ready()["status"] == "True", "ready node", 30)
    finally:
        server.stop()


def test_certificates_and_keys_are_renewed_while_the_server_is_stopped(tmp_path: Path) -> None:
    def kubelite(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kubelite", *arguments, f"--data-dir={tmp_path}/data"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
        )

    server = Server(None, tmp_path, "--disable-agent", "--secrets-encryption", port=_free_port())
    server.start()
    try:
        server.kubectl("create", "secret", "generic", "one", "--from-literal=password=opensesame")
        assert "apiserver" in kubelite("certificate", "list").stdout
        refused = kubelite("certificate", "rotate")
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert "stop the server first" in refused.stderr
    finally:
        server.stop()
    stored = (tmp_path / "data" / "db" / "data.mdb").read_bytes()
    assert not any(form in stored for form in (b"opensesame", b"b3BlbnNlc2FtZQ=="))
    assert "1 Secrets sealed" in kubelite("secrets-encrypt", "rotate-keys").stdout
    assert "made anew: apiserver" in kubelite("certificate", "rotate").stdout
    assert kubelite("certificate", "rotate-ca").returncode == 0
    assert "0 problems" in kubelite("check").stdout
    server.start()
    try:
        found = server.kubectl("get", "secret", "one", "-o", "jsonpath={.data.password}")
        assert found == "b3BlbnNlc2FtZQ=="
    finally:
        server.stop()


@pytest.mark.docker
@needs_a_host
def test_an_engine_of_its_own_is_started_and_taken_off_again(host: Host) -> None:
    server = Server(host, host.folder)
    server.flags = [flag for flag in server.flags if not flag.startswith("--docker-socket")]
    server.start()
    try:
        wait_for(lambda: " Ready" in server.kubectl("get", "nodes"), "ready node", 60)
        assert "docker://" in server.kubectl("get", "nodes", "-o", "wide")
    finally:
        server.stop()
        data = f"--data-dir={host.folder}/data"
        host.run(sys.executable, "-m", "kubelite", "reset", "--yes", data)
    assert not (host.folder / "data").exists()
    running = subprocess.run(["pgrep", "-f", f"data-root={host.folder}/data"], capture_output=True)
    assert not running.stdout
