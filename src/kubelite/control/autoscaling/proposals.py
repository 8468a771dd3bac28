"""The number of replicas that each metric of an autoscaler asks for, and the one that counts."""

from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.kinds.autoscaling_v2 import MetricSpec, MetricStatus
from kubelite.api.kinds.meta import LabelSelector

FAILED_REASONS = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}


class Proposal(Struct, frozen=True):
    """What one metric asks for."""

    replicas: int
    metric: str  # how it is called in events and conditions
    status: MetricStatus


class Failure(Struct, frozen=True):
    """A metric that asks for nothing, and why: for its event and condition, and for the event of all metrics."""

    reason: str
    message: str
    summary: str


class Verdict(Struct, frozen=True):
    """What all metrics ask for together."""

    replicas: int | None  # None: nothing may be done
    metric: str = ""
    statuses: Sequence[MetricStatus] = ()
    failure: Failure | None = None  # the first one
    error: str = ""  # about all failures


def verdict(answers: Sequence[Proposal | Failure], current: int) -> Verdict:
    """Return the largest proposal.

    A metric that fails keeps pods from being removed, since it could have asked for them; it does not keep others from
    being added.
    """
    statuses = [one.status if isinstance(one, Proposal) else MetricStatus() for one in answers]
    proposals = [one for one in answers if isinstance(one, Proposal)]
    failures = [one for one in answers if isinstance(one, Failure)]
    error, first = "", None
    if failures:
        first = failures[0]
        error = (
            f"invalid metrics ({len(failures)} invalid out of {len(answers)}), "
            f"first error is: {first.summary}"
        )
    largest = max(proposals, key=lambda one: one.replicas, default=None)
    if largest is None or (failures and largest.replicas < current):
        return Verdict(None, statuses=statuses, failure=first, error=error)
    return Verdict(largest.replicas, largest.metric, statuses, first, error)


def failed(spec: MetricSpec, message: str, inner: str = "") -> Failure:
    """Return the failure of a metric; `inner` is the cause if the condition tells less than the summary."""
    return Failure(FAILED_REASONS[spec.type], inner or message, f"{_failed_to(spec)}: {message}")


def _failed_to(spec: MetricSpec) -> str:
    match spec.type:
        case "Resource":
            name = spec.resource.name if spec.resource else ""
            return f"failed to get {name} resource metric value"
        case "ContainerResource":
            container = spec.containerResource.container if spec.containerResource else ""
            return f"failed to get {container} container metric value"
        case "Object":
            return "failed to get object metric value"
        case "Pods":
            return "failed to get pods metric value"
        case _:
            name = spec.external.metric.name if spec.external else ""
            return f"failed to get {name} external metric value"


def shown_selector(selector: LabelSelector | None) -> str:
    """Return a selector as Kubernetes shows it in events."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted(selector.matchLabels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.key},Operator:{one.operator},"
        f"Values:[{' '.join(one.values)}],}},"
        for one in selector.matchExpressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
