"""What a CREATE costs more where a webhook or a policy judges it."""

import asyncio
import base64
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from testbed.hosts import Server

from bench.clients import administrator, loop_lag, post_all
from bench.report import Figure
from bench.wrk import free_port

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/{}/configmaps"
OBJECTS = 1000
CREATED = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["configmaps"],
}
POLICY = {
    "metadata": {"name": "bench"},
    "spec": {
        "matchConstraints": {"resourceRules": [CREATED]},
        "variables": [{"name": "keys", "expression": "object.?data.orValue({}).size()"}],
        "validations": [
            {"expression": "variables.keys < 10", "message": "too many keys"},
            {"expression": "!object.metadata.name.startsWith('x')"},
        ],
    },
}
BINDING = {
    "metadata": {"name": "bench"},
    "spec": {
        "policyName": "bench",
        "validationActions": ["Deny"],
        "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "governed"}}
        },
    },
}


def measure(folder: Path) -> Iterator[Figure]:
    """Start a server without a node, and a webhook beside it."""
    server = Server(None, folder, "--disable-agent", port=free_port())
    server.start()
    try:
        context = administrator(server.kubeconfig)
        for name in ("plain", "governed", "hooked"):
            server.kubectl("create", "namespace", name)
        plain = _seconds(server, context, "plain")
        _post(server, context, "validatingadmissionpolicies", POLICY)
        _post(server, context, "validatingadmissionpolicybindings", BINDING)
        governed = _seconds(server, context, "governed")
        more = (governed / plain - 1) * 100
        yield Figure("admission: a CREATE with a policy, more", more, "%", "<= 10")
        server.kubectl("delete", "validatingadmissionpolicybinding", "bench")
        with _webhook(folder / "hook") as (port, bundle):
            _post(server, context, "validatingwebhookconfigurations", _hooked(port, bundle))
            hooked = _seconds(server, context, "hooked")
            yield Figure(
                "admission: a CREATE with a webhook, more", (hooked - plain) * 1e3, "ms", "<= 1.5"
            )
            server.kubectl("delete", "validatingwebhookconfiguration", "bench")
        yield loop_lag(server, "admission")
    finally:
        server.stop()


def _seconds(server: Server, context: Any, namespace: str) -> float:
    """Return how long one client waits for a CREATE, on average."""
    path = MAPS.format(namespace)
    started = 0.0
    for prefix, count in (("w", 50), ("o", OBJECTS)):  # the first ones warm up
        bodies = ({"metadata": {"name": f"{prefix}{number}"}} for number in range(count))
        started = time.monotonic()
        asyncio.run(post_all(server, context, path, bodies, 1))
    return (time.monotonic() - started) / OBJECTS


def _post(server: Server, context: Any, plural: str, body: dict[str, Any]) -> None:
    asyncio.run(post_all(server, context, f"{ADMISSION}/{plural}", iter([body]), 1))


def _only(namespace: str) -> dict[str, Any]:
    label = {"kubernetes.io/metadata.name": namespace}
    return {"matchLabels": label}


def _hooked(port: int, bundle: str) -> dict[str, Any]:
    hook = {
        "name": "bench.example.com",
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": bundle},
        "rules": [CREATED],
        "namespaceSelector": _only("hooked"),
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": "bench"}, "webhooks": [hook]}


@contextmanager
def _webhook(folder: Path) -> Iterator[tuple[int, str]]:
    """Run a webhook that allows all; yield its port and the bundle that verifies it."""
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "bench.hook", str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            bundle = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
            yield port, bundle
        finally:
            process.kill()
