"""Columns of nodes, namespaces, configuration, events, quotas, roles, leases and certificates."""

from datetime import datetime

from kubelite.api.machinery.columns.layout import (
    JSON,
    NONE,
    UNKNOWN,
    Cells,
    Layout,
    age_of,
    columns,
    items,
    name_of,
    part,
)
from kubelite.api.machinery.times import age, human_duration

_ROLE_PREFIX = "node-role.kubernetes.io/"


def _roles(labels: JSON) -> str:
    found = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    found.add(labels.get("kubernetes.io/role") or "")
    return ",".join(sorted(found - {""})) or NONE


def _node(thing: JSON, now: datetime) -> Cells:
    status, info = part(thing, "status"), part(thing, "status", "nodeInfo")
    ready = next((c for c in items(status, "conditions") if c.get("type") == "Ready"), None)
    states = ["Unknown"]
    if ready is not None:
        states = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if part(thing, "spec").get("unschedulable"):
        states.append("SchedulingDisabled")
    addresses = {
        each.get("type"): each.get("address") for each in reversed(items(status, "addresses"))
    }
    kernel = info.get("kernelVersion") or UNKNOWN
    if architecture := info.get("architecture"):
        kernel += f" ({architecture})"
    return [
        name_of(thing),
        ",".join(states),
        _roles(part(thing, "metadata", "labels")),
        age_of(thing, now),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        kernel,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _namespace(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), part(thing, "status").get("phase", ""), age_of(thing, now)]


def _name_and_age(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), age_of(thing, now)]


def _config_map(thing: JSON, now: datetime) -> Cells:
    count = len(part(thing, "data")) + len(part(thing, "binaryData"))
    return [name_of(thing), count, age_of(thing, now)]


def _secret(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), thing.get("type", ""), len(part(thing, "data")), age_of(thing, now)]


def _quota(thing: JSON, now: datetime) -> Cells:
    status = part(thing, "status")
    hard, used = part(status, "hard"), part(status, "used")
    shown = {name: f"{name}: {used.get(name, '0')}/{hard[name]}" for name in sorted(hard)}
    limits = [text for name, text in shown.items() if name.startswith("limits.")]
    requests = [text for name, text in shown.items() if not name.startswith("limits.")]
    return [name_of(thing), ", ".join(requests), ", ".join(limits), age_of(thing, now)]


def _event(thing: JSON, now: datetime) -> Cells:
    involved = part(thing, "involvedObject") or part(thing, "regarding")
    source = part(thing, "source") or part(thing, "deprecatedSource")
    first = age(thing.get("firstTimestamp") or thing.get("deprecatedFirstTimestamp"), now)
    if first == UNKNOWN:
        first = age(thing.get("eventTime"), now)
    last = age(thing.get("lastTimestamp") or thing.get("deprecatedLastTimestamp"), now)
    count = thing.get("count") or thing.get("deprecatedCount") or 1
    if series := thing.get("series"):
        last, count = age(series.get("lastObservedTime"), now), series.get("count", 0)
    kind, name = involved.get("kind", "").lower(), involved.get("name", "")
    component = (
        source.get("component")
        or thing.get("reportingComponent")
        or thing.get("reportingController")
        or ""
    )
    instance = source.get("host") or thing.get("reportingInstance") or ""
    return [
        first if last == UNKNOWN else last,
        thing.get("type", ""),
        thing.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath", ""),
        f"{component}, {instance}" if instance else component,
        (thing.get("message") or thing.get("note") or "").strip(),
        first,
        str(count),
        name_of(thing),
    ]


def _component(thing: JSON, _now: datetime) -> Cells:
    for condition in items(thing, "conditions"):
        if condition.get("type") == "Healthy":
            state = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return [name_of(thing), state, condition.get("message", ""), condition.get("error", "")]
    return [name_of(thing), "Unknown", "", ""]


def _binding(thing: JSON, now: datetime) -> Cells:
    role = part(thing, "roleRef")
    found: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in items(thing, "subjects"):
        name = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        found.setdefault(subject.get("kind", ""), []).append(name)
    return [
        name_of(thing),
        f"{role.get('kind', '')}/{role.get('name', '')}",
        age_of(thing, now),
        ", ".join(found["User"]),
        ", ".join(found["Group"]),
        ", ".join(found["ServiceAccount"]),
    ]


def _lease(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), part(thing, "spec").get("holderIdentity") or "", age_of(thing, now)]


def _signing_request(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    kinds = {condition.get("type") for condition in items(status, "conditions")}
    state = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    if "Failed" in kinds:
        state += ",Failed"
    if status.get("certificate"):
        state += ",Issued"
    seconds = spec.get("expirationSeconds")
    return [
        name_of(thing),
        age_of(thing, now),
        spec.get("signerName") or NONE,
        spec.get("username", ""),
        NONE if seconds is None else human_duration(seconds),
        state,
    ]


def _priority_class(thing: JSON, now: datetime) -> Cells:
    return [
        name_of(thing),
        thing.get("value", 0),
        bool(thing.get("globalDefault")),
        age_of(thing, now),
        thing.get("preemptionPolicy") or "",
    ]


def _runtime_class(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), thing.get("handler", ""), age_of(thing, now)]


_BINDING = "Name | Role | Age | Users+ | Groups+ | ServiceAccounts+"
_EVENT = "Last Seen | Type | Reason | Object | Subobject+ | Source+ | Message | First Seen+ | Count+ | Name+"

NODE = Layout(
    columns(
        "Name | Status | Roles | Age | Version | Internal-IP+ | External-IP+ | OS-Image+"
        " | Kernel-Version+ | Container-Runtime+"
    ),
    _node,
)
NAMESPACE = Layout(columns("Name | Status | Age"), _namespace)
SERVICE_ACCOUNT = Layout(columns("Name | Age"), _name_and_age)
CONFIG_MAP = Layout(columns("Name | Data | Age"), _config_map)
SECRET = Layout(columns("Name | Type | Data | Age"), _secret)
RESOURCE_QUOTA = Layout(columns("Name | Request | Limit | Age"), _quota)
EVENT = Layout(columns(_EVENT), _event)
COMPONENT_STATUS = Layout(columns("Name | Status | Message | Error"), _component)
BINDING = Layout(columns(_BINDING), _binding)
LEASE = Layout(columns("Name | Holder | Age"), _lease)
CERTIFICATE_SIGNING_REQUEST = Layout(
    columns("Name | Age | SignerName | Requestor | RequestedDuration | Condition"),
    _signing_request,
)
PRIORITY_CLASS = Layout(
    columns("Name | Value:integer | Global-Default:boolean | Age | PreemptionPolicy"),
    _priority_class,
)
RUNTIME_CLASS = Layout(columns("Name | Handler | Age"), _runtime_class)
