"""Rules of Jobs and CronJobs."""

from kubelite.api.errors import BadRequest
from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.cron import InvalidCron, parse_cron
from kubelite.api.machinery.selectors import label_selector
from kubelite.api.machinery.times import time_zone
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.metadata import annotations
from kubelite.api.registry.rules.pods import pod_template
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    nonnegative,
    one_of,
    part,
)
from kubelite.api.registry.rules.workloads import NO_MATCH

_NAME_MAX = 52  # a Job's name adds a dash and ten digits and must still be a label
_RULES_MAX, _PATTERNS_MAX, _EXIT_CODES_MAX = 20, 20, 255
_SUCCESS_RULES_MAX = 20
_INDEXED_LIMIT = 100_000
_ACTIONS = enums.POD_FAILURE_ACTIONS.enum
_FIXED = (
    "completionMode",
    "podFailurePolicy",
    "backoffLimitPerIndex",
    "managedBy",
    "successPolicy",
)
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def job(thing: JSON) -> Out:
    """Check a Job; its selector is generated before."""
    out = Out()
    spec = part(thing, "spec")
    job_spec(out, "spec", spec)
    _selector(out, spec)
    completions = spec.get("completions") or 0
    if spec.get("completionMode") == "Indexed" and completions > 0:
        name = part(thing, "metadata").get("name", "")
        host = f"{name}-{completions - 1}"
        if names.dns_label(host):
            detail = f"will not able to create pod with invalid DNS label: {host}"
            out.append(causes.invalid("metadata.name", name, detail))
    return out


def _selector(out: Out, spec: JSON) -> None:
    selector = spec.get("selector")
    if selector is None:
        out.append(causes.required("spec.selector"))
        return
    before = len(out)
    labels.selector(out, "spec.selector", selector)
    found = part(spec, "template", "metadata").get("labels")
    try:
        if len(out) == before and not label_selector(selector).matches(found):
            out.append(causes.invalid("spec.template.metadata.labels", found, NO_MATCH))
    except BadRequest:
        out.append(causes.invalid("spec.selector", selector, "invalid label selector"))


def job_spec(out: Out, path: str, spec: JSON) -> None:
    """Check a JobSpec, of a Job or of a CronJob's template."""
    nonnegative(
        out,
        spec,
        path,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    )
    if managed := spec.get("managedBy"):
        format_check(out, f"{path}.managedBy", managed, names.domain_prefixed_path)
        if len(managed) > 63:
            out.append(causes.too_long(f"{path}.managedBy", 63))
    _completion(out, path, spec)
    if (policy := spec.get("podFailurePolicy")) is not None:
        _failure_policy(out, f"{path}.podFailurePolicy", policy, spec)
    if (success := spec.get("successPolicy")) is not None:
        _success_policy(out, f"{path}.successPolicy", success, spec)
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        allowed = ("Failed",) if policy is not None else enums.POD_REPLACEMENT_POLICIES.enum
        if replacement not in allowed:
            out.append(causes.unsupported(f"{path}.podReplacementPolicy", replacement, allowed))
    pod_template(out, f"{path}.template", part(spec, "template"))
    _restart_policy(out, f"{path}.template.spec.restartPolicy", spec)


def _restart_policy(out: Out, path: str, spec: JSON) -> None:
    restart = part(spec, "template", "spec").get("restartPolicy", "")
    if restart in ("", "Always"):
        out.append(causes.required(path, 'valid values: "OnFailure", "Never"'))
    elif restart not in ("OnFailure", "Never"):
        out.append(causes.unsupported(path, restart, ("OnFailure", "Never")))
    elif spec.get("podFailurePolicy") is not None and restart != "Never":
        detail = 'only "Never" is supported when podFailurePolicy is specified'
        out.append(causes.invalid(path, restart, detail))


def _completion(out: Out, path: str, spec: JSON) -> None:
    mode, completions = spec.get("completionMode"), spec.get("completions")
    per_index, failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if mode is not None:
        one_of(out, f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if failed is not None and per_index is None:
        detail = "when maxFailedIndexes is specified"
        out.append(causes.required(f"{path}.backoffLimitPerIndex", detail))
    if mode != "Indexed":
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if (value := spec.get(field)) is not None:
                detail = "requires indexed completion mode"
                out.append(causes.invalid(f"{path}.{field}", value, detail))
        return
    if completions is None:
        out.append(causes.required(f"{path}.completions", "when completion mode is Indexed"))
    parallelism = spec.get("parallelism")
    if parallelism is not None and parallelism > _INDEXED_LIMIT:
        detail = f"must be less than or equal to {_INDEXED_LIMIT} when completion mode is Indexed"
        out.append(causes.invalid(f"{path}.parallelism", parallelism, detail))
    if failed is not None:
        if completions is not None and failed > completions:
            detail = "must be less than or equal to completions"
            out.append(causes.invalid(f"{path}.maxFailedIndexes", failed, detail))
        if failed > _INDEXED_LIMIT:
            detail = f"must be less than or equal to {_INDEXED_LIMIT}"
            out.append(causes.invalid(f"{path}.maxFailedIndexes", failed, detail))


def _failure_policy(out: Out, path: str, policy: JSON, spec: JSON) -> None:
    rules, pod = items(policy, "rules"), part(spec, "template", "spec")
    if len(rules) > _RULES_MAX:
        out.append(causes.too_many(f"{path}.rules", len(rules), _RULES_MAX))
    known = {
        container.get("name")
        for field in ("containers", "initContainers")
        for container in items(pod, field)
    }
    for index, rule in enumerate(rules):
        at, action = f"{path}.rules[{index}]", rule.get("action", "")
        if not action:
            listed = " ".join(causes.quoted(each) for each in _ACTIONS)
            out.append(causes.required(f"{at}.action", f"valid values: [{listed}]"))
        elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            detail = "requires the backoffLimitPerIndex to be set"
            out.append(causes.invalid(f"{at}.action", action, detail))
        elif action not in _ACTIONS:
            out.append(causes.unsupported(f"{at}.action", action, _ACTIONS))
        codes, conditions = rule.get("onExitCodes"), items(rule, "onPodConditions")
        if codes is not None:
            _exit_codes(out, f"{at}.onExitCodes", codes, known)
        _pod_conditions(out, f"{at}.onPodConditions", conditions)
        if (codes is not None) == bool(conditions):
            which = "both OnExitCodes and OnPodConditions is not supported"
            if codes is None:
                which = "one of OnExitCodes and OnPodConditions is required"
            cause = causes.invalid(at, None)
            detail = f"Invalid value: specifying {which}"
            out.append(type(cause)(at, cause.reason, detail))


def _exit_codes(out: Out, path: str, codes: JSON, known: set[str | None]) -> None:
    operator, values = codes.get("operator", ""), items(codes, "values")
    if not operator:
        out.append(causes.required(f"{path}.operator", 'valid values: ["In" "NotIn"]'))
    elif operator not in ("In", "NotIn"):
        out.append(causes.unsupported(f"{path}.operator", operator, ("In", "NotIn")))
    name = codes.get("containerName")
    if name is not None and name not in known:
        detail = "must be one of the container or initContainer names in the pod template"
        out.append(causes.invalid(f"{path}.containerName", name, detail))
    at = f"{path}.values"
    if not values:
        out.append(causes.invalid(at, values, "at least one value is required"))
    elif len(values) > _EXIT_CODES_MAX:
        out.append(causes.too_many(at, len(values), _EXIT_CODES_MAX))
    seen: set[int] = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            detail = "must not be 0 for the In operator"
            out.append(causes.invalid(f"{at}[{index}]", value, detail))
        if value in seen:
            out.append(causes.duplicate(f"{at}[{index}]", value))
        seen.add(value)
    if values != sorted(values):
        out.append(causes.invalid(at, values, "must be ordered"))


def _pod_conditions(out: Out, path: str, found: list[JSON]) -> None:
    if len(found) > _PATTERNS_MAX:
        out.append(causes.too_many(path, len(found), _PATTERNS_MAX))
    for index, pattern in enumerate(found):
        at = f"{path}[{index}]"
        format_check(out, f"{at}.type", pattern.get("type", ""), names.qualified_name)
        status = pattern.get("status", "")
        if not status:
            detail = 'valid values: ["False" "True" "Unknown"]'
            out.append(causes.required(f"{at}.status", detail))
        else:
            one_of(out, f"{at}.status", status, ("False", "True", "Unknown"))


def _success_policy(out: Out, path: str, policy: JSON, spec: JSON) -> None:
    if spec.get("completionMode") != "Indexed":
        out.append(causes.invalid(path, policy, "requires indexed completion mode"))
        return
    rules = items(policy, "rules")
    if not rules:
        detail = "at least one rules must be specified when the successPolicy is specified"
        out.append(causes.required(f"{path}.rules", detail))
    if len(rules) > _SUCCESS_RULES_MAX:
        out.append(causes.too_many(f"{path}.rules", len(rules), _SUCCESS_RULES_MAX))
    for index, rule in enumerate(rules):
        at, count = f"{path}.rules[{index}]", rule.get("succeededCount")
        if rule.get("succeededIndexes") is None and count is None:
            detail = "at least one of succeededCount or succeededIndexes must be specified"
            out.append(causes.required(at, detail))
        if count is not None and count <= 0:
            detail = "must be greater than zero"
            out.append(causes.invalid(f"{at}.succeededCount", count, detail))
        elif count is not None and count > (spec.get("completions") or 0):
            detail = f"must be less than or equal to {spec.get('completions')} (the number of specified completions)"
            out.append(causes.invalid(f"{at}.succeededCount", count, detail))


def job_update(new: JSON, old: JSON) -> Out:
    """Check a change of a Job, most of whose spec is immutable."""
    out = Out()
    after, before = part(new, "spec"), part(old, "spec")
    job_spec(out, "spec", after)
    _selector(out, after)
    elastic = (
        after.get("completionMode") == "Indexed"
        and after.get("completions") == after.get("parallelism")
        and before.get("completions") is not None
    )
    if not elastic:
        immutable(out, "spec.completions", after.get("completions"), before.get("completions"))
    immutable(out, "spec.selector", after.get("selector"), before.get("selector"))
    _template_update(out, new, old)
    for field in _FIXED:
        immutable(out, f"spec.{field}", after.get(field), before.get(field))
    return out


def _template_update(out: Out, new: JSON, old: JSON) -> None:
    after, before = part(new, "spec"), part(old, "spec")
    template, was = part(after, "template"), part(before, "template")
    never_started = not part(old, "status").get("startTime")
    if before.get("suspend") and never_started:
        pod = {**part(was, "spec")}
        for field in _SCHEDULING:
            pod.pop(field, None)
            if field in part(template, "spec"):
                pod[field] = part(template, "spec")[field]
        was = {**was, "spec": pod, "metadata": template.get("metadata")}
        template = {**template, "metadata": template.get("metadata")}
    immutable(out, "spec.template", template, was)


def job_status(new: JSON, old: JSON) -> Out:
    """Check that the counters of a Job's status only grow and that its completion time does not change."""
    out = Out()
    status, before = part(new, "status"), part(old, "status")
    nonnegative(out, status, "status", "active", "succeeded", "failed", "ready", "terminating")
    for field in ("failed", "succeeded"):
        if status.get(field, 0) < before.get(field, 0):
            detail = f"cannot decrease the {field} counter"
            out.append(causes.invalid(f"status.{field}", status.get(field, 0), detail))
    ended = before.get("completionTime")
    if ended and status.get("completionTime") and status["completionTime"] != ended:
        at = "status.completionTime"
        out.append(causes.invalid(at, status["completionTime"], causes.IMMUTABLE))
    return out


def cron_job(thing: JSON) -> Out:
    """Check a CronJob that is to be created."""
    out = Out()
    _cron_spec(out, part(thing, "spec"))
    name = part(thing, "metadata").get("name", "")
    if len(name) > _NAME_MAX:
        detail = f"must be no more than {_NAME_MAX} characters"
        out.append(causes.invalid("metadata.name", name, detail))
    return out


def cron_job_update(new: JSON, _old: JSON) -> Out:
    """Check a change of a CronJob."""
    out = Out()
    _cron_spec(out, part(new, "spec"))
    return out


def _cron_spec(out: Out, spec: JSON) -> None:
    schedule, zone = spec.get("schedule", ""), spec.get("timeZone")
    if not schedule:
        out.append(causes.required("spec.schedule"))
    elif "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        if zone is not None:
            detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        out.append(causes.invalid("spec.schedule", schedule, detail))
    elif wrong := schedule_error(schedule):
        out.append(causes.invalid("spec.schedule", schedule, wrong))
    if zone is not None:
        _zone(out, zone)
    fields = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    nonnegative(out, spec, "spec", *fields)
    one_of(
        out,
        "spec.concurrencyPolicy",
        spec.get("concurrencyPolicy"),
        enums.CONCURRENCY_POLICIES.enum,
    )
    template, path = part(spec, "jobTemplate"), "spec.jobTemplate"
    meta, wanted = part(template, "metadata"), part(template, "spec")
    labels.labels(out, f"{path}.metadata.labels", meta.get("labels"))
    annotations(out, f"{path}.metadata.annotations", meta.get("annotations"))
    job_spec(out, f"{path}.spec", wanted)
    if wanted.get("selector") is not None:
        detail = "`selector` will be auto-generated"
        out.append(causes.invalid(f"{path}.spec.selector", wanted["selector"], detail))
    if wanted.get("manualSelector"):
        at = f"{path}.spec.manualSelector"
        out.append(causes.unsupported(at, True, ("nil", "false")))


def _zone(out: Out, zone: str) -> None:
    path = "spec.timeZone"
    if not zone:
        out.append(causes.invalid(path, zone, "timeZone must be nil or non-empty string"))
        return
    if zone.lower() == "local":
        detail = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        out.append(causes.invalid(path, zone, detail))
        return
    try:
        time_zone(zone)
    except ValueError:
        out.append(causes.invalid(path, zone, f"unknown time zone {zone}"))


def schedule_error(schedule: str) -> str:
    """Return why a cron expression is invalid; "": it is valid."""
    try:
        parse_cron(schedule)
    except InvalidCron as error:
        return str(error)
    return ""
