"""Autoscalers with kubectl."""

import pytest

from clients.conftest import Kubectl

pytestmark = pytest.mark.kubectl


def test_autoscale_and_what_is_shown(kubectl: Kubectl) -> None:
    kubectl.run("create", "deployment", "web", "--image=i", "--replicas=2")
    kubectl.run("autoscale", "deployment", "web", "--min=3", "--max=5", "--cpu-percent=50")
    rescaled = "jsonpath={.status.desiredReplicas}=3"
    kubectl.run("wait", "hpa/web", f"--for={rescaled}", "--timeout=20s")
    assert kubectl.run("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    shown = kubectl.run("get", "hpa", "web", "--no-headers").split()
    assert shown[:6] == ["web", "Deployment/web", "cpu:", "<unknown>/50%", "3", "5"]
    described = kubectl.run("describe", "hpa", "web")
    assert "New size: 3; reason: Current number of replicas below Spec.MinReplicas" in described
    kubectl.run("scale", "deployment", "web", "--replicas=9")
    kubectl.run("wait", "hpa/web", "--for=jsonpath={.status.desiredReplicas}=5", "--timeout=20s")
    assert kubectl.run("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "5"
