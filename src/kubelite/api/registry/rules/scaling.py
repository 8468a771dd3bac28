"""Rules of HorizontalPodAutoscalers (in their storage version, v2) and PodDisruptionBudgets."""

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    items,
    nonnegative,
    one_of,
    part,
    required_format,
)
from kubelite.api.registry.rules.workloads import not_above_all, share

_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS = ("Utilization", "Value", "AverageValue")
_WINDOW_MAX, _PERIOD_MAX = 3600, 1800


def budget(thing: JSON) -> Out:
    """Check a PodDisruptionBudget."""
    out = Out()
    spec = part(thing, "spec")
    told = [each for each in ("minAvailable", "maxUnavailable") if spec.get(each) is not None]
    if len(told) > 1:
        detail = "minAvailable and maxUnavailable cannot be both set"
        out.append(causes.invalid("spec", spec, detail))
    for field in told:
        share(out, f"spec.{field}", spec[field])
        not_above_all(out, f"spec.{field}", spec[field])
    labels.selector(out, "spec.selector", spec.get("selector"))
    policy = spec.get("unhealthyPodEvictionPolicy")
    if policy is not None:
        supported = enums.EVICTION_POLICIES.enum
        one_of(out, "spec.unhealthyPodEvictionPolicy", policy, supported)
    return out


def budget_status(new: JSON, _old: JSON) -> Out:
    """Check the counts of a PodDisruptionBudget's status."""
    out = Out()
    counts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    nonnegative(out, part(new, "status"), "status", *counts)
    return out


def autoscaler(thing: JSON) -> Out:
    """Check a HorizontalPodAutoscaler."""
    out = Out()
    spec = part(thing, "spec")
    least, most = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if least is not None and least < 1:
        detail = "must be greater than or equal to 1"
        out.append(causes.invalid("spec.minReplicas", least, detail))
    if not most:
        out.append(causes.required("spec.maxReplicas", "must be set and greater than 0"))
    elif most < 0:
        detail = "must be greater than or equal to 1"
        out.append(causes.invalid("spec.maxReplicas", most, detail))
    if least is not None and most < least:
        detail = "must be greater than or equal to `minReplicas`"
        out.append(causes.invalid("spec.maxReplicas", most, detail))
    _reference(out, "spec.scaleTargetRef", part(spec, "scaleTargetRef"))
    for index, metric in enumerate(items(spec, "metrics")):
        _metric(out, f"spec.metrics[{index}]", metric)
    for direction in ("scaleUp", "scaleDown"):
        if (rules := part(spec, "behavior").get(direction)) is not None:
            _rules(out, f"spec.behavior.{direction}", rules)
    return out


def autoscaler_status(new: JSON, _old: JSON) -> Out:
    """Check the counts of a HorizontalPodAutoscaler's status."""
    out = Out()
    nonnegative(out, part(new, "status"), "status", "currentReplicas", "desiredReplicas")
    return out


def _reference(out: Out, path: str, reference: JSON) -> None:
    for field in ("kind", "name"):
        required_format(out, f"{path}.{field}", reference.get(field), names.path_segment)
    version = reference.get("apiVersion", "")
    if version.count("/") > 1:
        detail = f"unexpected GroupVersion string: {version}"
        out.append(causes.invalid(f"{path}.apiVersion", version, detail))


def _metric(out: Out, path: str, metric: JSON) -> None:
    kind = metric.get("type", "")
    if not kind:
        out.append(causes.required(f"{path}.type", "must specify a metric source type"))
    field = _SOURCES.get(kind)
    if field is None:
        out.append(causes.unsupported(f"{path}.type", kind, tuple(_SOURCES)))
        return
    for other in _SOURCES.values():
        if other != field and metric.get(other) is not None:
            detail = "must populate the given metric source only"
            out.append(causes.forbidden(f"{path}.{other}", detail))
    source = metric.get(field)
    if source is None:
        detail = "must populate information for the given metric source"
        out.append(causes.required(f"{path}.{field}", detail))
        return
    _source(out, f"{path}.{field}", kind, source)


def _source(out: Out, path: str, kind: str, source: JSON) -> None:
    target, at = part(source, "target"), f"{path}.target"
    if kind in ("Resource", "ContainerResource"):
        if not source.get("name"):
            out.append(causes.required(f"{path}.name", "must specify a resource name"))
        if kind == "ContainerResource" and not source.get("container"):
            out.append(causes.required(f"{path}.container", "must specify a container"))
    else:
        name = part(source, "metric").get("name")
        if not name:
            out.append(causes.required(f"{path}.metric.name", "must specify a metric name"))
        else:
            required_format(out, f"{path}.metric.name", name, names.path_segment)
    _target(out, at, target)
    _wanted(out, at, kind, target)
    if kind == "Object":
        _reference(out, f"{path}.describedObject", part(source, "describedObject"))


def _wanted(out: Out, path: str, kind: str, target: JSON) -> None:
    average, share_wanted = target.get("averageValue"), target.get("averageUtilization")
    if kind in ("Resource", "ContainerResource"):
        if share_wanted is None and average is None:
            detail = "must set either a target raw value or a target utilization"
            out.append(causes.required(f"{path}.averageUtilization", detail))
        elif share_wanted is not None and average is not None:
            detail = "may not set both a target raw value and a target utilization"
            out.append(causes.forbidden(f"{path}.averageValue", detail))
    elif kind == "Pods":
        if average is None:
            detail = "must specify a positive target averageValue"
            out.append(causes.required(f"{path}.averageValue", detail))
    elif target.get("value") is None and average is None:
        words = "a target value or averageValue"
        if kind == "External":
            words = "a target value for metric or a per-pod target"
        out.append(causes.required(f"{path}.averageValue", f"must set either {words}"))


def _target(out: Out, path: str, target: JSON) -> None:
    kind = target.get("type", "")
    if not kind:
        out.append(causes.required(f"{path}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        detail = "must be either Utilization, Value, or AverageValue"
        out.append(causes.invalid(f"{path}.type", kind, detail))
    for field in ("value", "averageValue"):
        text = target.get(field)
        if text is None:
            continue
        try:
            if parse_quantity(text).amount <= 0:
                out.append(causes.invalid(f"{path}.{field}", text, "must be positive"))
        except ValueError as error:
            out.append(causes.invalid(f"{path}.{field}", text, str(error)))
    share_wanted = target.get("averageUtilization")
    if share_wanted is not None and share_wanted < 1:
        detail = "must be greater than 0"
        out.append(causes.invalid(f"{path}.averageUtilization", share_wanted, detail))


def _nonnegative_quantity(out: Out, path: str, text: str) -> None:
    try:
        if parse_quantity(text).amount < 0:
            detail = "must be greater than or equal to 0"
            out.append(causes.invalid(path, text, detail))
    except ValueError as error:
        out.append(causes.invalid(path, text, str(error)))


def _rules(out: Out, path: str, rules: JSON) -> None:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        detail = "must be greater than or equal to zero"
        out.append(causes.invalid(f"{path}.stabilizationWindowSeconds", window, detail))
    if window is not None and window > _WINDOW_MAX:
        detail = f"must be less than or equal to {_WINDOW_MAX}"
        out.append(causes.invalid(f"{path}.stabilizationWindowSeconds", window, detail))
    if (tolerance := rules.get("tolerance")) is not None:
        _nonnegative_quantity(out, f"{path}.tolerance", tolerance)
    select = rules.get("selectPolicy")
    if select is not None:
        one_of(out, f"{path}.selectPolicy", select, ("Disabled", "Max", "Min"))
    policies = items(rules, "policies")
    if not policies:
        out.append(causes.required(f"{path}.policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        at = f"{path}.policies[{index}]"
        kind = policy.get("type", "")
        if kind not in ("Percent", "Pods"):
            out.append(causes.unsupported(f"{at}.type", kind, ("Percent", "Pods")))
        for field in ("value", "periodSeconds"):
            if (number := policy.get(field, 0)) <= 0:
                out.append(causes.invalid(f"{at}.{field}", number, "must be greater than zero"))
        if policy.get("periodSeconds", 0) > _PERIOD_MAX:
            detail = f"must be less than or equal to {_PERIOD_MAX}"
            out.append(causes.invalid(f"{at}.periodSeconds", policy["periodSeconds"], detail))
