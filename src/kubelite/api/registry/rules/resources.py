"""Rules of resource names and quantities: requests, limits, quotas and capacities."""

import re

from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import Quantity, parse_quantity
from kubelite.api.registry.rules.values import JSON, Out, format_check, items

STANDARD_CONTAINER = frozenset(("cpu", "memory", "ephemeral-storage"))
_STANDARD = STANDARD_CONTAINER | {"storage", "requests.cpu", "requests.memory", "requests.storage"}
_STANDARD_QUOTA = frozenset(
    [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ]
)
_WHOLE = frozenset(
    [
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ]
)
_HUGE = "hugepages-"
_OBJECT_COUNT = re.compile(r"count/[a-z0-9.\-]+").fullmatch
INTEGER = "must be an integer"


def is_huge_pages(name: str) -> bool:
    """Return whether the resource is huge pages (``hugepages-<size>``)."""
    return name.startswith(_HUGE)


def is_native(name: str) -> bool:
    """Return whether the resource is one of Kubernetes' own."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Return whether the resource is an extended resource, which is counted in integers."""
    return not (is_native(name) or name.startswith("requests.")) and not names.qualified_name(
        f"requests.{name}"
    )


def may_overcommit(name: str) -> bool:
    """Return whether limits may exceed requests."""
    return is_native(name) and not is_huge_pages(name)


def container_resource(out: Out, path: str, name: str) -> None:
    """Check a resource name in a container's requests or limits."""
    if name in STANDARD_CONTAINER:
        return
    format_check(out, path, name, names.qualified_name)
    if "/" not in name:
        if not is_huge_pages(name):
            if name not in _STANDARD:
                detail = "must be a standard resource type or fully qualified"
                out.append(causes.invalid(path, name, detail))
            out.append(causes.invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        out.append(causes.invalid(path, name, "doesn't follow extended resource name standard"))


def pod_resource(out: Out, path: str, name: str) -> None:
    """Check a resource name in pod-level requests or limits."""
    if name not in ("cpu", "memory") and not is_huge_pages(name):
        out.append(causes.unsupported(path, name, ("cpu", "hugepages-", "memory")))


def quota_resource(out: Out, path: str, name: str) -> None:
    """Check a resource name in a quota."""
    bare = name.removeprefix("requests.")
    if name in _STANDARD_QUOTA or bare.startswith(_HUGE) or _OBJECT_COUNT(name):
        return
    format_check(out, path, name, names.qualified_name)
    if "/" not in name:
        detail = "must be a standard resource for quota"
        out.append(causes.invalid(path, name, detail))


def amount(out: Out, path: str, name: str, text: str | float) -> Quantity | None:
    """Check a quantity: valid, not negative, and an integer if the resource is counted."""
    try:
        quantity = parse_quantity(text)
    except ValueError as error:
        out.append(causes.invalid(path, text, str(error)))
        return None
    if quantity.amount < 0:
        detail = "must be greater than or equal to 0"
        out.append(causes.invalid(path, str(quantity), detail))
    if (name in _WHOLE or is_extended(name)) and quantity.amount % 1:
        out.append(causes.invalid(path, str(quantity), INTEGER))
    return quantity


def requirements(out: Out, path: str, wanted: JSON | None, *, whole_pod: bool = False) -> None:
    """Check requests and limits against each other."""
    if not wanted:
        return
    check_name = pod_resource if whole_pod else container_resource
    limits: dict[str, Quantity | None] = {}
    for name, text in (wanted.get("limits") or {}).items():
        at = f"{path}.limits[{name}]"
        check_name(out, at, name)
        limits[name] = _amount_of(out, at, name, text)
    requests = wanted.get("requests") or {}
    for name, text in requests.items():
        at = f"{path}.requests[{name}]"
        check_name(out, at, name)
        _compare(out, path, name, _amount_of(out, at, name, text), limits)
    if any(is_huge_pages(name) for name in (*limits, *requests)) and not any(
        name in ("cpu", "memory") for name in (*limits, *requests)
    ):
        out.append(causes.forbidden(path, "HugePages require cpu or memory"))


def _amount_of(out: Out, path: str, name: str, text: str | float) -> Quantity | None:
    quantity = amount(out, path, name, text)
    if quantity is not None and is_huge_pages(name):
        try:
            page = parse_quantity(name.removeprefix(_HUGE))
        except ValueError:
            return quantity
        if not page.amount or quantity.amount % page.amount:
            detail = f"{quantity} is not positive integer multiple of {name}"
            out.append(causes.invalid(path, str(quantity), detail))
    return quantity


def _compare(
    out: Out, path: str, name: str, quantity: Quantity | None, limits: dict[str, Quantity | None]
) -> None:
    if name not in limits:
        if not may_overcommit(name):
            detail = "Limit must be set for non overcommitable resources"
            out.append(causes.required(f"{path}.limits", detail))
        return
    limit = limits[name]
    if quantity is None or limit is None:
        return
    if quantity.amount != limit.amount and not may_overcommit(name):
        detail = f"must be equal to {name} limit of {limit}"
        out.append(causes.invalid(f"{path}.requests", str(quantity), detail))
    elif quantity.amount > limit.amount:
        detail = f"must be less than or equal to {name} limit of {limit}"
        out.append(causes.invalid(f"{path}.requests", str(quantity), detail))


def claims(out: Out, path: str, wanted: JSON | None, claimed: frozenset[str]) -> None:
    """Check that the resource claims of a container exist in its pod."""
    seen: set[str] = set()
    for index, claim in enumerate(items(wanted or {}, "claims")):
        name, request = claim.get("name", ""), claim.get("request", "")
        at = f"{path}.claims[{index}]"
        if not name:
            out.append(causes.required(at))
            continue
        if request:
            format_check(out, f"{at}.request", request, names.dns_label)
        key = f"{name}/{request}" if request else name
        if key in seen or name in seen:
            out.append(causes.duplicate(at, key))
        seen.add(key)
        if name not in claimed:
            listed = f": {', '.join(sorted(claimed))}" if claimed else " which is empty"
            cause = causes.not_found(at, name)
            detail = f"{cause.message}: must be one of the names in pod.spec.resourceClaims{listed}"
            out.append(type(cause)(cause.path, cause.reason, detail))
