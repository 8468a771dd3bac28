"""Workloads as kubectl shows them, with a node whose agent is the test: it says what has become of the pods."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from clients.conftest import Kubectl
from kubelite.api.machinery.times import format_time

pytestmark = pytest.mark.kubectl

TAINT = "workloads"


def now() -> str:
    return format_time(datetime.now(UTC))


@pytest.fixture
def node(kubectl: Kubectl) -> Iterator[str]:
    """A node that only pods of these tests go to."""
    name = "workload-node"
    taint = {"key": TAINT, "effect": "NoSchedule"}
    body = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"taints": [taint]},
    }
    kubectl.run("create", "-f", "-", text=json.dumps(body))
    ready = {"type": "Ready", "status": "True", "reason": "Test", "lastHeartbeatTime": now()}
    sizes = {"cpu": "4", "memory": "8Gi", "pods": "20"}
    set_status(
        kubectl, "node", name, {"capacity": sizes, "allocatable": sizes, "conditions": [ready]}
    )
    yield name
    kubectl.run("delete", "node", name)


def set_status(kubectl: Kubectl, kind: str, name: str, status: dict[str, object]) -> None:
    patch = json.dumps({"status": status})
    kubectl.run("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)


def start(kubectl: Kubectl, pod: str, number: int = 1) -> None:
    """Say that a pod runs and is ready, once it has its node."""
    kubectl.run("wait", f"pod/{pod}", "--for=create", "--timeout=10s")
    kubectl.run("wait", f"pod/{pod}", "--for=condition=PodScheduled", "--timeout=10s")
    address = f"10.9.9.{number}"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": now()}
    status = {"podIP": address, "podIPs": [{"ip": address}], "phase": "Running"}
    set_status(kubectl, "pod", pod, {**status, "conditions": [ready]})


def manifest(kind: str, name: str, **spec: object) -> str:
    pod_spec = {
        "tolerations": [{"key": TAINT, "operator": "Exists"}],
        "containers": [{"name": "c", "image": "none"}],
        "restartPolicy": "Never" if kind == "Job" else "Always",
    }
    template = {"metadata": {"labels": {"app": name}}, "spec": pod_spec}
    selector = {} if kind == "Job" else {"selector": {"matchLabels": {"app": name}}}
    group = "batch/v1" if kind == "Job" else "apps/v1"
    return json.dumps(
        {
            "apiVersion": group,
            "kind": kind,
            "metadata": {"name": name},
            "spec": {**selector, "template": template, **spec},
        }
    )


def pods_of(kubectl: Kubectl, app: str) -> list[str]:
    path = "jsonpath={.items[*].metadata.name}"
    return kubectl.run("get", "pods", "-l", f"app={app}", "-o", path).split()


def test_a_stateful_set_starts_in_order_and_keeps_its_names(kubectl: Kubectl, node: str) -> None:
    kubectl.run("apply", "-f", "-", text=manifest("StatefulSet", "db", replicas=2))
    kubectl.run("wait", "pod/db-0", "--for=create", "--timeout=10s")
    assert pods_of(kubectl, "db") == ["db-0"]
    start(kubectl, "db-0", 1)
    start(kubectl, "db-1", 2)
    shown = kubectl.run("rollout", "status", "statefulset/db", "--timeout=10s")
    assert "complete" in shown
    uid = kubectl.run("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}")
    kubectl.run("delete", "pod", "db-0", "--force", "--grace-period=0")
    kubectl.run("wait", "pod/db-0", "--for=create", "--timeout=10s")
    assert kubectl.run("get", "pod", "db-0", "-o", "jsonpath={.metadata.uid}") != uid
    history = kubectl.run("rollout", "history", "statefulset/db")
    assert history.split()[-2:] == ["1", "<none>"]


def test_a_daemon_set_has_a_pod_on_the_node(kubectl: Kubectl, node: str) -> None:
    kubectl.run("apply", "-f", "-", text=manifest("DaemonSet", "agent"))
    kubectl.run("wait", "pod", "-l", "app=agent", "--for=create", "--timeout=10s")
    (pod,) = pods_of(kubectl, "agent")
    start(kubectl, pod)
    assert "successfully rolled out" in kubectl.run(
        "rollout", "status", "daemonset/agent", "--timeout=10s"
    )
    assert kubectl.run("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}") == node
    shown = kubectl.run("get", "daemonset", "agent", "--no-headers").split()
    assert shown[1:6] == ["1", "1", "1", "1", "1"]


def test_a_job_completes_and_lets_its_pods_go(kubectl: Kubectl, node: str) -> None:
    kubectl.run("apply", "-f", "-", text=manifest("Job", "work"))
    kubectl.run("wait", "pod", "-l", "app=work", "--for=create", "--timeout=10s")
    (pod,) = pods_of(kubectl, "work")
    start(kubectl, pod)
    kubectl.run("wait", "job/work", "--for=jsonpath={.status.ready}=1", "--timeout=10s")
    set_status(kubectl, "pod", pod, {"phase": "Succeeded"})
    kubectl.run("wait", "job/work", "--for=condition=complete", "--timeout=10s")
    assert kubectl.run("get", "pod", pod, "-o", "jsonpath={.metadata.finalizers}") == ""
    kubectl.run("delete", "job", "work")
    kubectl.run("wait", f"pod/{pod}", "--for=delete", "--timeout=10s")


def test_jobs_are_started_by_hand_from_a_suspended_cron_job(kubectl: Kubectl) -> None:
    kubectl.run("create", "cronjob", "tick", "--image=none", "--schedule=* * * * *")
    kubectl.run("patch", "cronjob", "tick", "-p", '{"spec": {"suspend": true}}')
    kubectl.run("create", "job", "now", "--from=cronjob/tick")
    owner = kubectl.run("get", "job", "now", "-o", "jsonpath={.metadata.ownerReferences[0].name}")
    assert owner == "tick"
    shown = kubectl.run("get", "cronjob", "tick", "--no-headers")
    assert "True" in shown.split()
    kubectl.run("delete", "cronjob", "tick")
    kubectl.run("wait", "job/now", "--for=delete", "--timeout=10s")


def test_a_budget_keeps_the_last_pod(kubectl: Kubectl, node: str) -> None:
    kubectl.run("apply", "-f", "-", text=manifest("Deployment", "web", replicas=2))
    kubectl.run("create", "pdb", "web", "--selector=app=web", "--min-available=1")
    kubectl.run("wait", "deployment/web", "--for=jsonpath={.status.replicas}=2", "--timeout=10s")
    for number, pod in enumerate(pods_of(kubectl, "web"), 1):
        start(kubectl, pod, number)
    allowed = "--for=jsonpath={.status.disruptionsAllowed}=1"
    kubectl.run("wait", "pdb/web", allowed, "--timeout=10s")
    drain = ("drain", node, "--pod-selector=app=web", "--timeout=3s")
    assert "would violate the pod's disruption budget" in kubectl.refused(*drain)
    leaving = "jsonpath={.items[*].metadata.deletionTimestamp}"
    assert len(kubectl.run("get", "pods", "-l", "app=web", "-o", leaving).split()) == 1


def test_an_autoscaler_without_metrics_says_that_it_knows_nothing(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", text=manifest("Deployment", "web", replicas=1))
    kubectl.run("autoscale", "deployment", "web", "--min=1", "--max=3", "--cpu-percent=50")
    assert "<unknown>/50%" in kubectl.run("get", "hpa", "web", "--no-headers")
    assert "Min replicas:" in kubectl.run("describe", "hpa", "web")
