"""Helm 4: the life of a release, with a node whose agent is the test."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.conftest import Kubectl
from clients.test_workloads import now, set_status

NODE, TAINT = "helm-node", "helm"
WAIT_SECONDS = "60s"
CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: '7'\n",
    "values.yaml": "colour: blue\nreplicas: 1\n",
    "templates/config.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-config}
data: {colour: {{ .Values.colour }}}
""",
    "templates/service.yaml": """
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{name: http, port: 80, targetPort: 8080}]
""",
    "templates/deployment.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata:
      labels: {app: {{ .Release.Name }}}
      annotations: {colour: {{ .Values.colour }}}
    spec:
      tolerations: [{key: helm, operator: Exists}]
      containers: [{name: web, image: none, ports: [{name: http, containerPort: 8080}]}]
""",
    "templates/hooks.yaml": """
{{- range $hook := list "pre-install" "post-upgrade" "pre-delete" "test" }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $.Release.Name }}-{{ $hook }}
  annotations: {"helm.sh/hook": {{ $hook }}}
spec:
  template:
    spec:
      restartPolicy: Never
      tolerations: [{key: helm, operator: Exists}]
      containers: [{name: hook, image: none}]
{{- end }}
""",
    "templates/NOTES.txt": "{{ .Release.Name }} is {{ .Values.colour }}.\n",
}
GAUGES = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gauges.helm.example.com}
spec:
  group: helm.example.com
  scope: Namespaced
  names: {plural: gauges, singular: gauge, kind: Gauge}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns: [{name: Level, type: integer, jsonPath: .spec.level}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {level: {type: integer, maximum: 10}}}
"""
GAUGE = """
apiVersion: helm.example.com/v1
kind: Gauge
metadata: {name: {{ .Release.Name }}}
spec: {level: {{ .Values.level | default 7 }}}
"""
POD = (
    '{.metadata.name}{" "}{.spec.nodeName}{" "}{.metadata.ownerReferences[0].kind}{" "}'
    '{.status.phase}{" "}{.metadata.deletionTimestamp}{"\\n"}'
)


class Agent:
    """A node's agent: pods of Jobs succeed at once, all others run and are ready until they are deleted."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._addresses = iter(range(1, 250))
        self._watch = kubectl.start("get", "pods", "--watch", "-o", f"jsonpath={POD}")
        self._thread = threading.Thread(target=self._run)
        self.failure: BaseException | None = None

    def __enter__(self) -> "Agent":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.terminate()
        self._thread.join()
        self._watch.communicate()
        assert self.failure is None

    def _run(self) -> None:
        assert self._watch.stdout is not None
        try:
            for line in self._watch.stdout:
                self._saw(*line.rstrip("\n").split(" "))
        except BaseException as error:  # noqa: BLE001 - the test's own thread tells it
            self.failure = error

    def _saw(self, name: str, node: str, owner: str, phase: str, deleted: str) -> None:
        if node != NODE:
            return
        if deleted:
            self._kubectl.run(
                *("delete", "pod", name, "--force", "--grace-period=0", "--ignore-not-found"),
                *("--wait=false",),
            )
        elif phase == "Pending":
            address = f"10.9.8.{next(self._addresses)}"
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
            status: dict[str, object] = {
                "podIP": address,
                "podIPs": [{"ip": address}],
                "phase": "Succeeded" if owner == "Job" else "Running",
                "conditions": [] if owner == "Job" else [ready],
            }
            set_status(self._kubectl, "pod", name, status)


@pytest.fixture
def agent(newest_kubectl: Kubectl) -> Iterator[Agent]:
    sizes = {"cpu": "4", "memory": "8Gi", "pods": "20"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": NODE},
        "spec": {"taints": [{"key": TAINT, "effect": "NoSchedule"}]},
    }
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": now()}
    newest_kubectl.run("create", "-f", "-", text=json.dumps(node))
    set_status(
        newest_kubectl,
        "node",
        NODE,
        {"capacity": sizes, "allocatable": sizes, "conditions": [ready]},
    )
    with Agent(newest_kubectl) as agent:
        yield agent
    newest_kubectl.run("delete", "node", NODE)


@pytest.fixture
def chart(tmp_path: Path) -> str:
    root = tmp_path / "chart"
    for name, text in CHART.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def colour(kubectl: Kubectl) -> str:
    return kubectl.run("get", "cm", "web-config", "-o", "jsonpath={.data.colour}")


def hook_ran(kubectl: Kubectl, name: str) -> bool:
    return kubectl.run("get", "job", f"web-{name}", "-o", "jsonpath={.status.succeeded}") == "1"


@pytest.mark.usefixtures("agent")
def test_a_release_from_install_to_uninstall(
    helm: Kubectl, newest_kubectl: Kubectl, chart: str
) -> None:
    wait = ("--wait", "--timeout", WAIT_SECONDS)
    assert helm.run("version", "--short").startswith("v4.")
    assert "0 chart(s) failed" in helm.run("lint", chart)

    shown = helm.run("install", "web", chart, *wait)
    assert "STATUS: deployed" in shown
    assert "web is blue." in shown
    assert hook_ran(newest_kubectl, "pre-install")
    ready = ("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
    assert newest_kubectl.run(*ready) == "1"
    assert "Service" in helm.run("get", "manifest", "web")

    helm.run("upgrade", "web", chart, "--set", "colour=green,replicas=2", *wait)
    assert colour(newest_kubectl) == "green"
    assert newest_kubectl.run(*ready) == "2"
    assert hook_ran(newest_kubectl, "post-upgrade")

    helm.run("rollback", "web", "1", *wait)
    assert colour(newest_kubectl) == "blue"
    revisions = json.loads(helm.run("history", "web", "-o", "json"))
    assert [one["status"] for one in revisions] == ["superseded", "superseded", "deployed"]
    assert "Succeeded" in helm.run("test", "web", "--timeout", WAIT_SECONDS)

    (listed,) = json.loads(helm.run("list", "-o", "json"))
    assert (listed["name"], listed["revision"], listed["chart"]) == ("web", "3", "web-1.2.3")

    helm.run("uninstall", "web", *wait)
    assert hook_ran(newest_kubectl, "pre-delete")
    for kind in ("deployment", "service", "configmap/web-config"):
        assert newest_kubectl.run("get", kind, "--ignore-not-found", "-o", "name") in {
            "",
            "No resources found in " + newest_kubectl.namespace + " namespace.\n",
        }
    assert json.loads(helm.run("list", "-o", "json")) == []


def test_what_a_chart_does_wrong_is_told(helm: Kubectl, chart: str) -> None:
    broken = Path(chart) / "templates/service.yaml"
    broken.write_text(broken.read_text().replace("port: 80,", "port: 80, prot: TCP,"))
    refused = helm.run("install", "web", chart, "--no-hooks", codes=(1,))
    assert "INSTALLATION FAILED" in refused
    assert "prot" in refused


def test_a_trial_changes_nothing(helm: Kubectl, newest_kubectl: Kubectl, chart: str) -> None:
    shown = helm.run("install", "web", chart, "--dry-run=server")
    assert "colour: blue" in shown
    assert newest_kubectl.run("get", "cm", "web-config", "--ignore-not-found") == ""


def test_a_chart_brings_its_own_kinds(
    helm: Kubectl, newest_kubectl: Kubectl, tmp_path: Path
) -> None:
    files = {
        "Chart.yaml": CHART["Chart.yaml"],
        "crds/gauges.yaml": GAUGES,
        "templates/gauge.yaml": GAUGE,
    }
    root = tmp_path / "gauges"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    helm.run("install", "water", str(root), "--wait", "--timeout", WAIT_SECONDS)
    shown = newest_kubectl.run("get", "gauges", "--no-headers").split()
    assert shown[:2] == ["water", "7"]
    helm.run("upgrade", "water", str(root), "--set", "level=8", "--wait")
    assert newest_kubectl.run("get", "gauge", "water", "-o", "jsonpath={.spec.level}") == "8"
    refused = helm.refused("upgrade", "water", str(root), "--set", "level=80")
    assert "spec.level in body should be less than or equal to 10" in refused
    helm.run("uninstall", "water", "--wait")
    assert newest_kubectl.run("get", "gauges").startswith("No resources found")
    newest_kubectl.run("delete", "crd", "gauges.helm.example.com", "--timeout=20s")
