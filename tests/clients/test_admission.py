"""Admission as users have it: policies of an example, and an operator's webhooks served by kopf."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from clients.conftest import ROOT, Kubectl, ServerProcess
from kubelite.api.auth.pki import SERVING, Pki
from kubelite.clock import SetClock
from kubelite.randomness import SystemRandomness

POLICIES = ROOT / "examples" / "policies" / "policies.yaml"
OPERATOR = ROOT / "examples" / "operator"
SECONDS = 30


@pytest.fixture
def governed(kubectl: Kubectl) -> Iterator[Kubectl]:
    kubectl.run("label", "namespace", kubectl.namespace, "policies=on")
    kubectl.run("apply", "-f", str(POLICIES))
    try:
        yield kubectl
    finally:
        kubectl.run("delete", "-f", str(POLICIES))


def pod(name: str, image: str, *, privileged: bool = False) -> str:
    container = {
        "name": "c",
        "image": image,
        "securityContext": {"privileged": privileged},
    }
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container]},
    }
    return yaml.safe_dump(made)


def test_policies_are_in_effect_at_once(governed: Kubectl) -> None:
    refused = governed.refused("create", "-f", "-", text=pod("a", "example.com:5000/nginx"))
    assert (
        "The pods \"a\" is invalid: : ValidatingAdmissionPolicy 'image-tags' with binding "
        "'image-tags' denied request: images need a tag: example.com:5000/nginx" in refused
    )
    refused = governed.refused("create", "-f", "-", text=pod("a", "nginx:1", privileged=True))
    assert "denied request: privileged containers are not allowed" in refused
    governed.run("create", "-f", "-", text=pod("a", "nginx:1"))
    made_by = governed.run("get", "pod", "a", "-o", "jsonpath={.metadata.labels.made-by}")
    assert made_by == governed.run("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")


def test_a_policy_reads_its_params(governed: Kubectl) -> None:
    web = ("create", "deployment", "web", "--image=nginx:1", "--replicas=3")
    told = governed.run(*web)
    assert "Warning: Validation failed for ValidatingAdmissionPolicy 'owner-label'" in told
    governed.run("create", "configmap", "replica-limit", "--from-literal=max=4")
    refused = governed.refused("scale", "deployment/web", "--replicas=5")
    assert "denied request: at most 4 replicas are allowed" in refused
    governed.run("scale", "deployment/web", "--replicas=4")
    limit = '{"data":{"max":"9"}}'
    governed.run("patch", "configmap", "replica-limit", "--type=merge", "-p", limit)
    governed.run("scale", "deployment/web", "--replicas=5")


@pytest.fixture
def guard(server: ServerProcess, kubectl: Kubectl, tmp_path: Path) -> Iterator[Path]:
    """Run the guard of the example; return the file of its log."""
    kubectl.run("apply", "-f", str(OPERATOR / "crd.yaml"))
    kubectl.run("wait", "--for=condition=Established", "crd/greetings.example.com", "--timeout=10s")
    pki = Pki.ensure(
        tmp_path / "pki",
        clock=SetClock(datetime.now(UTC)),
        randomness=SystemRandomness(),
        names=["localhost"],
        addresses=["127.0.0.1"],
        node_name="guard",
    )
    pair, log = str(pki.path(SERVING)), tmp_path / "guard.log"
    environment = {
        **os.environ,
        "KUBECONFIG": str(server.kubeconfig),
        "HOOK_CERT": pair,
        "HOOK_KEY": pair,
        "HOOK_CA": str(tmp_path / "pki" / "ca.crt"),
    }
    line = [sys.executable, "-m", "kopf", "run", "--namespace", kubectl.namespace]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*line, str(OPERATOR / "guard.py")],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(SECONDS)
        for kind in ("validating", "mutating"):
            name = "guard.example.com"
            kubectl.run("delete", f"{kind}webhookconfiguration", name, "--ignore-not-found")
        kubectl.run("delete", "crd", "greetings.example.com", "--timeout=20s")


def greeting(name: str, to: str) -> str:
    made = {
        "apiVersion": "example.com/v1",
        "kind": "Greeting",
        "metadata": {"name": name},
        "spec": {"to": to},
    }
    return yaml.safe_dump(made)


def test_an_operator_with_webhooks(kubectl: Kubectl, guard: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:  # until kopf has registered its webhooks
        told = kubectl.run("create", "-f", "-", "--dry-run=server", text=greeting("a", "ALL"))
        if "Warning: no need to shout" in told:
            break
        if time.monotonic() > deadline:
            pytest.fail(guard.read_text()[-3000:])
        time.sleep(0.1)
    refused = kubectl.refused("create", "-f", "-", text=greeting("a", "Nobody"))
    assert "denied the request: nobody is not greeted" in refused
    kubectl.run("create", "-f", "-", text=greeting("a", "world"))
    assert kubectl.run("get", "greeting", "a", "-o", "jsonpath={.spec.to}") == "World"
