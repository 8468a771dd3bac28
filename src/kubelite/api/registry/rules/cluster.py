"""Rules of Namespaces, Nodes, LimitRanges, ResourceQuotas, PriorityClasses, RuntimeClasses, Leases and Events."""

import ipaddress

from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import Quantity
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.ip_formats import address_range
from kubelite.api.registry.rules.placement import TAINT_EFFECTS, tolerations
from kubelite.api.registry.rules.resources import (
    amount,
    container_resource,
    may_overcommit,
    quota_resource,
)
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    one_of,
    part,
    required_format,
)

_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
_ONCE_CIDR = 'node updates may not change podCIDR except from "" to valid'
_LIMIT_TYPES = ("Pod", "Container", "PersistentVolumeClaim")
_SCOPES = frozenset(
    [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ]
)
_HIGHEST_PRIORITY = 1_000_000_000


def namespace(thing: JSON) -> Out:
    """Check a Namespace."""
    out = Out()
    for finalizer in items(part(thing, "spec"), "finalizers"):
        format_check(out, "spec.finalizers", finalizer, names.qualified_name)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            out.append(causes.invalid("spec.finalizers", finalizer, detail))
    return out


def namespace_update(_new: JSON, _old: JSON) -> Out:
    """Return no causes: a change of a Namespace has no rules beyond its metadata."""
    return Out()


def namespace_status(new: JSON, _old: JSON) -> Out:
    """Check that the phase is Terminating if the Namespace is being deleted, else Active."""
    out = Out()
    phase, going = (
        part(new, "status").get("phase", ""),
        part(new, "metadata").get("deletionTimestamp"),
    )
    if not going and phase != "Active":
        detail = "may only be 'Active' if `deletionTimestamp` is empty"
        out.append(causes.invalid("status.Phase", phase, detail))
    if going and phase != "Terminating":
        detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        out.append(causes.invalid("status.Phase", phase, detail))
    return out


def node(thing: JSON) -> Out:
    """Check a Node."""
    out = Out()
    spec = part(thing, "spec")
    _taints(out, items(spec, "taints"))
    _node_resources(out, thing)
    ranges = items(spec, "podCIDRs")
    for index, text in enumerate(ranges):
        address_range(out, f"spec.podCIDRs[{index}]", text)
    if len(ranges) > 1 and not out:
        versions = {ipaddress.ip_network(text, strict=False).version for text in ranges}
        if len(ranges) > 2 or len(versions) < 2:
            detail = "may specify no more than one CIDR for each IP family"
            out.append(causes.invalid("spec.podCIDRs", ranges, detail))
    return out


def _taints(out: Out, found: list[JSON]) -> None:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(found):
        at, key, effect = f"metadata.taints[{index}]", taint.get("key", ""), taint.get("effect", "")
        labels.label_key(out, f"{at}.key", key)
        if wrong := names.label_value(taint.get("value", "")):
            out.append(causes.invalid(f"{at}.value", taint["value"], ";".join(wrong)))
        one_of(out, f"{at}.effect", effect, TAINT_EFFECTS)
        if (key, effect) in seen:
            cause = causes.duplicate(at, taint)
            detail = f"{cause.message}: taints must be unique by key and effect pair"
            out.append(type(cause)(at, cause.reason, detail))
        seen.add((key, effect))


def _node_resources(out: Out, thing: JSON) -> None:
    for field in ("capacity", "allocatable"):
        for name, text in part(thing, "status", field).items():
            amount(out, f"status.{field}.{name}", name, text)


def node_update(new: JSON, old: JSON) -> Out:
    """Check a change of a Node; pod CIDRs and provider ID are immutable once set."""
    out = Out()
    after, before = part(new, "spec"), part(old, "spec")
    _node_resources(out, new)
    seen: set[tuple[str, str]] = set()
    for index, address in enumerate(items(part(new, "status"), "addresses")):
        pair = (address.get("type", ""), address.get("address", ""))
        if pair in seen:
            out.append(causes.duplicate(f"status.addresses[{index}]", address))
        seen.add(pair)
    if before.get("podCIDRs") and before["podCIDRs"] != after.get("podCIDRs"):
        out.append(causes.forbidden("spec.podCIDRs", _ONCE_CIDR))
    if before.get("providerID") and before["providerID"] != after.get("providerID"):
        detail = 'node updates may not change providerID except from "" to valid'
        out.append(causes.forbidden("spec.providerID", detail))
    _taints(out, items(after, "taints"))
    return out


def limit_range(thing: JSON) -> Out:
    """Check a LimitRange."""
    out = Out()
    seen: set[str] = set()
    for index, limit in enumerate(items(part(thing, "spec"), "limits")):
        at, kind = f"spec.limits[{index}]", limit.get("type", "")
        format_check(out, f"{at}.type", kind, names.qualified_name)
        if "/" not in kind and kind not in _LIMIT_TYPES:
            detail = "must be a standard limit type or fully qualified"
            out.append(causes.invalid(f"{at}.type", kind, detail))
        if kind in seen:
            out.append(causes.duplicate(f"{at}.type", kind))
        seen.add(kind)
        _limit(out, at, limit, kind)
    return out


def _limit(out: Out, path: str, limit: JSON, kind: str) -> None:
    found: dict[str, dict[str, Quantity]] = {}
    for field in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
        amounts: dict[str, Quantity] = {}
        for name, text in part(limit, field).items():
            at = f"{path}.{field}[{name}]"
            if kind in ("Pod", "Container"):
                container_resource(out, at, name)
            else:
                format_check(out, at, name, names.qualified_name)
            quantity = amount(out, at, name, text)
            if quantity is not None:
                amounts[name] = quantity
        found[field] = amounts
    if kind == "Pod":
        for field in ("default", "defaultRequest"):
            if limit.get(field):
                detail = "may not be specified when `type` is 'Pod'"
                out.append(causes.forbidden(f"{path}.{field}", detail))
    if kind == "PersistentVolumeClaim" and not (
        "storage" in found["min"] or "storage" in found["max"]
    ):
        detail = "either minimum or maximum storage value is required, but neither was provided"
        out.append(causes.required(f"{path}.limits", detail))
    for low, high, at, words in _ORDER:
        for name in found[low].keys() & found[high].keys():
            least, most = found[low][name], found[high][name]
            if least > most:
                detail = f"{words[0]} value {least} is greater than {words[1]} value {most}"
                shown = found[at].get(name, least)
                out.append(causes.invalid(f"{path}.{at}[{name}]", str(shown), detail))
    _ratios(out, path, found)


_ORDER = (
    ("min", "max", "min", ("min", "max")),
    ("min", "defaultRequest", "defaultRequest", ("min", "default request")),
    ("defaultRequest", "max", "defaultRequest", ("default request", "max")),
    ("defaultRequest", "default", "defaultRequest", ("default request", "default limit")),
    ("min", "default", "default", ("min", "default")),
    ("default", "max", "default", ("default", "max")),
)


def _ratios(out: Out, path: str, found: dict[str, dict[str, Quantity]]) -> None:
    for name, ratio in found["maxLimitRequestRatio"].items():
        at = f"{path}.maxLimitRequestRatio[{name}]"
        if ratio.amount < 1:
            out.append(causes.invalid(at, str(ratio), f"ratio {ratio} is less than 1"))
        least, most = found["min"].get(name), found["max"].get(name)
        if least and most and ratio.amount > most.amount / least.amount:
            detail = (
                f"ratio {ratio} is greater than max/min = {float(most.amount / least.amount):f}"
            )
            out.append(causes.invalid(at, str(ratio), detail))
    for name in found["default"].keys() & found["defaultRequest"].keys():
        limit, request = found["default"][name], found["defaultRequest"][name]
        if limit != request and not may_overcommit(name):
            detail = f"default value {limit} must equal to defaultRequest value {request} in {name}"
            out.append(causes.invalid(f"{path}.defaultRequest[{name}]", str(request), detail))


def quota(thing: JSON) -> Out:
    """Check a ResourceQuota."""
    out = Out()
    spec = part(thing, "spec")
    _amounts(out, "spec.hard", part(spec, "hard"))
    scopes = items(spec, "scopes")
    for scope in scopes:
        if scope not in _SCOPES:
            out.append(causes.invalid("spec.scopes", scope, "unsupported scope"))
    for one, other in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if one in scopes and other in scopes:
            out.append(causes.invalid("spec.scopes", scopes, "conflicting scopes"))
    path = "spec.scopeSelector.matchExpressions"
    for expression in items(part(spec, "scopeSelector"), "matchExpressions"):
        name, operator = expression.get("scopeName", ""), expression.get("operator", "")
        values = items(expression, "values")
        if name not in _SCOPES:
            out.append(causes.invalid(f"{path}.scopeName", name, "unsupported scope"))
        if operator in ("In", "NotIn") and not values:
            detail = (
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            )
            out.append(causes.required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist") and values:
            detail = (
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            )
            out.append(causes.invalid(f"{path}.values", values, detail))
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            out.append(
                causes.invalid(f"{path}.operator", operator, "not a valid selector operator")
            )
    return out


def _amounts(out: Out, path: str, found: JSON) -> None:
    for name, text in found.items():
        quota_resource(out, f"{path}[{name}]", name)
        amount(out, f"{path}[{name}]", name, text)


def quota_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ResourceQuota; its scopes are immutable."""
    out = quota(new)
    after, before = (sorted(items(part(each, "spec"), "scopes")) for each in (new, old))
    immutable(out, "spec.scopes", after, before)
    return out


def quota_status(new: JSON, _old: JSON) -> Out:
    """Check the amounts in a ResourceQuota's status."""
    out = Out()
    for field in ("hard", "used"):
        _amounts(out, f"status.{field}", part(new, "status", field))
    return out


def priority_class(thing: JSON) -> Out:
    """Check a PriorityClass."""
    out = Out()
    name, value = part(thing, "metadata").get("name", ""), thing.get("value", 0)
    if name.startswith("system-"):
        if (name, value) not in (
            ("system-cluster-critical", 2_000_000_000),
            ("system-node-critical", 2_000_001_000),
        ):
            detail = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                "error: "
                + (
                    f"{name} is not a known system priority class"
                    if name not in ("system-cluster-critical", "system-node-critical")
                    else f"value of {name} PriorityClass must be fixed"
                )
            )
            out.append(causes.forbidden("metadata.name", detail))
    elif value > _HIGHEST_PRIORITY:
        detail = f"maximum allowed value of a user defined priority is {_HIGHEST_PRIORITY}"
        out.append(causes.forbidden("value", detail))
    if policy := thing.get("preemptionPolicy"):
        one_of(out, "preemptionPolicy", policy, ("PreemptLowerPriority", "Never"))
    return out


def priority_class_update(new: JSON, old: JSON) -> Out:
    """Check a change of a PriorityClass; its value is immutable."""
    out = Out()
    if new.get("value") != old.get("value"):
        out.append(causes.forbidden("value", "may not be changed in an update."))
    policy, was = new.get("preemptionPolicy"), old.get("preemptionPolicy")
    immutable(out, "preemptionPolicy", policy, was)
    return out


def runtime_class(thing: JSON) -> Out:
    """Check a RuntimeClass."""
    out = Out()
    format_check(out, "handler", thing.get("handler", ""), names.dns_label)
    for name, text in part(thing, "overhead", "podFixed").items():
        container_resource(out, f"overhead.podFixed[{name}]", name)
        amount(out, f"overhead.podFixed[{name}]", name, text)
    scheduling = part(thing, "scheduling")
    labels.labels(out, "scheduling.nodeSelector", scheduling.get("nodeSelector"))
    tolerations(out, "scheduling.tolerations", items(scheduling, "tolerations"))
    return out


def runtime_class_update(new: JSON, old: JSON) -> Out:
    """Check a change of a RuntimeClass; its handler is immutable."""
    out = runtime_class(new)
    immutable(out, "handler", new.get("handler"), old.get("handler"))
    return out


def lease(thing: JSON) -> Out:
    """Check a Lease."""
    out = Out()
    spec = part(thing, "spec")
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        out.append(causes.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        detail = "must be greater than or equal to 0"
        out.append(causes.invalid("spec.leaseTransitions", transitions, detail))
    strategy = spec.get("strategy")
    if strategy is not None:
        if "/" in strategy:
            format_check(out, "spec.strategy.strategy", strategy, names.qualified_name)
        elif strategy != "OldestEmulationVersion":
            supported = ("OldestEmulationVersion",)
            out.append(causes.unsupported("spec.strategy.strategy", strategy, supported))
    if spec.get("preferredHolder") and not strategy:
        detail = "may only be specified if `strategy` is defined"
        out.append(causes.forbidden("spec.preferredHolder", detail))
    return out


def event(thing: JSON) -> Out:
    """Check an Event as stored; one with an eventTime (events.k8s.io) may be about an object in another namespace."""
    out = Out()
    is_new = bool(thing.get("eventTime"))
    home = part(thing, "metadata").get("namespace", "")
    about = part(thing, "involvedObject").get("namespace", "")
    homes = [about] if about else ["default", "kube-system" if is_new else ""]
    if home not in homes and not (about and is_new):
        detail = "does not match event.namespace"
        out.append(causes.invalid("involvedObject.namespace", about, detail))
    if is_new:
        controller = thing.get("reportingComponent")
        required_format(out, "reportingComponent", controller, names.qualified_name)
        for name, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128)):
            value = thing.get(name, "")
            if not value:
                out.append(causes.required(name))
            elif len(value) > limit:
                detail = f"can have at most {limit} characters"
                out.append(causes.invalid(name, "", detail))
        if len(thing.get("message", "")) > 1024:
            out.append(causes.invalid("message", "", "can have at most 1024 characters"))
    return out
