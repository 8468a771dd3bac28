"""An operator for greetings: it writes each one into a ConfigMap, and keeps that up to date.

kubectl apply -f examples/operator/crd.yaml
kopf run --namespace default examples/operator/greetings.py
kubectl apply -f examples/operator/greeting.yaml
kubectl get greetings,configmaps
"""

from typing import Any

import kopf
import kubernetes

KIND = ("example.com", "v1", "greetings")


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Read the kubeconfig for the client below, as kopf does for its own."""
    settings.posting.enabled = False
    kubernetes.config.load_kube_config()


@kopf.on.resume(*KIND)
@kopf.on.create(*KIND)
@kopf.on.update(*KIND, field="spec")
def write(body: kopf.Body, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    """Write a greeting into a ConfigMap, which goes when the greeting goes, and say so in the status."""
    text = "\n".join([f"Hello, {spec['to']}!"] * spec["times"])
    name, namespace = body.metadata.name, body.metadata.namespace
    wanted = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"greeting": text},
    }
    kopf.append_owner_reference(wanted, owner=body)
    kubernetes.client.CoreV1Api().patch_namespaced_config_map(
        name,
        namespace,
        wanted,
        field_manager="greetings",
        force=True,
        _content_type="application/apply-patch+yaml",
    )
    patch.status["times"], patch.status["written"] = spec["times"], spec["to"]
