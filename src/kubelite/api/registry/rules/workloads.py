"""Rules of workloads: Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController."""

from typing import Any

from kubelite.api.errors import BadRequest
from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.intstr import percent_of
from kubelite.api.machinery.selectors import label_selector, labels_selector
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.pods import pod_template
from kubelite.api.registry.rules.storage import claim_spec
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    nonnegative,
    part,
)

TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"  # an annotation
NO_MATCH = "`selector` does not match template `labels`"
_ABOVE_ALL = "must not be greater than 100%"
_STATEFUL_UPDATABLE = frozenset(
    (
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    )
)
_STATEFUL_REFUSAL = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
    "'minReadySeconds' are forbidden"
)


def selector_and_template(out: Out, spec: JSON, kind: str) -> None:
    """Require a selector that matches the labels of the template."""
    selector = spec.get("selector")
    if selector is None:
        out.append(causes.required("spec.selector"))
    else:
        before = len(out)
        labels.selector(out, "spec.selector", selector)
        if labels.is_empty_selector(selector):
            detail = f"empty selector is invalid for {kind}"
            out.append(causes.invalid("spec.selector", selector, detail))
        elif len(out) == before:
            _matches(out, selector, spec)
    pod_template(out, "spec.template", part(spec, "template"))


def _matches(out: Out, selector: JSON, spec: JSON) -> None:
    found = part(spec, "template", "metadata").get("labels")
    try:
        matches = label_selector(selector).matches(found)
    except BadRequest:
        out.append(causes.invalid("spec.selector", selector, "invalid label selector"))
        return
    if not matches:
        out.append(causes.invalid("spec.template.metadata.labels", found, NO_MATCH))


def always_restarts(out: Out, spec: JSON, kind: str) -> None:
    """Require the restart policy Always, and no active deadline."""
    pod = part(spec, "template", "spec")
    policy = pod.get("restartPolicy")
    if policy != "Always":
        at = "spec.template.spec.restartPolicy"
        out.append(causes.unsupported(at, policy or "", ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        out.append(causes.forbidden("spec.template.spec.activeDeadlineSeconds", detail))


def share(out: Out, path: str, value: Any) -> int:
    """Check a number or percentage; return its number, for a comparison with zero."""
    if isinstance(value, str):
        if wrong := names.percent(value):
            out.extend(causes.invalid(path, value, each) for each in wrong)
            return 0
        return percent_of(value)
    number: int = value or 0
    if number < 0:
        detail = "must be greater than or equal to 0"
        out.append(causes.invalid(path, number, detail))
    return number


def not_above_all(out: Out, path: str, value: Any) -> None:
    """Reject more than 100 %."""
    if isinstance(value, str) and not names.percent(value) and percent_of(value) > 100:
        out.append(causes.invalid(path, value, _ABOVE_ALL))


def deployment(thing: JSON) -> Out:
    """Check a Deployment."""
    out = Out()
    spec = part(thing, "spec")
    nonnegative(
        out,
        spec,
        "spec",
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    )
    selector_and_template(out, spec, "deployment")
    always_restarts(out, spec, "ReplicaSet")
    _deployment_strategy(out, part(spec, "strategy"))
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if deadline is not None and deadline <= ready:
        detail = "must be greater than minReadySeconds"
        out.append(causes.invalid("spec.progressDeadlineSeconds", deadline, detail))
    return out


def _deployment_strategy(out: Out, strategy: JSON) -> None:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    path = "spec.strategy"
    if kind == "Recreate":
        if rolling is not None:
            detail = "may not be specified when strategy `type` is 'Recreate'"
            out.append(causes.forbidden(f"{path}.rollingUpdate", detail))
    elif kind == "RollingUpdate":
        if rolling is None:
            detail = "this should be defaulted and never be nil"
            out.append(causes.required(f"{path}.rollingUpdate", detail))
            return
        at = f"{path}.rollingUpdate"
        down = share(out, f"{at}.maxUnavailable", rolling.get("maxUnavailable"))
        surge = share(out, f"{at}.maxSurge", rolling.get("maxSurge"))
        if not down and not surge:
            detail = "may not be 0 when `maxSurge` is 0"
            value = rolling.get("maxUnavailable", 0)
            out.append(causes.invalid(f"{at}.maxUnavailable", value, detail))
        not_above_all(out, f"{at}.maxUnavailable", rolling.get("maxUnavailable"))
    else:
        out.append(causes.unsupported(path, strategy, enums.DEPLOYMENT_STRATEGIES.enum))


def immutable_selector(new: JSON, old: JSON) -> Out:
    """Reject a change of the selector, which is immutable."""
    out = Out()
    immutable(
        out, "spec.selector", part(new, "spec").get("selector"), part(old, "spec").get("selector")
    )
    return out


def deployment_update(new: JSON, old: JSON) -> Out:
    """Check a change of a Deployment."""
    return deployment(new) + immutable_selector(new, old)


def deployment_status(new: JSON, _old: JSON) -> Out:
    """Check the counts of a Deployment's status."""
    out = Out()
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    more = ("unavailableReplicas", "observedGeneration", "collisionCount")
    status = part(new, "status")
    nonnegative(out, status, "status", *counts, *more)
    _within(out, status, "replicas", *counts[1:])
    _within(out, status, "readyReplicas", "availableReplicas")
    return out


def _within(out: Out, status: JSON, whole: str, *parts: str) -> None:
    limit = status.get(whole, 0)
    for name in parts:
        if (count := status.get(name, 0)) > limit:
            detail = f"cannot be greater than status.{whole}"
            out.append(causes.invalid(f"status.{name}", count, detail))


def replica_set(thing: JSON) -> Out:
    """Check a ReplicaSet."""
    out = Out()
    spec = part(thing, "spec")
    nonnegative(out, spec, "spec", "replicas", "minReadySeconds")
    selector_and_template(out, spec, "replicaset")
    always_restarts(out, spec, "ReplicaSet")
    return out


def replica_set_update(new: JSON, old: JSON) -> Out:
    """Check a change of a ReplicaSet."""
    return replica_set(new) + immutable_selector(new, old)


def replica_set_status(new: JSON, _old: JSON) -> Out:
    """Check the counts of a ReplicaSet's or ReplicationController's status."""
    out = Out()
    counts = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    status = part(new, "status")
    nonnegative(out, status, "status", *counts, "observedGeneration")
    _within(out, status, "replicas", *counts[1:])
    _within(out, status, "readyReplicas", "availableReplicas")
    return out


def replication_controller(thing: JSON) -> Out:
    """Check a ReplicationController."""
    out = Out()
    spec = part(thing, "spec")
    nonnegative(out, spec, "spec", "replicas", "minReadySeconds")
    selector, template = spec.get("selector"), spec.get("template")
    if not selector:
        out.append(causes.required("spec.selector"))
    if template is None:
        out.append(causes.required("spec.template"))
        return out
    found = part(template, "metadata").get("labels")
    if selector and not labels_selector(selector).matches(found):
        out.append(causes.invalid("spec.template.metadata.labels", found, NO_MATCH))
    pod_template(out, "spec.template", template)
    always_restarts(out, spec, "ReplicationController")
    return out


def stateful_set(thing: JSON) -> Out:
    """Check a StatefulSet."""
    out = Out()
    spec = part(thing, "spec")
    for index, claim in enumerate(items(spec, "volumeClaimTemplates")):
        claim_spec(out, f"spec.volumeClaimTemplates[{index}].spec", part(claim, "spec"))
    if service := spec.get("serviceName"):
        format_check(out, "spec.serviceName", service, names.dns_label)
    _stateful_spec(out, spec)
    return out


def _stateful_spec(out: Out, spec: JSON) -> None:
    policy = spec.get("podManagementPolicy", "")
    if not policy:
        out.append(causes.required("spec.podManagementPolicy"))
    elif policy not in enums.POD_MANAGEMENT_POLICIES.enum:
        detail = "must be 'OrderedReady' or 'Parallel'"
        out.append(causes.invalid("spec.podManagementPolicy", policy, detail))
    _stateful_strategy(out, part(spec, "updateStrategy"))
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    if retention is not None:
        for field in ("whenDeleted", "whenScaled"):
            if (value := retention.get(field, "")) not in ("Retain", "Delete"):
                at = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
                out.append(causes.unsupported(at, value, ("Retain", "Delete")))
    nonnegative(out, spec, "spec", "replicas", "minReadySeconds")
    nonnegative(out, part(spec, "ordinals"), "spec.ordinals", "start")
    selector_and_template(out, _with_claims(spec), "statefulset")
    always_restarts(out, spec, "StatefulSet")


def _with_claims(spec: JSON) -> JSON:
    """Return the spec with a volume in its template for each claim template, as its pods will have."""
    templates = items(spec, "volumeClaimTemplates")
    if not templates:
        return spec
    made = {each.get("metadata", {}).get("name", "") for each in templates}
    template, pod = part(spec, "template"), part(spec, "template", "spec")
    volumes = [
        *({"name": name, "persistentVolumeClaim": {"claimName": name}} for name in sorted(made)),
        *(volume for volume in items(pod, "volumes") if volume.get("name") not in made),
    ]
    return {**spec, "template": {**template, "spec": {**pod, "volumes": volumes}}}


def _stateful_strategy(out: Out, strategy: JSON) -> None:
    kind, rolling, path = (
        strategy.get("type", ""),
        strategy.get("rollingUpdate"),
        "spec.updateStrategy",
    )
    if not kind:
        out.append(causes.required(path))
    elif kind == "OnDelete":
        if rolling is not None:
            detail = "only allowed for updateStrategy 'RollingUpdate'"
            out.append(causes.invalid(f"{path}.rollingUpdate", rolling, detail))
    elif kind != "RollingUpdate":
        out.append(causes.invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'"))
    elif rolling is not None:
        nonnegative(out, rolling, f"{path}.rollingUpdate", "partition")
        down = rolling.get("maxUnavailable")
        if down is not None:
            at = f"{path}.rollingUpdate.maxUnavailable"
            if not share(out, at, down):
                out.append(causes.invalid(at, down, "cannot be 0"))
            not_above_all(out, at, down)


def stateful_set_update(new: JSON, old: JSON) -> Out:
    """Check a change of a StatefulSet, most of whose spec is immutable."""
    out = Out()
    after, before = part(new, "spec"), part(old, "spec")
    _stateful_spec(out, after)
    for field in after.keys() | before.keys():
        value, was = after.get(field), before.get(field)
        if field not in _STATEFUL_UPDATABLE and value != was and (value or was):
            out.append(causes.forbidden("spec", _STATEFUL_REFUSAL))
            break
    return out


def stateful_set_status(new: JSON, old: JSON) -> Out:
    """Check the counts of a StatefulSet's status."""
    out = Out()
    counts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    status, before = part(new, "status"), part(old, "status")
    nonnegative(out, status, "status", "replicas", *counts, "observedGeneration", "collisionCount")
    _within(out, status, "replicas", *counts)
    _within(out, status, "readyReplicas", "availableReplicas")
    collisions = status.get("collisionCount") or 0
    if collisions < (before.get("collisionCount") or 0):
        out.append(causes.invalid("status.collisionCount", collisions, "cannot be decremented"))
    return out


def daemon_set(thing: JSON) -> Out:
    """Check a DaemonSet."""
    out = Out()
    spec = part(thing, "spec")
    nonnegative(out, spec, "spec", "minReadySeconds", "revisionHistoryLimit")
    selector_and_template(out, spec, "daemonset")
    always_restarts(out, spec, "DaemonSet")
    strategy, path = part(spec, "updateStrategy"), "spec.updateStrategy"
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "RollingUpdate":
        if rolling is None:
            out.append(causes.required(f"{path}.rollingUpdate"))
        else:
            _daemon_rolling(out, f"{path}.rollingUpdate", rolling)
    elif kind != "OnDelete":
        out.append(causes.unsupported(path, strategy, ("RollingUpdate", "OnDelete")))
    return out


def _daemon_rolling(out: Out, path: str, rolling: JSON) -> None:
    down = share(out, f"{path}.maxUnavailable", rolling.get("maxUnavailable"))
    surge = share(out, f"{path}.maxSurge", rolling.get("maxSurge"))
    for field in ("maxUnavailable", "maxSurge"):
        not_above_all(out, f"{path}.{field}", rolling.get(field))
    if down and surge:
        detail = "may not be set when maxUnavailable is non-zero"
        out.append(causes.invalid(f"{path}.maxSurge", rolling.get("maxSurge"), detail))
    elif not down and not surge:
        detail = "cannot be 0 when maxSurge is 0"
        out.append(causes.required(f"{path}.maxUnavailable", detail))


def daemon_set_update(new: JSON, old: JSON) -> Out:
    """Check a change of a DaemonSet."""
    return daemon_set(new) + immutable_selector(new, old)


def daemon_set_status(new: JSON, _old: JSON) -> Out:
    """Check the counts of a DaemonSet's status."""
    out = Out()
    nonnegative(
        out,
        part(new, "status"),
        "status",
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    )
    return out


def controller_revision(thing: JSON) -> Out:
    """Check a ControllerRevision."""
    out = Out()
    if (thing.get("revision") or 0) < 0:
        detail = "must be greater than or equal to 0"
        out.append(causes.invalid("revision", thing["revision"], detail))
    if thing.get("data") is None:
        out.append(causes.required("data", "data is mandatory"))
    elif not isinstance(thing["data"], dict):
        out.append(causes.required("data", "data must be a valid JSON object"))
    return out


def controller_revision_update(new: JSON, old: JSON) -> Out:
    """Reject a change of the data, which is immutable."""
    out = controller_revision(new)
    immutable(out, "data", new.get("data"), old.get("data"))
    return out


def stored_template(thing: JSON) -> Out:
    """Check a PodTemplate."""
    out = Out()
    pod_template(out, "template", part(thing, "template"))
    return out


def scale(thing: JSON) -> Out:
    """Check a Scale."""
    out = Out()
    nonnegative(out, part(thing, "spec"), "spec", "replicas")
    return out
