"""Columns of storage, admission, flow control, device and extension kinds."""

from datetime import datetime

from kubelite.api.machinery.columns.layout import (
    JSON,
    NONE,
    UNSET,
    Cells,
    Layout,
    age_of,
    columns,
    format_selector,
    items,
    name_of,
    part,
)

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_OLD_CLASS = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASSES = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _modes(modes: list[str]) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def _class(thing: JSON) -> str:
    annotations = part(thing, "metadata", "annotations")
    name: str = annotations.get(_OLD_CLASS) or part(thing, "spec").get("storageClassName") or ""
    return name


def _phase(thing: JSON) -> str:
    if part(thing, "metadata").get("deletionTimestamp"):
        return "Terminating"
    phase: str = part(thing, "status").get("phase", "")
    return phase


def _volume(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    claim = spec.get("claimRef")
    return [
        name_of(thing),
        part(spec, "capacity").get("storage", "0"),
        _modes(items(spec, "accessModes")),
        spec.get("persistentVolumeReclaimPolicy", ""),
        _phase(thing),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(thing),
        spec.get("volumeAttributesClassName") or UNSET,
        part(thing, "status").get("reason", ""),
        age_of(thing, now),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(thing: JSON, now: datetime) -> Cells:
    spec, status = part(thing, "spec"), part(thing, "status")
    bound = bool(spec.get("volumeName"))
    return [
        name_of(thing),
        _phase(thing),
        spec.get("volumeName", ""),
        part(status, "capacity").get("storage", "0") if bound else "",
        _modes(items(status, "accessModes")) if bound else "",
        _class(thing),
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(thing, now),
        spec.get("volumeMode") or UNSET,
    ]


def _storage_class(thing: JSON, now: datetime) -> Cells:
    name, annotations = name_of(thing), part(thing, "metadata", "annotations")
    if any(annotations.get(key) == "true" for key in _DEFAULT_CLASSES):
        name += " (default)"
    return [
        name,
        thing.get("provisioner", ""),
        thing.get("reclaimPolicy") or "Delete",
        thing.get("volumeBindingMode") or "Immediate",
        bool(thing.get("allowVolumeExpansion")),
        age_of(thing, now),
    ]


def _attributes_class(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), thing.get("driverName", ""), age_of(thing, now)]


def _attachment(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    return [
        name_of(thing),
        spec.get("attacher", ""),
        part(spec, "source").get("persistentVolumeName") or "",
        spec.get("nodeName", ""),
        bool(part(thing, "status").get("attached")),
        age_of(thing, now),
    ]


def _csi_node(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), len(items(part(thing, "spec"), "drivers")), age_of(thing, now)]


def _csi_driver(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    requests = spec.get("tokenRequests")
    attach = spec.get("attachRequired")
    return [
        name_of(thing),
        True if attach is None else attach,
        bool(spec.get("podInfoOnMount")),
        bool(spec.get("storageCapacity")),
        UNSET if requests is None else ",".join(each.get("audience", "") for each in requests),
        bool(spec.get("requiresRepublish")),
        ",".join(items(spec, "volumeLifecycleModes")) or NONE,
        age_of(thing, now),
    ]


def _capacity(thing: JSON, _now: datetime) -> Cells:
    return [name_of(thing), thing.get("storageClassName", ""), thing.get("capacity") or UNSET]


def _webhooks(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), len(items(thing, "webhooks")), age_of(thing, now)]


def _param_kind(spec: JSON) -> str:
    kind = spec.get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else UNSET


def _validating_policy(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    count = len(items(spec, "validations"))
    return [name_of(thing), count, _param_kind(spec), age_of(thing, now)]


def _mutating_policy(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    return [name_of(thing), len(items(spec, "mutations")), _param_kind(spec), age_of(thing, now)]


def _policy_binding(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    reference, shown = part(spec, "paramRef"), UNSET
    if name := reference.get("name"):
        shown = f"{reference.get('namespace') or '*'}/{name}"
    elif selector := reference.get("selector"):
        shown = format_selector(selector)
    return [name_of(thing), spec.get("policyName", ""), shown, age_of(thing, now)]


def _flow_schema(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    conditions = items(part(thing, "status"), "conditions")
    dangling = next((c.get("status") for c in conditions if c.get("type") == "Dangling"), "?")
    return [
        name_of(thing),
        part(spec, "priorityLevelConfiguration").get("name", ""),
        spec.get("matchingPrecedence", 0),
        part(spec, "distinguisherMethod").get("type") or NONE,
        age_of(thing, now),
        dangling,
    ]


def _priority_level(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    limited = part(spec, "limited")
    queuing = part(limited, "limitResponse", "queuing")
    return [
        name_of(thing),
        spec.get("type", ""),
        limited.get("nominalConcurrencyShares", NONE),
        queuing.get("queues", NONE),
        queuing.get("handSize", NONE),
        queuing.get("queueLengthLimit", NONE),
        age_of(thing, now),
    ]


def _name_and_age(thing: JSON, now: datetime) -> Cells:
    return [name_of(thing), age_of(thing, now)]


def _resource_claim(thing: JSON, now: datetime) -> Cells:
    status, deleted = part(thing, "status"), part(thing, "metadata").get("deletionTimestamp")
    states = ["deleted"] if deleted else []
    if status.get("allocation"):
        states.append("allocated")
        if status.get("reservedFor"):
            states.append("reserved")
    elif not deleted:
        states.append("pending")
    return [name_of(thing), ",".join(states), age_of(thing, now)]


def _resource_slice(thing: JSON, now: datetime) -> Cells:
    spec = part(thing, "spec")
    pool = part(spec, "pool").get("name", "")
    node, driver = spec.get("nodeName") or "", spec.get("driver", "")
    return [name_of(thing), node, driver, pool, age_of(thing, now)]


def _api_service(thing: JSON, now: datetime) -> Cells:
    service = part(thing, "spec").get("service")
    conditions = items(part(thing, "status"), "conditions")
    available = next((c for c in conditions if c.get("type") == "Available"), None)
    state = "Unknown"
    if available is not None:
        state = available.get("status", "")
        if state != "True" and (reason := available.get("reason")):
            state = f"{state} ({reason})"
    shown = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    return [name_of(thing), shown, state, age_of(thing, now)]


_STORAGE, _ADMISSION = "storage.k8s.io", "admissionregistration.k8s.io"
_FLOW, _DEVICES = "flowcontrol.apiserver.k8s.io", "resource.k8s.io"
POLICY_BINDING = Layout(columns("Name | PolicyName | ParamRef | Age"), _policy_binding)
WEBHOOKS = Layout(columns("Name | Webhooks:integer | Age"), _webhooks)

PERSISTENT_VOLUME = Layout(
    columns(
        "Name | Capacity | Access Modes | Reclaim Policy | Status | Claim | StorageClass"
        " | VolumeAttributesClass | Reason | Age | VolumeMode+"
    ),
    _volume,
)
PERSISTENT_VOLUME_CLAIM = Layout(
    columns(
        "Name | Status | Volume | Capacity | Access Modes | StorageClass"
        " | VolumeAttributesClass | Age | VolumeMode+"
    ),
    _claim,
)
STORAGE_CLASS = Layout(
    columns("Name | Provisioner | ReclaimPolicy | VolumeBindingMode | AllowVolumeExpansion | Age"),
    _storage_class,
)
VOLUME_ATTRIBUTES_CLASS = Layout(columns("Name | DriverName | Age"), _attributes_class)
VOLUME_ATTACHMENT = Layout(
    columns("Name | Attacher | PV | Node | Attached:boolean | Age"), _attachment
)
CSI_NODE = Layout(columns("Name | Drivers:integer | Age"), _csi_node)
CSI_DRIVER = Layout(
    columns(
        "Name | AttachRequired:boolean | PodInfoOnMount:boolean | StorageCapacity:boolean"
        " | TokenRequests | RequiresRepublish:boolean | Modes | Age"
    ),
    _csi_driver,
)
CSI_STORAGE_CAPACITY = Layout(columns("Name | StorageClassName | Capacity"), _capacity)
VALIDATING_ADMISSION_POLICY = Layout(
    columns("Name | Validations:integer | ParamKind | Age"), _validating_policy
)
MUTATING_ADMISSION_POLICY = Layout(
    columns("Name | Mutations:integer | ParamKind | Age"), _mutating_policy
)
FLOW_SCHEMA = Layout(
    columns(
        "Name | PriorityLevel | MatchingPrecedence:integer | DistinguisherMethod | Age | MissingPL"
    ),
    _flow_schema,
)
PRIORITY_LEVEL_CONFIGURATION = Layout(
    columns("Name | Type | NominalConcurrencyShares | Queues | HandSize | QueueLengthLimit | Age"),
    _priority_level,
)
DEVICE_CLASS = Layout(columns("Name | Age"), _name_and_age)
RESOURCE_CLAIM = Layout(columns("Name | State | Age"), _resource_claim)
RESOURCE_SLICE = Layout(columns("Name | Node | Driver | Pool | Age"), _resource_slice)
API_SERVICE = Layout(columns("Name | Service | Available | Age"), _api_service)
