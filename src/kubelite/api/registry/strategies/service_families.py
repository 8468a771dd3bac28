"""Decides the address families of a Service before addresses are allocated."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from kubelite.api.machinery import causes
from kubelite.api.registry.rules.services import cluster_addresses
from kubelite.api.registry.rules.values import Out

OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
SINGLE, PREFER, DUAL = "SingleStack", "PreferDualStack", "RequireDualStack"
HEADLESS = "None"
_SAME = ("type", "clusterIP", "clusterIPs", "ipFamilies")

JSON = dict[str, Any]


def settle_families(spec: JSON, before: JSON, configured: Sequence[str] = ("IPv4",)) -> Out:
    """Set ipFamilyPolicy and ipFamilies in `spec`, which is changed; return the causes why they are invalid.

    `configured` are the cluster's families, the primary one first. Source: the defaults and rejections of the Service
    storage of Kubernetes.
    """
    is_free = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if _stays_preferring(spec, before):
        return Out()  # a cluster that gained or lost a family changes no Service by itself
    default = DUAL if is_free else SINGLE
    spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy") or default
    out = Out()
    cluster_addresses(out, spec)
    if not out:
        _fit_policy(out, spec, before)
        _infer(out, spec, configured)
    if out:
        return out
    families = spec.setdefault("ipFamilies", [configured[0]])
    if not is_free:  # else the writer of its endpoints decides the families
        _check_configured(out, spec, configured)
        if out or len(configured) == 1:
            return out
    if len(families) == 1 and spec["ipFamilyPolicy"] != SINGLE:
        families.append(OTHER[families[0]])
    return out


def _stays_preferring(spec: JSON, before: JSON) -> bool:
    """Return whether a Service preferred two families before, and its writer changed nothing of its addresses."""
    policies = {spec.get("ipFamilyPolicy"), before.get("ipFamilyPolicy", PREFER)}
    return (
        bool(before.get("ipFamilies"))
        and policies == {PREFER}
        and all(spec.get(name) == before.get(name) for name in _SAME)
    )


def _check_configured(out: Out, spec: JSON, configured: Sequence[str]) -> None:
    if spec["ipFamilyPolicy"] == DUAL and len(configured) < 2:
        detail = "this cluster is not configured for dual-stack services"
        out.append(causes.invalid("spec.ipFamilyPolicy", DUAL, detail))
    for index, family in enumerate(spec["ipFamilies"]):
        if family not in configured:
            detail = "not configured on this cluster"
            out.append(causes.invalid(f"spec.ipFamilies[{index}]", family, detail))


def _fit_policy(out: Out, spec: JSON, before: JSON) -> None:
    """Check that a SingleStack Service has one address and one family; falling back to one requires the policy."""
    policy, path = spec["ipFamilyPolicy"], "spec.ipFamilyPolicy"
    for field, many, second in (
        ("clusterIPs", "cluster IPs", "cluster IP"),
        ("ipFamilies", "IP families", "IP family"),
    ):
        found, was = spec.get(field) or [], before.get(field) or []
        if policy != SINGLE:
            if len(found) < len(was) and before:
                detail = f"must be 'SingleStack' to release the secondary {second}"
                out.append(causes.invalid(path, policy, detail))
        elif before and found == was:
            spec[field] = found[:1]
        elif len(found) > 1:
            detail = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {many} are specified"
            out.append(causes.invalid(path, policy, detail))


def _infer(out: Out, spec: JSON, configured: Sequence[str]) -> None:
    """Infer missing ipFamilies from the clusterIPs."""
    addresses = spec.get("clusterIPs") or []
    families = list(spec.get("ipFamilies") or [])
    for index, text in enumerate(addresses):
        if text == HEADLESS or index < len(families):
            continue
        family = f"IPv{ip_address(text).version}"
        if family in configured:
            families.append(family)
        else:
            detail = f"{family} is not configured on this cluster"
            out.append(causes.invalid(f"spec.clusterIPs[{index}]", addresses, detail))
    if families:
        spec["ipFamilies"] = families
    else:
        spec.pop("ipFamilies", None)
