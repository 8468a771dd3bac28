"""Decides the address families of a Service before addresses are allocated; this cluster has one family, IPv4."""

from ipaddress import ip_address
from typing import Any

from kubelite.api.machinery import causes
from kubelite.api.registry.rules.services import cluster_addresses
from kubelite.api.registry.rules.values import Out

FAMILY, OTHER_FAMILY = "IPv4", "IPv6"
SINGLE, DUAL = "SingleStack", "RequireDualStack"
HEADLESS = "None"

JSON = dict[str, Any]


def settle_families(spec: JSON, before: JSON) -> Out:
    """Set ipFamilyPolicy and ipFamilies in `spec`, which is changed; return the causes why they are invalid.

    Source: the defaults and rejections of the Service storage of Kubernetes for a single-stack cluster.
    """
    is_free = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    default = DUAL if is_free else SINGLE
    spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or before.get("ipFamilyPolicy") or default
    out = Out()
    cluster_addresses(out, spec)
    if not out:
        _fit_policy(out, spec, before)
        _infer(out, spec)
    if out:
        return out
    families = spec.setdefault("ipFamilies", [FAMILY])
    if is_free:  # the writer of its endpoints decides the families
        if len(families) == 1 and spec["ipFamilyPolicy"] != SINGLE:
            families.append(OTHER_FAMILY if families[0] == FAMILY else FAMILY)
        return out
    if spec["ipFamilyPolicy"] == DUAL:
        detail = "this cluster is not configured for dual-stack services"
        out.append(causes.invalid("spec.ipFamilyPolicy", DUAL, detail))
    for index, family in enumerate(families):
        if family != FAMILY:
            detail = "not configured on this cluster"
            out.append(causes.invalid(f"spec.ipFamilies[{index}]", family, detail))
    return out


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


def _infer(out: Out, spec: JSON) -> None:
    """Infer missing ipFamilies from the clusterIPs."""
    addresses = spec.get("clusterIPs") or []
    families = spec.get("ipFamilies") or []
    for index, text in enumerate(addresses):
        if text == HEADLESS or index < len(families):
            continue
        family = f"IPv{ip_address(text).version}"
        if family == FAMILY:
            families.append(family)
        else:
            detail = f"{family} is not configured on this cluster"
            out.append(causes.invalid(f"spec.clusterIPs[{index}]", addresses, detail))
    if families:
        spec["ipFamilies"] = families
    else:
        spec.pop("ipFamilies", None)
