"""Objects from files, as kubectl sees them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clients.conftest import ANSWER_SECONDS, Kubectl, ServerProcess

WAIT = f"--timeout={ANSWER_SECONDS}s"


@pytest.fixture
def manifests(server: ServerProcess) -> Path:
    return server.folder / "data" / "server" / "manifests"


def until(holds: Callable[[], object]) -> None:
    """Ask until something holds; kubectl waits for most, but not for what is gone already or is a list."""
    end = time.monotonic() + ANSWER_SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_files_become_objects_and_sets_that_kubectl_knows(
    kubectl: Kubectl, manifests: Path
) -> None:
    name = kubectl.namespace
    file, parent = manifests / f"{name}.yaml", f"configmap/addon-{name}.yaml"
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": name},
    }
    text = json.dumps(settings)
    second = text.replace('"a"', '"b"')
    file.write_text(f"{text}\n---\n{second}\n")
    for one in ("configmap/a", "configmap/b"):  # kubectl waits for the creation of one at a time
        kubectl.run("wait", "--for=create", one, WAIT)
    kubectl.run("wait", "-n", "kube-system", "--for=jsonpath={.data.state}=Applied", parent, WAIT)

    label = ("-o", r"jsonpath={.metadata.labels.applyset\.kubernetes\.io/part-of}")
    set_id = kubectl.run("get", "configmap/a", *label)
    listed = kubectl.run(
        "get", "configmaps", "-A", "-l", f"applyset.kubernetes.io/id={set_id}", "-o", "name"
    )
    assert listed.strip() == parent
    # kubectl reads the set, sees whose it is, and leaves it alone.
    refused = kubectl.run(
        *(
            "apply",
            "-n",
            "kube-system",
            "--prune",
            "-f",
            "-",
            f"--applyset={parent.replace('configmap', 'configmaps')}",
        ),
        text=text.replace(name, "kube-system"),
        codes=(1,),
        KUBECTL_APPLYSET="true",
    )
    assert 'already exists and is managed by tooling "kubelite" instead of "kubectl"' in refused

    file.write_text(json.dumps({**settings, "data": {"colour": "blue"}}))
    until(lambda: not kubectl.run("get", "configmap/b", "--ignore-not-found"))
    kubectl.run("wait", "--for=jsonpath={.data.colour}=blue", "configmap/a", WAIT)
    file.write_text(json.dumps({**settings, "data": ["blue"]}))
    kubectl.run("wait", "-n", "kube-system", "--for=jsonpath={.data.state}=Failed", parent, WAIT)
    told = kubectl.run("get", "-n", "kube-system", parent, "-o", "jsonpath={.data.problem}")
    assert told.startswith(f"document 1, ConfigMap {name}/a: ")
    assert ".data" in told
    events = (
        "get",
        "events",
        "-n",
        "kube-system",
        "--field-selector=reason=ApplyFailed",
        "-o",
        "name",
    )
    until(lambda: kubectl.run(*events).strip())
    file.unlink()
    until(lambda: not kubectl.run("get", "configmap/a", "--ignore-not-found"))
    until(lambda: not kubectl.run("get", "-n", "kube-system", parent, "--ignore-not-found"))
