"""A ServiceAccount inside a real pod calls the API with its projected token, through the service's address."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from testbed.hosts import Host, Server, missing_tools

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"
MISSING = missing_tools("root", "dockerd", "kubectl", "nft", "ip", "nsenter")
FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
SERVER_NAME = "kubernetes.default.svc"

pytestmark = [
    pytest.mark.docker,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        bool(MISSING) and not os.environ.get("CI"), reason=f"needs {', '.join(MISSING)}"
    ),
]

# Runs in the network namespace of the pod, since busybox has no TLS; what it needs comes on its standard input.
CALL = f"""
import http.client, json, socket, ssl, sys
given = json.load(sys.stdin)
context = ssl.create_default_context(cadata=given["ca"])
plain = socket.create_connection((given["address"], given["port"]), timeout=10)
connection = http.client.HTTPConnection("{SERVER_NAME}")
connection.sock = context.wrap_socket(plain, server_hostname="{SERVER_NAME}")
connection.request("GET", given["path"], headers={{"Authorization": "Bearer " + given["token"]}})
answer = connection.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""

OBJECTS = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reads-config"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}],
    },
    {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "reads-config",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
    },
    {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config"},
        "data": {"answer": "42"},
    },
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "caller"},
        "spec": {
            "serviceAccountName": "reader",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": "kubelite.local/hello:1"}],
        },
    },
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="kubelite-identity-"))
    host = Host("kubelite-identity", folder)
    try:
        host.start_engine()
        server = Server(host, folder)
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


class Pod:
    """The pod `caller`, and what can be done as if from inside it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        assert server.host is not None
        self._host = server.host
        status = json.loads(server.kubectl("get", "pod", "caller", "-o", "json"))["status"]
        self.address: str = status["podIP"]
        container = status["containerStatuses"][0]["containerID"].rpartition("/")[2]
        self._pid = self._host.docker("inspect", "-f", "{{.State.Pid}}", container).strip()
        self.token, self.ca = (
            server.kubectl("exec", "caller", "--", "cat", f"{FOLDER}/{name}")
            for name in ("token", "ca.crt")
        )

    def run(self, *command: str) -> str:
        """Run a command in it; return what it printed."""
        return self._server.kubectl("exec", "caller", "--", *command)

    def get(self, address: str, port: int, path: str) -> tuple[int, dict[str, Any]]:
        """Ask the API server from the pod's network; return status and body."""
        given = {
            "address": address,
            "port": port,
            "path": path,
            "token": self.token,
            "ca": self.ca,
        }
        done = subprocess.run(
            ["nsenter", f"--net=/proc/{self._pid}/ns/net", sys.executable, "-c", CALL],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        status, body = json.loads(done.stdout)
        return status, body


def test_a_pod_calls_the_api_with_its_own_identity(server: Server) -> None:
    items = {"apiVersion": "v1", "kind": "List", "items": OBJECTS}
    server.kubectl("apply", "-f", "-", stdin=json.dumps(items))
    server.kubectl("wait", "--for=condition=Ready", "pod/caller", "--timeout=60s")
    pod = Pod(server)
    assert pod.run("cat", f"{FOLDER}/namespace") == "default"
    environment = dict(line.split("=", 1) for line in pod.run("env").splitlines() if "=" in line)
    address = environment["KUBERNETES_SERVICE_HOST"]
    port = int(environment["KUBERNETES_SERVICE_PORT"])
    assert (address, port) == ("10.43.0.1", 443)
    assert address in pod.run("nslookup", f"{SERVER_NAME}.cluster.local")

    path = "/api/v1/namespaces/default"
    status, body = pod.get(address, port, f"{path}/configmaps/config")
    assert (status, body["data"]) == (200, {"answer": "42"})
    status, body = pod.get(address, port, f"{path}/secrets")
    assert status == 403
    assert (
        'User "system:serviceaccount:default:reader" cannot list resource "secrets"'
        in (body["message"])
    )
    server.kubectl("delete", "rolebinding", "reader")
    assert pod.get(address, port, f"{path}/configmaps/config")[0] == 403

    # A token ends with the pod it is bound to.
    nobody = f"--kubeconfig={_without_identity(server)}"
    as_the_pod = (nobody, f"--token={pod.token}", "get", "pods")
    assert "forbidden" in server.kubectl(*as_the_pod, check=False)
    server.kubectl("delete", "pod", "caller")
    assert "You must be logged in" in server.kubectl(*as_the_pod, check=False)


def _without_identity(server: Server) -> Path:
    """Write a kubeconfig that says where the server is and not who calls."""
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"][0]["user"] = {}
    path = server.folder / "nobody.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
