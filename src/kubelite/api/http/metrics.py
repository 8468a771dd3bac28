"""Metrics of the API server, under their Kubernetes names."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

from kubelite.api.auth.caller import Attributes
from kubelite.api.registry.table import ResourceTable
from kubelite.metrics import REGISTRY, Distribution, Value
from kubelite.store.protocol import Store

LABELS = ("verb", "group", "version", "resource", "subresource", "scope", "component")
DRY_RUN_LABELS = ("verb", "dry_run", *LABELS[1:])
# Upstream's buckets and three below, since most requests take less than upstream's first.
DURATION_BUCKETS_SECONDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0),
    *(4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
SLI_BUCKETS_FROM = DURATION_BUCKETS_SECONDS.index(0.05)
COMPONENT = "apiserver"
STORAGE_ID = "kubelite"  # where upstream names an etcd

requests_total = REGISTRY.counter(
    "apiserver_request_total",
    "Requests by verb, resource and HTTP status code.",
    (*DRY_RUN_LABELS, "code"),
)
requested_deprecated = REGISTRY.gauge(
    "apiserver_requested_deprecated_apis",
    "Deprecated APIs that were asked for, with the release that removes them if there is one.",
    ("group", "version", "resource", "subresource", "removed_release"),
)
request_duration = REGISTRY.histogram(
    "apiserver_request_duration_seconds",
    "How long requests took, watches and other long-running ones left out.",
    DRY_RUN_LABELS,
    DURATION_BUCKETS_SECONDS,
)
sli_duration = REGISTRY.histogram(
    "apiserver_request_sli_duration_seconds",
    "How long requests took without their wait for a seat; trials and long-running ones left out.",
    LABELS,
    DURATION_BUCKETS_SECONDS[SLI_BUCKETS_FROM:],
)
long_running = REGISTRY.gauge(
    "apiserver_longrunning_requests", "Watches, logs and other long requests under way.", LABELS
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
storage_objects = REGISTRY.listing(
    "apiserver_storage_objects", "Stored objects by resource.", ("resource",)
)
resource_objects = REGISTRY.listing(
    "apiserver_resource_objects", "Stored objects by group and resource.", ("group", "resource")
)
storage_size = REGISTRY.gauge(
    "apiserver_storage_size_bytes",
    "Size of the database file as allocated on disk.",
    ("storage_cluster_id",),
)
database_size = REGISTRY.gauge(
    "etcd_db_total_size_in_bytes",
    "Size of the database file as allocated on disk, under its older name.",
    ("endpoint",),
)
build_info = REGISTRY.gauge(
    "kubernetes_build_info",
    "1, labelled with the version of the server.",
    (
        *("major", "minor", "git_version", "git_commit", "git_tree_state", "build_date"),
        *("go_version", "compiler", "platform"),
    ),
)
INFLIGHT = {
    True: current_inflight.labelled("readOnly"),
    False: current_inflight.labelled("mutating"),
}

# Label values must stay few, so a non-resource path is counted under its first segment only if it is one of these.
KNOWN_PATHS = frozenset(
    {
        *("api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "version", ""),
        "v1-kubelite",
    }
)


def note_deprecated(attributes: Attributes) -> None:
    """Record a request for a deprecated resource."""
    requested_deprecated.labelled(
        attributes.group, attributes.version, attributes.resource, attributes.subresource, ""
    ).value = 1


def scope_of(attributes: Attributes) -> str:
    """Return the scope label of a request: resource, namespace, cluster, or "" for a non-resource path."""
    if attributes.name or attributes.verb == "create":
        return "resource"
    if attributes.namespace:
        return "namespace"
    return "cluster" if attributes.resource else ""


# As upstream, verbs are counted under their HTTP method, except LIST and WATCH.
_VERBS = {
    "get": "GET",
    "head": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "post": "POST",
    "update": "PUT",
    "put": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETE",
}
_CONNECTING = frozenset({"log", "exec", "portforward", "attach", "proxy"})


def verb_of(attributes: Attributes, *, is_apply: bool = False) -> str:
    """Return the verb label of a request."""
    if attributes.subresource in _CONNECTING:
        return "CONNECT"
    verb = _VERBS.get(attributes.verb, "other")
    return "APPLY" if is_apply and verb == "PATCH" else verb


def dry_run_of(values: Sequence[str]) -> str:
    """Return the dry_run label; any other value is "invalid", so that callers cannot create labels."""
    if not values:
        return ""
    return "All" if set(values) == {"All"} else "invalid"


@lru_cache(maxsize=4096)
def request_count(
    verb: str,
    dry_run: str,
    group: str,
    version: str,
    resource: str,
    subresource: str,
    scope: str,
    code: int,
) -> Value:
    """Return the request counter of these labels."""
    return requests_total.labelled(
        verb, dry_run, group, version, resource, subresource, scope, COMPONENT, str(code)
    )


@lru_cache(maxsize=4096)
def request_seconds(
    verb: str, dry_run: str, group: str, version: str, resource: str, subresource: str, scope: str
) -> Distribution:
    """Return the duration histogram of these labels, in seconds."""
    return request_duration.labelled(
        verb, dry_run, group, version, resource, subresource, scope, COMPONENT
    )


@lru_cache(maxsize=4096)
def sli_seconds(
    verb: str, group: str, version: str, resource: str, subresource: str, scope: str
) -> Distribution:
    """Return the service level indicator histogram of these labels, in seconds."""
    return sli_duration.labelled(verb, group, version, resource, subresource, scope, COMPONENT)


@lru_cache(maxsize=1024)
def running(
    verb: str, group: str, version: str, resource: str, subresource: str, scope: str
) -> Value:
    """Return the gauge of long-running requests of these labels."""
    return long_running.labelled(verb, group, version, resource, subresource, scope, COMPONENT)


def running_of(attributes: Attributes) -> Value:
    """Return the gauge of a long-running request of a served resource, or of a non-resource path."""
    return running(
        verb_of(attributes),
        attributes.group,
        attributes.version,
        attributes.resource,
        attributes.subresource if attributes.resource else _path_label(attributes.path),
        scope_of(attributes),
    )


def _path_label(path: str) -> str:
    first = path.strip("/").partition("/")[0]
    return f"/{first}" if first in KNOWN_PATHS else "other"


def observe(
    attributes: Attributes,
    code: int,
    seconds: float | None,
    *,
    served: bool,
    dry_run: str = "",
    is_apply: bool = False,
    queued_seconds: float = 0.0,
) -> None:
    """Count one answered request; `seconds` is None for a long-running one, and includes `queued_seconds`.

    A resource that is not served has empty labels, so that callers cannot create labels.
    """
    group = attributes.group if served else ""
    version = attributes.version if served else ""
    resource = attributes.resource if served else ""
    subresource = attributes.subresource if served else ""
    if not attributes.resource:
        subresource = _path_label(attributes.path)
    verb, scope = verb_of(attributes, is_apply=is_apply), scope_of(attributes)
    request_count(verb, dry_run, group, version, resource, subresource, scope, code).value += 1
    if seconds is not None:
        request_seconds(verb, dry_run, group, version, resource, subresource, scope).observe(
            seconds
        )
        if not dry_run:
            indicator = sli_seconds(verb, group, version, resource, subresource, scope)
            indicator.observe(seconds - queued_seconds)


def watch_store(store: Store, resources: ResourceTable) -> None:
    """Export the revision and size of a store and its number of objects per served resource."""

    def stored() -> Iterator[tuple[str, str, int]]:
        for row in resources.all():
            if row.is_canonical and {"create", "list"} <= set(row.verbs):
                yield row.group, row.plural, store.count(row.prefix)

    storage_objects.read = lambda: [
        ((f"{plural}.{group}" if group else plural,), count) for group, plural, count in stored()
    ]
    resource_objects.read = lambda: [((group, plural), count) for group, plural, count in stored()]
    storage_size.computed(store.size_bytes, STORAGE_ID)
    database_size.computed(store.size_bytes, STORAGE_ID)
    store_revision.computed(lambda: store.revision)
    store_oldest.computed(lambda: store.oldest)
