"""`kubelite status`, `kubeconfig` and `kubectl` against a real server, as a user calls them."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.conftest import ROOT, ServerProcess


class Commands:
    """Runs kubelite's commands with the settings of one server."""

    def __init__(self, server: ServerProcess, home: Path) -> None:
        self._data = server.folder / "data"
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "HOME": str(home),
            "KUBELITE_DATA_DIR": str(self._data),
            "KUBELITE_WRITE_KUBECONFIG": str(server.kubeconfig),
        }
        self._environment.pop("KUBECONFIG", None)

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "kubelite", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that may be stopped."""
    process = ServerProcess(tmp_path_factory.mktemp("glance"))
    try:
        process.wait_until_ready()
        yield process
    finally:
        if process.process.poll() is None:
            process.process.send_signal(signal.SIGCONT)
            process.stop()


def test_the_state_at_a_glance(own: ServerProcess, tmp_path: Path) -> None:
    kubelite = Commands(own, tmp_path)
    told = kubelite("status")
    assert (told.returncode, told.stderr) == (0, ""), told
    assert told.stdout.startswith("server        ready, kubelite ")
    said = json.loads(kubelite("status", "--json").stdout)
    assert said["ready"]
    assert {"scheduler", "controller-manager"} <= set(said["server"]["healthy"])
    assert said["files"]["is_running"]
    assert said["files"]["revision"] > 0
    assert said["files"]["certificate"]["name"]


def test_the_access_is_merged_and_used(own: ServerProcess, tmp_path: Path) -> None:
    kubelite = Commands(own, tmp_path)
    merged = kubelite("kubeconfig", "merge", "--name", "lab")
    assert merged.returncode == 0, merged.stderr
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl")
    got = subprocess.run(
        [
            "kubectl",
            f"--kubeconfig={tmp_path}/.kube/config",
            "--context=lab",
            "get",
            "ns",
            "-o=name",
        ],
        capture_output=True,
        text=True,
    )
    assert "namespace/default" in got.stdout, got.stderr
    ours = kubelite("kubectl", "get", "namespaces", "-o", "name")
    assert ours.stdout == got.stdout
    refused = kubelite("kubectl", "get", "namespace", "none")
    assert (refused.returncode, "NotFound" in refused.stderr) == (1, True)


def test_a_server_that_hangs_and_one_that_is_down(own: ServerProcess, tmp_path: Path) -> None:
    kubelite = Commands(own, tmp_path)
    own.process.send_signal(signal.SIGSTOP)
    hangs = kubelite("status")
    own.process.send_signal(signal.SIGCONT)
    assert hangs.returncode == 1
    assert "runs, but does not answer: no answer within 5 s; see its log" in hangs.stdout
    assert own.stop() == 0
    down = kubelite("status")
    assert (down.returncode, down.stderr) == (1, "")
    assert "does not run; this is what its files say" in down.stdout
    assert "at revision " in down.stdout
    asked = kubelite("status", f"--kubeconfig={own.kubeconfig}")
    assert "Connection refused" in asked.stdout
    assert "object at" not in asked.stdout
