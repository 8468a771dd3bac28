"""BackendTLSPolicies: which ports of Services are spoken to by TLS, and whom to trust there. Pure.

A policy, its Services and its certificates are of one namespace. Of two policies for one port the older one counts. One
whose certificates cannot be used leaves its ports without any endpoint, rather than to trust somebody else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from kubelite.ingress.endpoints import BackendTLS
from kubelite.ingress.gateway_conditions import Conditions
from kubelite.ingress.gateway_objects import CONTROLLER, GROUP, BackendTLSPolicy
from kubelite.ingress.plan import SecretKey

SYSTEM = "System"
ANCESTORS_MAX = 16  # of a status, by its schema

PortKey = tuple[str, str, str]  # namespace and name of the Service, name of the port; "": all


class Authority(Struct, frozen=True):
    """What a ConfigMap says of whom to trust."""

    pem: bytes = b""
    problem: str = ""


class Policy(Struct, frozen=True):
    """What holds for a port of a Service; without `tls` it gets no requests."""

    tls: BackendTLS | None


class Decided(Struct, frozen=True):
    """What is found of one policy."""

    accepted: str  # the reason
    resolved: str
    message: str
    policy: Policy


def authorities_of(policies: Iterable[BackendTLSPolicy]) -> frozenset[SecretKey]:
    """Return the ConfigMaps that policies name."""
    return frozenset(
        (one.metadata.namespace, ref.name)
        for one in policies
        for ref in one.spec.validation.ca_certificate_refs
        if (ref.group, ref.kind) == ("", "ConfigMap")
    )


def in_order(policies: Iterable[BackendTLSPolicy]) -> list[BackendTLSPolicy]:
    """Return the policies that hold, the oldest first."""
    found = [one for one in policies if not one.metadata.deletion_timestamp]
    return sorted(
        found,
        key=lambda one: (
            one.metadata.creation_timestamp,
            one.metadata.namespace,
            one.metadata.name,
        ),
    )


def decide(
    policies: Iterable[BackendTLSPolicy], authorities: Mapping[SecretKey, Authority]
) -> tuple[dict[PortKey, Policy], dict[SecretKey, Decided]]:
    """Return what holds for ports, and what is found of each policy by its namespace and name."""
    holds: dict[PortKey, Policy] = {}
    found: dict[SecretKey, Decided] = {}
    for one in in_order(policies):
        decided = _judge(one, authorities)
        namespace = one.metadata.namespace
        is_alone = True
        for target in one.spec.target_refs:
            if (target.group, target.kind) != ("", "Service"):
                continue
            key = namespace, target.name, target.section_name
            is_alone = is_alone and key not in holds
            holds.setdefault(key, decided.policy)
        if not is_alone:
            text = "an older policy is for the same Service"
            decided = Decided("Conflicted", decided.resolved, text, decided.policy)
        found[namespace, one.metadata.name] = decided
    return holds, found


def policy_for(
    holds: Mapping[PortKey, Policy], namespace: str, service: str, port: str
) -> Policy | None:
    """Return the policy of a port: that of its name, else of the whole Service."""
    return holds.get((namespace, service, port)) or holds.get((namespace, service, ""))


def _judge(policy: BackendTLSPolicy, authorities: Mapping[SecretKey, Authority]) -> Decided:
    validation = policy.spec.validation
    pems, resolved, message = [], "ResolvedRefs", ""
    for ref in validation.ca_certificate_refs:
        if (ref.group, ref.kind) != ("", "ConfigMap"):
            resolved, message = "InvalidKind", f"{ref.kind}.{ref.group or 'core'} is no ConfigMap"
            continue
        key = policy.metadata.namespace, ref.name
        authority = authorities.get(key, Authority(problem="it does not exist"))
        if authority.problem:
            resolved = "InvalidCACertificateRef"
            message = f"ConfigMap {key[0]}/{key[1]} cannot be used: {authority.problem}"
        else:
            pems.append(authority.pem)
    is_system = validation.well_known_ca_certificates == SYSTEM
    if not pems and (validation.ca_certificate_refs or not is_system):
        if resolved == "ResolvedRefs":
            return Decided("Invalid", resolved, "no authorities that are supported", Policy(None))
        return Decided("NoValidCACertificate", resolved, message, Policy(None))
    names = tuple(
        one.uri if one.type == "URI" else one.hostname for one in validation.subject_alt_names
    )
    tls = BackendTLS(validation.hostname, b"\n".join(pems), names)
    return Decided("Accepted", resolved, message, Policy(tls))


def policy_status(
    policy: BackendTLSPolicy, decided: Decided, gateways: Sequence[SecretKey]
) -> Mapping[str, Any]:
    """Return the status of a policy, without dates; `gateways` are those that send requests to its Services."""
    conditions = Conditions(policy.metadata.generation)
    is_accepted = decided.accepted == "Accepted"
    conditions.add("Accepted", decided.accepted, decided.message, is_true=is_accepted)
    is_resolved = decided.resolved == "ResolvedRefs"
    conditions.add("ResolvedRefs", decided.resolved, decided.message, is_true=is_resolved)
    return {
        "ancestors": [
            {
                "ancestorRef": {
                    "group": GROUP,
                    "kind": "Gateway",
                    "namespace": namespace,
                    "name": name,
                },
                "controllerName": CONTROLLER,
                "conditions": conditions.found,
            }
            for namespace, name in gateways[:ANCESTORS_MAX]
        ]
    }
