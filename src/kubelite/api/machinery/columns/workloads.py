"""Columns of workloads, autoscalers and disruption budgets."""

from datetime import datetime
from typing import Any

from kubelite.api.machinery.columns.layout import (
    JSON,
    NONE,
    UNKNOWN,
    UNSET,
    Cells,
    Layout,
    age_of,
    columns,
    condition_is_true,
    containers,
    format_labels,
    format_selector,
    items,
    name_of,
    part,
)
from kubelite.api.machinery.times import age, human_duration, parse_time

_WIDE = " | Containers+ | Images+ | Selector+"


def _replicas(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    selector = spec.get("selector")
    is_controller = thing.get("kind") == "ReplicationController"
    return [
        name_of(thing),
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(thing, now),
        *containers(part(spec, "template", "spec")),
        format_labels(selector) if is_controller else format_selector(selector),
    ]


def _deployment(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    return [
        name_of(thing),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(thing, now),
        *containers(part(spec, "template", "spec")),
        format_selector(spec.get("selector")),
    ]


def _stateful_set(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    return [
        name_of(thing),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        age_of(thing, now),
        *containers(part(spec, "template", "spec")),
    ]


def _daemon_set(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    pod = part(spec, "template", "spec")
    return [
        name_of(thing),
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        format_labels(pod.get("nodeSelector")),
        age_of(thing, now),
        *containers(pod),
        format_selector(spec.get("selector")),
    ]


def _revision(thing: JSON, now: datetime) -> Cells:
    owner = NONE
    for reference in items(part(thing, "metadata"), "ownerReferences"):
        if reference.get("controller"):
            group = reference.get("apiVersion", "").rpartition("/")[0]
            kind = f"{reference.get('kind', '')}.{group}" if group else reference.get("kind", "")
            owner = f"{kind.lower()}/{reference.get('name', '')}"
    return [name_of(thing), owner, thing.get("revision", 0), age_of(thing, now)]


_JOB_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job_status(thing: JSON) -> str:
    status = part(thing, "status")
    for condition in ("Complete", "Failed"):
        if condition_is_true(status, condition):
            return condition
    if part(thing, "metadata").get("deletionTimestamp"):
        return "Terminating"
    return next((each for each in _JOB_STATES if condition_is_true(status, each)), "Running")


def _job(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    done, wanted = status.get("succeeded", 0), spec.get("completions")
    parallel = spec.get("parallelism", 0)
    completions = f"{done}/{wanted if wanted is not None else 1}"
    if wanted is None and parallel > 1:
        completions += f" of {parallel}"
    started, ended = status.get("startTime"), status.get("completionTime")
    took = ""
    if started:
        end = parse_time(ended) if ended else now
        took = human_duration((end - parse_time(started)).total_seconds())
    return [
        name_of(thing),
        _job_status(thing),
        completions,
        took,
        age_of(thing, now),
        *containers(part(spec, "template", "spec")),
        format_selector(spec.get("selector")),
    ]


def _cron_job(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    last, job = status.get("lastScheduleTime"), part(spec, "jobTemplate", "spec")
    suspend = spec.get("suspend")
    return [
        name_of(thing),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        UNSET if suspend is None else str(bool(suspend)),
        len(items(status, "active")),
        age(last, now) if last else NONE,
        age_of(thing, now),
        *containers(part(job, "template", "spec")),
        format_selector(job.get("selector")),
    ]


def _budget(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    return [
        name_of(thing),
        str(spec.get("minAvailable", "N/A")),
        str(spec.get("maxUnavailable", "N/A")),
        part(thing, "status").get("disruptionsAllowed", 0),
        age_of(thing, now),
    ]


_METRIC_SOURCES = {
    "External": "external",
    "Pods": "pods",
    "Object": "object",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def _metric(spec: JSON, status: JSON) -> str:
    kind = spec.get("type", "")
    field = _METRIC_SOURCES.get(kind)
    if field is None:
        return "<unknown type>"
    source = part(spec, field)
    target, current = part(source, "target"), part(status, field, "current")
    average = target.get("averageValue")
    if kind in ("Resource", "ContainerResource"):
        prefix = f"{source.get('name', '')}: "
        if average is not None:
            return f"{prefix}{current.get('averageValue', UNKNOWN)}/{average}"
        share, wanted = current.get("averageUtilization"), target.get("averageUtilization")
        shown = UNKNOWN if share is None else f"{share}%"
        return f"{prefix}{shown}/{'<auto>' if wanted is None else f'{wanted}%'}"
    if kind == "Pods":
        return f"{current.get('averageValue', UNKNOWN)}/{average or '0'}"
    if average is not None:
        return f"{current.get('averageValue', UNKNOWN)}/{average} (avg)"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', '0')}"


def _targets(spec: JSON, status: JSON) -> str:
    metrics: list[Any] = items(spec, "metrics")
    if not metrics and (share := spec.get("targetCPUUtilizationPercentage")) is not None:
        current = status.get("currentCPUUtilizationPercentage")
        return f"cpu: {UNKNOWN if current is None else f'{current}%'}/{share}%"
    if not metrics:
        return NONE
    seen = items(status, "currentMetrics")
    shown = [
        _metric(metric, seen[index] if index < len(seen) else {})
        for index, metric in enumerate(metrics)
    ]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _autoscaler(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    reference, least = part(spec, "scaleTargetRef"), spec.get("minReplicas")
    return [
        name_of(thing),
        f"{reference.get('kind', '')}/{reference.get('name', '')}",
        _targets(spec, status),
        UNSET if least is None else str(least),
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        age_of(thing, now),
    ]


def _scale(thing: JSON, now: datetime) -> Cells:
    wanted, there = part(thing, "spec"), part(thing, "status")
    return [name_of(thing), wanted.get("replicas", 0), there.get("replicas", 0), age_of(thing, now)]


_COUNTED = "Name | Desired:integer | Current:integer | Ready:integer | Age" + _WIDE

REPLICATION_CONTROLLER = Layout(columns(_COUNTED), _replicas)
DEPLOYMENT = Layout(columns("Name | Ready | Up-to-date | Available | Age" + _WIDE), _deployment)
STATEFUL_SET = Layout(columns("Name | Ready | Age | Containers+ | Images+"), _stateful_set)
DAEMON_SET = Layout(
    columns(
        "Name | Desired:integer | Current:integer | Ready:integer | Up-to-date:integer"
        " | Available:integer | Node Selector | Age" + _WIDE
    ),
    _daemon_set,
)
CONTROLLER_REVISION = Layout(columns("Name | Controller | Revision | Age"), _revision)
JOB = Layout(columns("Name | Status | Completions | Duration | Age" + _WIDE), _job)
CRON_JOB = Layout(
    columns(
        "Name | Schedule | Timezone | Suspend:boolean | Active:integer | Last Schedule | Age"
        + _WIDE
    ),
    _cron_job,
)
POD_DISRUPTION_BUDGET = Layout(
    columns("Name | Min Available | Max Unavailable | Allowed Disruptions:integer | Age"),
    _budget,
)
HORIZONTAL_POD_AUTOSCALER = Layout(
    columns("Name | Reference | Targets | MinPods | MaxPods | Replicas | Age"), _autoscaler
)
SCALE = Layout(columns("Name | Desired:integer | Available:integer | Age"), _scale)
CUSTOM_SCALE = Layout(columns("Name | Desired:integer | Available:integer | Age:date"), _scale)
