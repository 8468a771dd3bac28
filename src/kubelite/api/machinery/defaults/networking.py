"""Defaults of network policies, ingress classes and endpoint slices."""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]


def default_network_policy(policy: Fields) -> None:
    """Set the defaults of a policy: its types are Ingress, and Egress if it has egress rules."""
    spec = policy["spec"]
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def default_ingress_class(ingress_class: Fields) -> None:
    """Set the defaults of an ingress class."""
    if parameters := ingress_class["spec"].get("parameters"):
        parameters.setdefault("scope", "Cluster")


def default_endpoint_slice(endpoint_slice: Fields) -> None:
    """Set the defaults of a slice's ports."""
    for port in endpoint_slice["ports"] or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
