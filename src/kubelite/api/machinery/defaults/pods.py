"""Defaults of pods and of the pod templates in other kinds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubelite.api.machinery.defaults.images import pull_policy
from kubelite.api.machinery.defaults.resources import default_pod_resources, round_up_to_milli
from kubelite.api.machinery.defaults.volumes import default_claim_spec, default_host_path

Fields = dict[str, Any]

_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def default_pod(pod: Fields) -> None:
    """Set the defaults of a pod."""
    spec = pod["spec"]
    default_pod_spec(spec)
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        _request_what_is_limited(container["resources"])
    if "resources" in spec:
        default_pod_resources(spec)
    spec.setdefault("enableServiceLinks", True)
    if spec.get("hostNetwork"):
        for container in (*spec.get("initContainers", ()), *spec["containers"]):
            _open_host_ports(container)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    _mirror_addresses(pod["status"])


def _mirror_addresses(status: Fields) -> None:
    """Sync `podIP` with `podIPs`; if they differ `podIP` wins."""
    address, addresses = status.get("podIP"), status.get("podIPs")
    if address and (not addresses or addresses[0].get("ip") != address):
        status["podIPs"] = [{"ip": address}]
    elif addresses:
        status["podIP"] = addresses[0].get("ip", "")


def _request_what_is_limited(resources: Fields) -> None:
    if limits := resources.get("limits"):
        requests = resources.setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _open_host_ports(container: Fields) -> None:
    for port in container.get("ports", ()):
        port.setdefault("hostPort", port["containerPort"])


def default_template(template: Fields) -> None:
    """Set the defaults of a pod template."""
    default_pod_spec(template["spec"])


def default_pod_spec(spec: Fields) -> None:
    """Set the defaults of a pod spec, also in a template."""
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("schedulerName", "default-scheduler")
    _mirror_service_account(spec)
    for name in _CONTAINER_LISTS:
        for container in spec.get(name, ()):
            _default_container(container)
    for volume in spec.get("volumes", ()):
        default_volume(volume)
    for resources in (spec.get("overhead"), *spec.get("resources", {}).values()):
        if isinstance(resources, dict):
            round_up_to_milli(resources)


def _mirror_service_account(spec: Fields) -> None:
    """Sync `serviceAccount` with `serviceAccountName`, which wins."""
    if account := spec.get("serviceAccountName") or spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _default_container(container: Fields) -> None:
    if "imagePullPolicy" not in container:
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    for amounts in container["resources"].values():
        if isinstance(amounts, dict):
            round_up_to_milli(amounts)
    for variable in container.get("env", ()):
        default_field_reference(variable.get("valueFrom"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            _default_probe(probe)
    for hook in container.get("lifecycle", {}).values():
        if isinstance(hook, dict):
            _default_http_get(hook)


def _default_probe(probe: Fields) -> None:
    probe.setdefault("timeoutSeconds", 1)
    probe.setdefault("periodSeconds", 10)
    probe.setdefault("successThreshold", 1)
    probe.setdefault("failureThreshold", 3)
    _default_http_get(probe)


def _default_http_get(action: Fields) -> None:
    if (request := action.get("httpGet")) is not None:
        request.setdefault("path", "/")
        request.setdefault("scheme", "HTTP")


def default_field_reference(source: Fields | None) -> None:
    """Set the API version of a reference to a field of the pod."""
    if source and "fieldRef" in source:
        source["fieldRef"].setdefault("apiVersion", "v1")


def default_volume(volume: Fields) -> None:
    """Set the defaults of a pod's volume; one without a source is an emptyDir."""
    if len(volume) == 1 and "name" in volume:
        volume["emptyDir"] = {}
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if name in volume:
            volume[name].setdefault("defaultMode", 0o644)
    default_host_path(volume)
    _default_items(volume.get("downwardAPI", {}).get("items", ()))
    for source in volume.get("projected", {}).get("sources") or ():
        _default_items(source.get("downwardAPI", {}).get("items", ()))
        if "serviceAccountToken" in source:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    if "image" in volume and "pullPolicy" not in volume["image"]:
        volume["image"]["pullPolicy"] = pull_policy(volume["image"].get("reference", ""))
    if template := volume.get("ephemeral", {}).get("volumeClaimTemplate"):
        default_claim_spec(template["spec"])


def _default_items(items: Iterable[Fields]) -> None:
    for item in items:
        default_field_reference(item)
