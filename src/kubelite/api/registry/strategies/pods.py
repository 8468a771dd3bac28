# ruff: noqa: ARG002 - not every hook uses all its arguments
"""Pods: initial phase and QoS class, graceful deletion, and the fields that each subresource may change."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from kubelite.api.machinery.quantity import ZERO, Quantity, parse_quantity
from kubelite.api.machinery.times import format_time
from kubelite.api.registry.options import DeletionOptions
from kubelite.api.registry.rules.security import app_armor
from kubelite.api.registry.rules.values import Out
from kubelite.api.registry.rules.warnings.containers import (
    APP_ARMOR,
    APP_ARMOR_WARNING,
    profile_of,
)
from kubelite.api.registry.strategy import Strategy, WriteContext, keep
from kubelite.limits import OBJECT_WARNINGS

BEST_EFFORT, BURSTABLE, GUARANTEED = "BestEffort", "Burstable", "Guaranteed"
_COMPUTE = ("cpu", "memory")
FINISHED = ("Succeeded", "Failed")

JSON = dict[str, Any]


class PodStrategy(Strategy):
    """The write hooks of Pods."""

    def prepare_create(self, item: JSON, context: WriteContext) -> None:
        """Set the phase Pending and the QoS class, and the condition of a pod with scheduling gates."""
        item["metadata"]["generation"] = 1
        spec = item.setdefault("spec", {})
        item["status"] = {"phase": "Pending", "qosClass": quality_of_service(spec)}
        if spec.get("schedulingGates"):
            item["status"]["conditions"] = [_gated(context)]
        select_by_own_labels(spec, item["metadata"].get("labels") or {})
        annotated = copy_app_armor(spec, item["metadata"].get("annotations") or {})
        context.warnings.extend(islice(annotated, OBJECT_WARNINGS.value))

    def finish(self, item: JSON, old: JSON | None, context: WriteContext) -> None:
        """Recompute the QoS class of a new pod, since admission may have set resources."""
        if old is None:
            item["status"]["qosClass"] = quality_of_service(item["spec"])

    def prepare_part(self, item: JSON, old: JSON, subresource: str, context: WriteContext) -> None:
        """Restore from `old` all but the fields that the subresource may change."""
        if subresource == "status":
            _keep_all_but_status(item, old)
        elif subresource == "ephemeralcontainers":
            keep(item, old, "status")
            item["spec"] = _with(old["spec"], item.get("spec") or {}, ("ephemeralContainers",))
            keep_metadata(item, old)
        elif subresource == "resize":
            keep(item, old, "status")
            item["spec"] = resized(old["spec"], item.get("spec") or {})
            keep_metadata(item, old)
        else:
            assert subresource == "binding", f"pods/{subresource} changes no pod"

    def grace(self, item: JSON, options: DeletionOptions) -> int | None:
        """Return the grace period in seconds; 0 for a pod that no kubelet runs."""
        seconds = options.grace_seconds
        if seconds is None:
            seconds = item["spec"].get("terminationGracePeriodSeconds") or 0
        if not item["spec"].get("nodeName"):
            return 0
        if item.get("status", {}).get("phase") in FINISHED:
            return 0
        return 1 if seconds < 0 else int(seconds)


def copy_app_armor(spec: JSON, annotations: JSON) -> list[str]:
    """Copy the AppArmor annotations of containers into their fields, which count; return a warning for each.

    A field that is set, the same profile for the whole pod, and an annotation that names no profile change nothing.
    """
    if (spec.get("os") or {}).get("name") == "windows":
        return []
    shared = (spec.get("securityContext") or {}).get("appArmorProfile")
    warnings = []
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(part) or ():
            key = f"{APP_ARMOR}{container.get('name', '')}"
            if (container.get("securityContext") or {}).get("appArmorProfile") is not None:
                continue
            profile = dict(profile_of(annotations.get(key, "")) or {})
            if not profile or profile == shared or not _is_valid(profile):
                continue
            container["securityContext"] = {
                **(container.get("securityContext") or {}),
                "appArmorProfile": profile,
            }
            warnings.append(f"metadata.annotations[{key}]: {APP_ARMOR_WARNING}")
    return warnings


def _is_valid(profile: JSON) -> bool:
    out = Out()
    app_armor(out, "", profile)
    return not out


def select_by_own_labels(spec: JSON, labels: JSON) -> None:
    """Add the requirements of matchLabelKeys and mismatchLabelKeys, for the pod's labels, to the placement selectors.

    This happens once, at creation, so a later label change does not affect placement. A term without a selector selects
    nothing and stays so. Source: "Pod Topology Spread Constraints", "Inter-pod affinity and anti-affinity".
    """
    for term in _placement_terms(spec):
        selector = term.get("labelSelector")
        if selector is None:
            continue
        found = [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
            for key in term.get(field) or ()
            if key in labels
        ]
        if found:
            selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *found]


def _placement_terms(spec: JSON) -> Iterator[JSON]:
    yield from spec.get("topologySpreadConstraints") or ()
    affinity = spec.get("affinity") or {}
    for part in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(part) or {}
        for weighted in terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            yield weighted["podAffinityTerm"]
        yield from terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ()


def quality_of_service(spec: JSON) -> str:
    """Return the QoS class of a pod by the requests and limits for cpu and memory.

    Pod-level resources take precedence over those of containers. Source: "Pod Quality of Service Classes".
    """
    requests: dict[str, Quantity] = {}
    limits: dict[str, Quantity] = {}
    if whole := spec.get("resources"):
        holders = [whole]
    else:
        holders = [
            container.get("resources") or {}
            for part in ("containers", "initContainers")
            for container in spec.get(part) or ()
        ]
    guaranteed = True
    for resources in holders:
        _add(requests, resources.get("requests") or {})
        limited = _add(limits, resources.get("limits") or {})
        if limited != set(_COMPUTE) and not (whole and not limited):
            guaranteed = False
    if not requests and not limits:
        return BEST_EFFORT
    if guaranteed and requests == limits:
        return GUARANTEED
    return BURSTABLE


def _add(total: dict[str, Quantity], amounts: JSON) -> set[str]:
    """Add positive amounts of cpu and memory to `total`; return the names of those added."""
    found = set()
    for name in _COMPUTE:
        amount = parse_quantity(amounts[name]) if name in amounts else ZERO
        if amount.amount > 0:
            total[name] = Quantity(total.get(name, ZERO).amount + amount.amount)
            found.add(name)
    return found


def _gated(context: WriteContext) -> JSON:
    return {
        "type": "PodScheduled",
        "status": "False",
        "lastTransitionTime": format_time(context.now),
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }


def _keep_all_but_status(item: JSON, old: JSON) -> None:
    """Restore spec and owners from `old`, and the QoS class and observed generations that a status write omits."""
    keep(item, old, "spec")
    keep(item["metadata"], old["metadata"], "ownerReferences")
    status, before = item.setdefault("status", {}), old.get("status") or {}
    if not status.get("qosClass"):
        keep(status, before, "qosClass")
    if not status.get("observedGeneration"):
        keep(status, before, "observedGeneration")
    seen = {
        condition.get("type"): condition.get("observedGeneration")
        for condition in before.get("conditions") or ()
    }
    for condition in status.get("conditions") or ():
        if not condition.get("observedGeneration") and seen.get(condition.get("type")):
            condition["observedGeneration"] = seen[condition.get("type")]


def keep_metadata(item: JSON, old: JSON) -> None:
    """Restore all metadata but managedFields and resourceVersion from `old`."""
    metadata = {**old["metadata"]}
    for name in ("resourceVersion", "managedFields"):
        keep(metadata, item["metadata"], name)
    item["metadata"] = metadata


def _with(spec: JSON, wanted: JSON, names: tuple[str, ...]) -> JSON:
    changed = dict(spec)
    for name in names:
        keep(changed, wanted, name)
    return changed


def resized(spec: JSON, wanted: JSON) -> JSON:
    """Return `spec` with the resources of `wanted`.

    Added, removed, renamed or reordered containers are kept as sent, so that validation rejects them.
    """
    changed = _with(spec, wanted, ("resources",))
    for part in ("containers", "initContainers"):
        before, after = spec.get(part) or [], wanted.get(part) or []
        if [one.get("name") for one in before] != [one.get("name") for one in after]:
            return wanted
        if after:
            changed[part] = [
                _with(one, other, ("resources", "resizePolicy"))
                for one, other in zip(before, after, strict=True)
            ]
    return changed
