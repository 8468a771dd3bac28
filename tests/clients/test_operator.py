"""The operator of examples/operator, run by kopf beside a server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.conftest import ROOT, Kubectl, ServerProcess

EXAMPLE = ROOT / "examples" / "operator"
SECONDS = 30


@pytest.fixture
def operator(server: ServerProcess, kubectl: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """Run the operator in the namespace of the test; return the file of its log."""
    kubectl.run("apply", "-f", str(EXAMPLE / "crd.yaml"))
    kubectl.run("wait", "--for=condition=Established", "crd/greetings.example.com", "--timeout=10s")
    log = tmp_path / "operator.log"
    line = [sys.executable, "-m", "kopf", "run", "--namespace", kubectl.namespace]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*line, str(EXAMPLE / "greetings.py")],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(SECONDS)
        kubectl.run("delete", "crd", "greetings.example.com", "--timeout=20s")


def wait_for(kubectl: Kubectl, log: Path, wanted: str, *line: str) -> None:
    """Wait until kubectl prints the wanted text."""
    deadline = time.monotonic() + SECONDS
    while (shown := kubectl.run(*line, codes=(0, 1))) != wanted:
        if time.monotonic() > deadline:
            pytest.fail(f"{shown!r} instead of {wanted!r}\n{log.read_text()[-3000:]}")
        time.sleep(0.1)


def test_an_operator_of_ones_own(kubectl: Kubectl, operator: Path) -> None:
    kubectl.run("apply", "-f", str(EXAMPLE / "greeting.yaml"))
    greeting = ("get", "configmap", "world", "-o", "jsonpath={.data.greeting}")
    wait_for(kubectl, operator, "Hello, World!", *greeting)
    wait_for(
        kubectl, operator, "World", "get", "greeting", "world", "-o", "jsonpath={.status.written}"
    )
    kubectl.run("scale", "greeting/world", "--replicas=2")
    wait_for(kubectl, operator, "Hello, World!\nHello, World!", *greeting)
    refused = kubectl.refused("scale", "greeting/world", "--replicas=9")
    assert "should be less than or equal to 5" in refused
    assert kubectl.run("get", "hi").splitlines()[1].split() == ["world", "World", "2", "World"]
    kubectl.run("delete", "greeting", "world")
    gone = ("get", "configmap", "-o", "name", "--field-selector=metadata.name=world")
    wait_for(kubectl, operator, "", *gone)
