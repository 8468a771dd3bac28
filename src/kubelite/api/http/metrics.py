"""What the API server counts, under the names Kubernetes gives it."""

from functools import lru_cache

from kubelite.api.auth.caller import Attributes
from kubelite.metrics import REGISTRY, Distribution, Value
from kubelite.store.protocol import Store

LABELS = ("verb", "group", "version", "resource", "subresource", "scope", "component")
DURATION_BUCKETS_SECONDS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    1.0,
    2.0,
    5.0,
    10.0,
    30.0,
    60.0,
)
COMPONENT = "apiserver"

requests_total = REGISTRY.counter(
    "apiserver_request_total",
    "Requests by verb, resource and HTTP status code.",
    (*LABELS, "code"),
)
requested_deprecated = REGISTRY.gauge(
    "apiserver_requested_deprecated_apis",
    "Deprecated APIs that were asked for, with the release that removes them if there is one.",
    ("group", "version", "resource", "subresource", "removed_release"),
)
request_duration = REGISTRY.histogram(
    "apiserver_request_duration_seconds",
    "How long requests took, watches and other long-running ones left out.",
    LABELS,
    DURATION_BUCKETS_SECONDS,
)
long_running = REGISTRY.gauge(
    "apiserver_longrunning_requests", "Watches, logs and other long requests under way.", ("verb",)
)
current_inflight = REGISTRY.gauge(
    "apiserver_current_inflight_requests",
    "Requests under way, long-running ones left out.",
    ("request_kind",),
)
rejected_total = REGISTRY.counter(
    "apiserver_flowcontrol_rejected_requests_total",
    "Requests refused by fair queueing.",
    ("flow_schema", "priority_level", "reason"),
)
store_revision = REGISTRY.gauge("kubelite_store_revision", "The revision of the newest change.")
store_oldest = REGISTRY.gauge(
    "kubelite_store_oldest_revision", "The oldest revision from which a watch can start."
)
INFLIGHT = {
    True: current_inflight.labelled("readOnly"),
    False: current_inflight.labelled("mutating"),
}

# A path that is no resource is counted under its first segment only if it is one of these: labels must stay few.
KNOWN_PATHS = frozenset(
    {"api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "version", ""}
)


def note_deprecated(attributes: Attributes) -> None:
    """Show that a resource that is deprecated was asked for."""
    requested_deprecated.labelled(
        attributes.group, attributes.version, attributes.resource, attributes.subresource, ""
    ).value = 1


def scope_of(attributes: Attributes) -> str:
    """Return what part of the cluster a request is about."""
    if attributes.name:
        return "resource"
    if attributes.namespace:
        return "namespace"
    return "cluster" if attributes.resource else ""


@lru_cache(maxsize=4096)
def request_count(
    verb: str, group: str, version: str, resource: str, subresource: str, scope: str, code: int
) -> Value:
    """Return the counter of one kind of request and answer."""
    return requests_total.labelled(
        verb, group, version, resource, subresource, scope, COMPONENT, str(code)
    )


@lru_cache(maxsize=4096)
def request_seconds(
    verb: str, group: str, version: str, resource: str, subresource: str, scope: str
) -> Distribution:
    """Return the histogram of one kind of request."""
    return request_duration.labelled(verb, group, version, resource, subresource, scope, COMPONENT)


def observe(attributes: Attributes, code: int, seconds: float | None, *, served: bool) -> None:
    """Count one answered request; `seconds` is None for a long-running one.

    A resource that is not served is not named: callers must not be able to make labels up.
    """
    group = attributes.group if served else ""
    version = attributes.version if served else ""
    resource = attributes.resource if served else ""
    subresource = attributes.subresource if served else ""
    if not attributes.resource:
        first = attributes.path.strip("/").partition("/")[0]
        subresource = f"/{first}" if first in KNOWN_PATHS else "other"
    verb = attributes.verb.upper() if len(attributes.verb) <= 16 else "OTHER"
    scope = scope_of(attributes)
    request_count(verb, group, version, resource, subresource, scope, code).value += 1
    if seconds is not None:
        request_seconds(verb, group, version, resource, subresource, scope).observe(seconds)


def watch_store(store: Store) -> None:
    """Show how far a store has come."""
    store_revision.computed(lambda: store.revision)
    store_oldest.computed(lambda: store.oldest)
