"""Metrics of the proxy, as its process reports them: by Ingress and class of statuses."""

from kubelite.ingress.messages import DURATION_BUCKETS_SECONDS, Counts
from kubelite.limits import LIMITS
from kubelite.metrics import REGISTRY

LABELS = ("namespace", "ingress")
OWNERS_MAX = 1000  # Ingresses with labels of their own; the others share one

REQUESTS = REGISTRY.counter(
    "kubelite_ingress_requests_total",
    "Requests by Ingress and class of the status; without an Ingress: no route was found.",
    (*LABELS, "status"),
)
BYTES = REGISTRY.counter(
    "kubelite_ingress_response_bytes_total", "Bytes of the bodies of responses.", LABELS
)
SECONDS = REGISTRY.histogram(
    "kubelite_ingress_request_duration_seconds",
    "Time from the head of a request to the end of its response.",
    LABELS,
    DURATION_BUCKETS_SECONDS,
)
CONNECTIONS = REGISTRY.gauge("kubelite_ingress_connections", "Open connections of clients.")
MALFORMED = REGISTRY.counter(
    "kubelite_ingress_malformed_requests_total", "Requests that were refused as malformed."
)
_owners: set[str] = set()


def record(counts: Counts) -> None:
    """Add what the proxy counted."""
    CONNECTIONS.set(counts.connections)
    MALFORMED.increase(counts.malformed)
    for name, times in counts.limits.items():
        LIMITS[name].reached(times)
    for one in counts.counts:
        labels = _labels(one.owner)
        REQUESTS.labelled(*labels, f"{one.status_class}xx").increase(one.requests)
        BYTES.labelled(*labels).increase(one.bytes_sent)
        durations = SECONDS.labelled(*labels)
        durations.total += one.seconds
        for index, count in enumerate(one.buckets):
            durations.counts[index] += count


def _labels(owner: str) -> tuple[str, str]:
    if owner not in _owners:
        if len(_owners) >= OWNERS_MAX:
            return "other", "other"
        _owners.add(owner)
    namespace, _, name = owner.partition("/")
    return namespace, name
