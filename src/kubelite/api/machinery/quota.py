"""The use of ResourceQuotas by objects: pure functions over JSON, for admission and for the quota controller.

Amounts are keyed by the names in a quota's `hard`: ``pods``, ``requests.cpu``, ``count/deployments.apps``, …
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from kubelite.api.machinery.device_quota import PLURAL as CLAIMS
from kubelite.api.machinery.device_quota import Surroundings, claim_usage, is_of_claims
from kubelite.api.machinery.pod_amounts import add, pod_amounts
from kubelite.api.machinery.quantity import Quantity, parse_quantity

Json = Mapping[str, Any]
Amounts = dict[str, Quantity]

ONE = Quantity(1)
ZERO = Quantity(0)
# Resources that are counted under their plural names too.
PLAIN_COUNTS = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    }
)
POD_RESOURCES = frozenset(
    {
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
    }
)
MUST_SPECIFY = frozenset(
    {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"}
)
CLASS_SUFFIX = ".storageclass.storage.k8s.io/"


def count_name(plural: str, group: str) -> str:
    """Return the name of the object count of a resource: ``count/deployments.apps``."""
    return f"count/{plural}.{group}" if group else f"count/{plural}"


def usage(
    plural: str, group: str, item: Json, now: datetime, around: Surroundings | None = None
) -> Amounts:
    """Return the amounts that one object uses; without `around`, the devices of a ResourceClaim are left out."""
    used = {count_name(plural, group): ONE}
    if group == "":
        if plural in PLAIN_COUNTS:
            used[plural] = ONE
        if plural == "pods":
            used |= _pod_usage(item, now)
        elif plural == "services":
            used |= _service_usage(item)
        elif plural == "persistentvolumeclaims":
            used |= _claim_usage(item)
    elif (plural, group) == CLAIMS and around is not None:
        used |= claim_usage(item, around, lambda pod: _pod_usage(pod, now))
    return used


def matching(plural: str, group: str, hard: Iterable[str]) -> list[str]:
    """Return the names in `hard` that objects of a resource can use."""
    names = {count_name(plural, group)}
    if group == "" and plural in PLAIN_COUNTS:
        names.add(plural)
    return [name for name in hard if name in names or _is_of(plural, group, name)]


def in_scope(quota: Json, plural: str, group: str, item: Json) -> bool:
    """Return whether an object is in a quota's scopes."""
    return all(_scope_matches(scope, plural, group, item) for scope in scopes(quota))


def scopes(quota: Json) -> list[Json]:
    """Return the scopes of a quota as selector terms."""
    spec = quota.get("spec") or {}
    plain = [{"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or []]
    return plain + list((spec.get("scopeSelector") or {}).get("matchExpressions") or [])


def unspecified(pod: Json, required: Iterable[str]) -> str:
    """Return which containers lack a value that the quota requires; "" if none does."""
    spec = pod.get("spec") or {}
    if spec.get("resources"):
        return ""
    wanted = MUST_SPECIFY.intersection(required)
    missing: dict[str, set[str]] = {}
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        resources = container.get("resources") or {}
        given = set(_names(resources.get("requests") or {}, resources.get("limits") or {}))
        for name in wanted - given:
            missing.setdefault(name, set()).add(container.get("name", ""))
    if not missing:
        return ""
    parts = (f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
    return f"must specify {'; '.join(parts)}"


def added(used: Amounts, more: Amounts) -> Amounts:
    """Return the sum of two uses."""
    return used | {name: used.get(name, ZERO) + amount for name, amount in more.items()}


def increase(after: Amounts, before: Amounts) -> Amounts:
    """Return the growth of a use; decreases are left to the controller."""
    grown = {name: amount - before.get(name, ZERO) for name, amount in after.items()}
    return {name: amount for name, amount in grown.items() if amount > ZERO}


def total(items: Iterable[Amounts]) -> Amounts:
    """Return the sum of many uses."""
    used: Amounts = {}
    for amounts in items:
        add(used, amounts)
    return used


def read(texts: Json | None) -> Amounts:
    """Parse amounts by name."""
    return {name: parse_quantity(str(text)) for name, text in (texts or {}).items()}


def written(amounts: Amounts) -> dict[str, str]:
    """Format amounts, sorted by name."""
    return {name: str(amounts[name]) for name in sorted(amounts)}


def _is_of(plural: str, group: str, name: str) -> bool:
    if group:
        return (plural, group) == CLAIMS and is_of_claims(name)
    if plural == "pods":
        return (
            name in POD_RESOURCES
            or _is_extended(name)
            or name.startswith(("hugepages-", "requests.hugepages-"))
        )
    if plural == "services":
        return name in ("services.nodeports", "services.loadbalancers")
    return plural == "persistentvolumeclaims" and (
        name == "requests.storage" or CLASS_SUFFIX in name
    )


def _is_extended(name: str) -> bool:
    rest = name.removeprefix("requests.")
    return name.startswith("requests.") and "/" in rest and CLASS_SUFFIX not in name


def _pod_usage(pod: Json, now: datetime) -> Amounts:
    if not _is_running(pod, now):
        return {}
    spec = pod.get("spec") or {}
    requests, limits = (pod_amounts(spec, field, overhead=True) for field in ("requests", "limits"))
    return {"pods": ONE, **_names(requests, limits)}


def _names(requests: Mapping[str, Any], limits: Mapping[str, Any]) -> dict[str, Any]:
    """Return requests and limits under the names that quotas use."""
    named: dict[str, Any] = {}
    for name, amount in requests.items():
        if name in ("cpu", "memory", "ephemeral-storage") or name.startswith("hugepages-"):
            named[name] = amount
        named[f"requests.{name}"] = amount
    for name in ("cpu", "memory", "ephemeral-storage"):
        if name in limits:
            named[f"limits.{name}"] = limits[name]
    return named


def _is_running(pod: Json, now: datetime) -> bool:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    meta = pod.get("metadata") or {}
    deletion, grace = meta.get("deletionTimestamp"), meta.get("deletionGracePeriodSeconds")
    if deletion is None or grace is None:
        return True
    return now <= datetime.fromisoformat(deletion) + timedelta(seconds=int(grace))


def _service_usage(service: Json) -> Amounts:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type", "ClusterIP"), len(spec.get("ports") or [])
    is_balanced = kind == "LoadBalancer"
    if is_balanced and spec.get("allocateLoadBalancerNodePorts") is False:
        ports = sum(1 for port in spec.get("ports") or [] if port.get("nodePort"))
    elif kind != "NodePort" and not is_balanced:
        ports = 0
    return {
        "services.nodeports": Quantity(ports),
        "services.loadbalancers": Quantity(int(is_balanced)),
    }


def _claim_usage(claim: Json) -> Amounts:
    spec = claim.get("spec") or {}
    annotations = (claim.get("metadata") or {}).get("annotations") or {}
    name = annotations.get("volume.beta.kubernetes.io/storage-class") or spec.get(
        "storageClassName"
    )
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    used: Amounts = {}
    if size is not None:
        amount = parse_quantity(str(size))
        if allocated is not None and parse_quantity(str(allocated)) > amount:
            amount = parse_quantity(str(allocated))
        used["requests.storage"] = amount
        if name:
            used[f"{name}{CLASS_SUFFIX}requests.storage"] = amount
    if name:
        used[f"{name}{CLASS_SUFFIX}persistentvolumeclaims"] = ONE
    return used


def _scope_matches(scope: Json, plural: str, group: str, item: Json) -> bool:
    name = scope.get("scopeName")
    if name == "VolumeAttributesClass":
        if (plural, group) != ("persistentvolumeclaims", ""):
            return False
        return _selects(scope, (item.get("spec") or {}).get("volumeAttributesClassName") or "")
    if (plural, group) != ("pods", ""):
        return False
    spec = item.get("spec") or {}
    if name == "PriorityClass":
        return _selects(scope, spec.get("priorityClassName") or "")
    decide = _POD_SCOPES.get(str(name))
    return decide is not None and decide(spec)


def _selects(scope: Json, value: str) -> bool:
    operator, values = scope.get("operator"), scope.get("values") or []
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    return bool(value) is (operator == "Exists")


def _is_terminating(spec: Json) -> bool:
    return spec.get("activeDeadlineSeconds") is not None and spec["activeDeadlineSeconds"] >= 0


def _is_best_effort(spec: Json) -> bool:
    """Return whether the pod is BestEffort: no requests or limits of cpu or memory."""
    holders = [spec, *(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return not any(
        name in ("cpu", "memory") and parse_quantity(str(amount))
        for holder in holders
        for field in ("requests", "limits")
        for name, amount in ((holder.get("resources") or {}).get(field) or {}).items()
    )


def _crosses_namespaces(spec: Json) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = list(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or [])
        preferred = rules.get("preferredDuringSchedulingIgnoredDuringExecution") or []
        terms += [one.get("podAffinityTerm") or {} for one in preferred]
        if any(
            term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms
        ):
            return True
    return False


_POD_SCOPES: dict[str, Callable[[Json], bool]] = {
    "Terminating": _is_terminating,
    "NotTerminating": lambda spec: not _is_terminating(spec),
    "BestEffort": _is_best_effort,
    "NotBestEffort": lambda spec: not _is_best_effort(spec),
    "CrossNamespacePodAffinity": _crosses_namespaces,
}


def over(used: Amounts, hard: Amounts, names: Sequence[str]) -> list[str]:
    """Return the names whose use exceeds the limit."""
    return sorted(name for name in names if name in hard and used.get(name, ZERO) > hard[name])
