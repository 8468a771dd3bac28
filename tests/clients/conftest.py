"""A real server process for real clients."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path

import pytest

from clients.programs import unpack

ROOT = Path(__file__).parents[2]
READY_SECONDS = 30
ANSWER_SECONDS = 30


class ServerProcess:
    """`kubelite server --disable-agent` on a free port."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.kubeconfig = folder / "kubeconfig.yaml"
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        command = [
            *(sys.executable, "-m", "kubelite", "server", "--disable-agent"),
            *("--data-dir", str(folder / "data")),
            *("--bind-address", "127.0.0.1", "--https-listen-port", "0"),
            *("--write-kubeconfig", str(self.kubeconfig)),
            *flags,
        ]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self.output: list[str] = []

    def wait_until_ready(self) -> None:
        """Read what it says until it is ready."""
        assert self.process.stderr is not None
        timer = threading.Timer(READY_SECONDS, self.process.kill)
        timer.start()
        try:
            for line in self.process.stderr:
                self.output.append(line)
                if line.startswith("kubelite is ready"):
                    break
            else:
                pytest.fail("the server did not start:\n" + "".join(self.output[-30:]))
        finally:
            timer.cancel()
        # Whatever it says from now on must not fill the pipe.
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def stop(self) -> int:
        """Stop it as a service manager does; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        self._reading.join()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.output.extend(lines)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("server"))
    try:
        process.wait_until_ready()
        yield process
    finally:
        code = process.stop()
    assert code == 0, "".join(process.output[-30:])


class Kubectl:
    """Runs kubectl, or another program with flags like its, in a namespace of its own."""

    def __init__(
        self, server: ServerProcess, namespace: str, folder: Path, program: str = "kubectl"
    ) -> None:
        self.program = program
        self.namespace = namespace
        self._proof: tuple[str, ...] = ()
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(server.kubeconfig),
            "HOME": str(folder),
        }

    def showing(self, *flags: str) -> "Kubectl":
        """Return a kubectl of somebody else, by the flags that say who it is."""
        other = copy(self)
        other._proof = flags
        return other

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start kubectl and leave it running."""
        return subprocess.Popen(
            [self.program, "-n", self.namespace, *self._proof, *arguments],
            env={**self._environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str, text: str = "", codes: Sequence[int] = (0,), **environment: str
    ) -> str:
        """Run kubectl; return what it printed, errors included."""
        process = self.start(*arguments, **environment)
        output, errors = process.communicate(text, ANSWER_SECONDS)
        assert process.returncode in codes, f"{self.program} {arguments}: {output}{errors}"
        return output + errors

    def refused(self, *arguments: str, text: str = "") -> str:
        """Run kubectl, which must fail with 1; return what it said."""
        return self.run(*arguments, text=text, codes=(1,))


@pytest.fixture
def kubectl(
    server: ServerProcess, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Kubectl]:
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    with _in_namespace(Kubectl(server, namespace, tmp_path)) as client:
        yield client


@contextmanager
def _in_namespace(client: Kubectl) -> Iterator[Kubectl]:
    client.run("create", "namespace", client.namespace)
    client.run("wait", "--for=create", "configmap/kube-root-ca.crt", "--timeout=10s")
    yield client
    client.run("delete", "namespace", client.namespace, "--wait=false")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of kubectl 1.36 and Helm 4."""
    return unpack(tmp_path_factory.mktemp("programs"))


@pytest.fixture
def newest_kubectl(
    programs: Path, server: ServerProcess, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Kubectl]:
    """kubectl 1.36 in a namespace of its own."""
    namespace = request.node.name.replace("_", "-")[:60].rstrip("-")
    client = Kubectl(server, namespace, tmp_path, str(programs / "kubectl/kubectl"))
    with _in_namespace(client):
        yield client


@pytest.fixture
def helm(newest_kubectl: Kubectl, programs: Path) -> Kubectl:
    """Helm 4 in the same namespace."""
    other = copy(newest_kubectl)
    other.program = str(programs / "helm/helm")
    return other
