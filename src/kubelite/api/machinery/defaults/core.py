"""Defaults of the core group, except for pods and volumes."""

from __future__ import annotations

import base64
from typing import Any

from kubelite.api.machinery.defaults.pods import default_template
from kubelite.api.machinery.defaults.resources import round_up_to_milli

Fields = dict[str, Any]

AFFINITY_SECONDS = 10800  # of ClientIP session affinity


def default_replication_controller(controller: Fields) -> None:
    """Set the defaults of a replication controller; selector and labels default to the template's labels."""
    spec = controller["spec"]
    if (template := spec.get("template")) is None:
        return
    default_template(template)
    if labels := template["metadata"].get("labels"):
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not controller["metadata"].get("labels"):
            controller["metadata"]["labels"] = dict(labels)


def default_pod_template(template: Fields) -> None:
    """Set the defaults of a PodTemplate object."""
    default_template(template["template"])


def default_service(service: Fields) -> None:
    """Set the defaults of a service."""
    spec = service["spec"]
    _default_affinity(spec)
    type_ = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports", ()):
        if port.get("targetPort") in {None, 0, ""}:
            port["targetPort"] = port["port"]
    is_external = type_ in {"LoadBalancer", "NodePort"}
    if is_external or (type_ == "ClusterIP" and spec.get("externalIPs")):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if is_external or type_ == "ClusterIP":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if type_ == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for ingress in service["status"].get("loadBalancer", {}).get("ingress", ()):
            if ingress.get("ip"):
                ingress.setdefault("ipMode", "VIP")


def _default_affinity(spec: Fields) -> None:
    affinity = spec.setdefault("sessionAffinity", "None")
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client = spec.get("sessionAffinityConfig", {}).get("clientIP", {})
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}}


def default_secret(secret: Fields) -> None:
    """Set the defaults of a secret; `stringData` is moved into `data`."""
    secret.setdefault("type", "Opaque")
    if texts := secret.pop("stringData", None):
        data = secret.setdefault("data", {})
        for name, text in texts.items():
            data[name] = base64.b64encode(text.encode()).decode()


def default_endpoints(endpoints: Fields) -> None:
    """Set the defaults of endpoints."""
    for subset in endpoints.get("subsets", ()):
        for port in subset.get("ports", ()):
            port.setdefault("protocol", "TCP")


def default_namespace(namespace: Fields) -> None:
    """Set the defaults of a namespace: its name as a label."""
    if name := namespace["metadata"].get("name"):
        namespace["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    namespace["status"].setdefault("phase", "Active")


def default_node(node: Fields) -> None:
    """Set the defaults of a node: allocatable defaults to the capacity."""
    spec, status = node["spec"], node["status"]
    for name in ("capacity", "allocatable"):
        round_up_to_milli(status.get(name, {}))
    if "capacity" in status and "allocatable" not in status:
        status["allocatable"] = dict(status["capacity"])
    range_, ranges = spec.get("podCIDR"), spec.get("podCIDRs")
    if range_ and (not ranges or ranges[0] != range_):
        spec["podCIDRs"] = [range_]
    elif ranges:
        spec["podCIDR"] = ranges[0]


def default_limit_range(limits: Fields) -> None:
    """Set the defaults of container limits, each absent bound from those given."""
    for item in limits["spec"]["limits"] or ():
        for name in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            round_up_to_milli(item.get(name, {}))
        if item["type"] == "Container":
            default = {**item.get("max", {}), **item.get("default", {})}
            request = {**item.get("min", {}), **default, **item.get("defaultRequest", {})}
            for name, amounts in (("default", default), ("defaultRequest", request)):
                if amounts:
                    item[name] = amounts


def default_resource_quota(quota: Fields) -> None:
    """Round the amounts of a quota."""
    round_up_to_milli(quota["spec"].get("hard", {}))
    for name in ("hard", "used"):
        round_up_to_milli(quota["status"].get(name, {}))
