"""Defaults of network policies, ingress classes and endpoint slices."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]


def default_network_policy(policy: Fields) -> None:
    """Fill in a policy: it is about ingress, and about egress where it has such rules."""
    spec = policy["spec"]
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def default_ingress_class(ingress_class: Fields) -> None:
    """Fill in an ingress class."""
    if parameters := ingress_class["spec"].get("parameters"):
        parameters.setdefault("scope", "Cluster")


def default_endpoint_slice(endpoint_slice: Fields) -> None:
    """Fill in the ports of a slice."""
    for port in endpoint_slice["ports"]:
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
