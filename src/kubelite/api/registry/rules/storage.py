"""Rules of volumes, claims, and the storage kinds."""

from typing import Any

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import ZERO, Quantity, parse_quantity
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.difference import difference
from kubelite.api.registry.rules.placement import node_selector
from kubelite.api.registry.rules.resources import amount
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    immutable,
    items,
    no_backsteps,
    one_of,
    part,
    required,
    required_format,
)

MODES = enums.ACCESS_MODES.enum
_RECLAIM = enums.RECLAIM_POLICIES.enum
_VOLUME_MODES = enums.VOLUME_MODES.enum
_CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName "
    "for bound claims\n"
)
_PARAMETERS_MAX, _PARAMETERS_BYTES_MAX = 512, 256 * 1024
_NOT_SOURCES = frozenset(
    [
        "capacity",
        "accessModes",
        "persistentVolumeReclaimPolicy",
        "claimRef",
        "storageClassName",
        "mountOptions",
        "volumeMode",
        "nodeAffinity",
        "volumeAttributesClassName",
    ]
)
_NEEDED: dict[str, tuple[str, ...]] = {
    "hostPath": ("path",),
    "local": ("path",),
    "nfs": ("server", "path"),
    "csi": ("driver", "volumeHandle"),
    "iscsi": ("targetPortal", "iqn"),
    "rbd": ("monitors", "image"),
    "cephfs": ("monitors",),
    "azureFile": ("secretName", "shareName"),
    "flexVolume": ("driver",),
}


def _quantity(text: Any) -> Quantity:
    try:
        return parse_quantity(text) if text is not None else ZERO
    except ValueError:
        return ZERO


def _positive_size(out: Out, path: str, text: Any) -> None:
    size = amount(out, path, "storage", text)
    if size is not None and size.amount == 0:
        out.append(causes.invalid(path, str(size), "must be greater than zero"))


def _access_modes(out: Out, path: str, spec: JSON) -> None:
    found = items(spec, "accessModes")
    if not found:
        out.append(causes.required(path, "at least 1 access mode is required"))
    for mode in found:
        if mode not in MODES:
            out.append(causes.unsupported(path, mode, MODES))
    if "ReadWriteOncePod" in found and any(mode in MODES[:3] for mode in found):
        detail = "may not use ReadWriteOncePod with other access modes"
        out.append(causes.forbidden(path, detail))


def claim_spec(out: Out, path: str, spec: JSON) -> None:
    """Check a PersistentVolumeClaimSpec."""
    _access_modes(out, f"{path}.accessModes", spec)
    labels.selector(out, f"{path}.selector", spec.get("selector"))
    at = f"{path}.resources[storage]"
    size = part(spec, "resources", "requests").get("storage")
    if size is None:
        out.append(causes.required(at))
    else:
        _positive_size(out, at, size)
    for field in ("storageClassName", "volumeAttributesClassName"):
        if name := spec.get(field):
            format_check(out, f"{path}.{field}", name, names.dns_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _VOLUME_MODES:
        out.append(causes.unsupported(f"{path}.volumeMode", mode, _VOLUME_MODES))
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    for field in ("dataSource", "dataSourceRef"):
        if spec.get(field) is not None:
            _data_source(out, f"{path}.{field}", spec[field])
    if source is not None and reference is not None:
        if reference.get("namespace"):
            detail = "may not be specified when dataSourceRef.namespace is specified"
            out.append(causes.invalid(path, f"{path}.dataSource", detail))
        elif any(source.get(key) != reference.get(key) for key in ("apiGroup", "kind", "name")):
            out.append(causes.invalid(path, f"{path}.dataSource", "must match dataSourceRef"))


def _data_source(out: Out, path: str, source: JSON) -> None:
    required(out, source, path, "name", "kind")
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        out.append(causes.invalid(path, source.get("kind", ""), detail))
    if group:
        format_check(out, f"{path}.apiGroup", group, names.dns_subdomain)


def claim(thing: JSON) -> Out:
    """Check a PersistentVolumeClaim."""
    out = Out()
    claim_spec(out, "spec", part(thing, "spec"))
    return out


def claim_update(new: JSON, old: JSON) -> Out:
    """Check a change of a claim; its spec is immutable but for unset names, and a bound claim may grow."""
    out = claim(new)
    after, before = dict(part(new, "spec")), dict(part(old, "spec"))
    bound = part(new, "status").get("phase") == "Bound"
    size, was = (part(each, "resources", "requests").get("storage") for each in (after, before))
    free = [] if before.get("volumeName") else ["volumeName"]
    if before.get("storageClassName") is None:
        free.append("storageClassName")
    if bound:
        free.append("volumeAttributesClassName")
        if after.get("resources") is not None:
            kept = {**part(after, "resources", "requests"), "storage": was}
            after["resources"] = {**after["resources"], "requests": kept}
    for field in free:
        after.pop(field, None)
        before.pop(field, None)
    changed = any(
        after.get(field) != before.get(field) and (after.get(field) or before.get(field))
        for field in after.keys() | before.keys()
    )
    if changed:
        out.append(causes.forbidden("spec", _CLAIM_FIXED + difference(before, after)))
    capacity = part(old, "status", "capacity").get("storage")
    if _quantity(size) < _quantity(was) and _quantity(size) <= _quantity(capacity):
        detail = "field can not be less than status.capacity"
        out.append(causes.forbidden("spec.resources.requests.storage", detail))
    immutable(out, "volumeMode", part(new, "spec").get("volumeMode"), before.get("volumeMode"))
    return out


def claim_status(new: JSON, _old: JSON) -> Out:
    """Check the amounts in a claim's status."""
    out = Out()
    for field in ("capacity", "allocatedResources"):
        for name, text in part(new, "status", field).items():
            amount(out, f"status.{field}[{name}]", name, text)
    return out


def volume(thing: JSON) -> Out:
    """Check a PersistentVolume."""
    out = Out()
    spec = part(thing, "spec")
    _access_modes(out, "spec.accessModes", spec)
    capacity = part(spec, "capacity")
    if not capacity:
        out.append(causes.required("spec.capacity"))
    elif "storage" not in capacity or len(capacity) > 1:
        out.append(causes.unsupported("spec.capacity", capacity, ("storage",)))
    for name, text in capacity.items():
        _positive_size(out, f"spec.capacity[{name}]", text)
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy:
        one_of(out, "spec.persistentVolumeReclaimPolicy", policy, _RECLAIM)
    if (affinity := spec.get("nodeAffinity")) is not None:
        wanted = affinity.get("required")
        if wanted is None:
            detail = "must specify required node constraints"
            out.append(causes.required("spec.nodeAffinity.required", detail))
        else:
            node_selector(out, "spec.nodeAffinity.required", wanted)
    _volume_source(out, spec)
    if class_name := spec.get("storageClassName"):
        format_check(out, "spec.storageClassName", class_name, names.dns_subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in _VOLUME_MODES:
        out.append(causes.unsupported("spec.volumeMode", mode, _VOLUME_MODES))
    return out


def _volume_source(out: Out, spec: JSON) -> None:
    kinds = [name for name in spec if name not in _NOT_SOURCES and isinstance(spec[name], dict)]
    if not kinds:
        out.append(causes.required("spec", "must specify a volume type"))
        return
    for name in kinds[1:]:
        out.append(causes.forbidden(f"spec.{name}", "may not specify more than 1 volume type"))
    name, source = kinds[0], spec[kinds[0]]
    path = f"spec.{name}"
    required(out, source, path, *_NEEDED.get(name, ()))
    if name in ("hostPath", "local") and (file := source.get("path")):
        no_backsteps(out, f"{path}.path", file)
    if name == "local" and spec.get("nodeAffinity") is None:
        detail = "Local volume requires node affinity"
        out.append(causes.required("spec.nodeAffinity", detail))
    if name == "hostPath":
        if source.get("path") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            detail = "may not be 'recycle' for a hostPath mount of '/'"
            out.append(causes.forbidden("spec.persistentVolumeReclaimPolicy", detail))
    elif name == "nfs" and not source.get("path", "/").startswith("/"):
        out.append(causes.invalid(f"{path}.path", source["path"], "must be an absolute path"))


def volume_update(new: JSON, old: JSON) -> Out:
    """Check a change of a PersistentVolume; its source is immutable."""
    out = volume(new)
    after, before = part(new, "spec"), part(old, "spec")
    for field in sorted(after.keys() | before.keys()):
        if field not in _NOT_SOURCES and after.get(field) != before.get(field):
            detail = "spec.persistentvolumesource is immutable after creation\n"
            detail += difference({field: before.get(field)}, {field: after.get(field)})
            out.append(causes.forbidden("spec.persistentvolumesource", detail))
            break
    immutable(out, "spec.volumeMode", after.get("volumeMode"), before.get("volumeMode"))
    if before.get("nodeAffinity"):
        affinity = after.get("nodeAffinity")
        immutable(out, "spec.nodeAffinity", affinity, before["nodeAffinity"])
    return out


def storage_class(thing: JSON) -> Out:
    """Check a StorageClass."""
    out = Out()
    required_format(
        out,
        "provisioner",
        thing.get("provisioner"),
        lambda text: names.qualified_name(text.lower()),
    )
    _parameters(out, thing)
    if policy := thing.get("reclaimPolicy"):
        one_of(out, "reclaimPolicy", policy, ("Delete", "Retain"))
    binding = enums.BINDING_MODES.enum
    one_of(out, "volumeBindingMode", thing.get("volumeBindingMode"), binding)
    for index, term in enumerate(items(thing, "allowedTopologies")):
        path, seen = f"allowedTopologies[{index}].matchLabelExpressions", set()
        for position, expression in enumerate(items(term, "matchLabelExpressions")):
            at, key = f"{path}[{position}]", expression.get("key", "")
            if not expression.get("values"):
                out.append(causes.required(f"{at}.values"))
            labels.label_key(out, f"{at}.key", key)
            if key in seen:
                out.append(causes.duplicate(f"{at}.key", key))
            seen.add(key)
    return out


def _parameters(out: Out, thing: JSON) -> None:
    found = part(thing, "parameters")
    if len(found) > _PARAMETERS_MAX:
        out.append(causes.too_long("Provisioner Parameters Length", _PARAMETERS_MAX))
    size = 0
    for key, value in found.items():
        if not key:
            out.append(causes.invalid("parameters", key, "field can not be empty."))
        size += len(key.encode()) + len(value.encode())
    if size > _PARAMETERS_BYTES_MAX:
        out.append(causes.too_long("parameters", _PARAMETERS_BYTES_MAX))


def storage_class_update(new: JSON, old: JSON) -> Out:
    """Check a change of a StorageClass, most of which is immutable."""
    out = storage_class(new)
    if part(new, "parameters") != part(old, "parameters"):
        out.append(causes.forbidden("parameters", "updates to parameters are forbidden."))
    if new.get("provisioner") != old.get("provisioner"):
        out.append(causes.forbidden("provisioner", "updates to provisioner are forbidden."))
    if new.get("reclaimPolicy") != old.get("reclaimPolicy"):
        out.append(causes.forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."))
    binding = new.get("volumeBindingMode")
    immutable(out, "volumeBindingMode", binding, old.get("volumeBindingMode"))
    return out


def attachment(thing: JSON) -> Out:
    """Check a VolumeAttachment."""
    out = Out()
    spec = part(thing, "spec")
    required_format(out, "spec.attacher", spec.get("attacher"), names.dns_subdomain)
    source = part(spec, "source")
    told = [each for each in ("persistentVolumeName", "inlineVolumeSpec") if source.get(each)]
    if not told:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        out.append(causes.required("spec.source", detail))
    elif len(told) > 1:
        out.append(
            causes.forbidden(
                "spec.source",
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            )
        )
    elif name := source.get("persistentVolumeName"):
        format_check(out, "spec.source.persistentVolumeName", name, names.dns_subdomain)
    required_format(out, "spec.nodeName", spec.get("nodeName"), names.dns_subdomain)
    return out


def attachment_update(new: JSON, old: JSON) -> Out:
    """Check a change of a VolumeAttachment."""
    out = attachment(new)
    if part(new, "spec") != part(old, "spec"):
        out.append(causes.invalid("spec", part(new, "spec"), causes.IMMUTABLE))
    return out


def csi_driver(thing: JSON) -> Out:
    """Check a CSIDriver."""
    out = Out()
    name, spec = part(thing, "metadata").get("name", ""), part(thing, "spec")
    if len(name) > 63:
        out.append(causes.too_long("metadata.name", 63))
    for field in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(field) is None:
            out.append(causes.required(f"spec.{field}"))
    for mode in items(spec, "volumeLifecycleModes"):
        one_of(out, "spec.volumeLifecycleModes", mode, ("Ephemeral", "Persistent"))
    group = spec.get("fsGroupPolicy")
    if group is not None:
        supported = ("File", "None", "ReadWriteOnceWithFSType")
        one_of(out, "spec.fsGroupPolicy", group, supported)
    seen: set[str] = set()
    for index, request in enumerate(items(spec, "tokenRequests")):
        at, audience = f"spec.tokenRequests[{index}]", request.get("audience", "")
        if audience in seen:
            out.append(causes.duplicate(f"{at}.audience", audience))
        seen.add(audience)
        seconds = request.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            detail = "may not specify a duration less than 10 minutes"
            out.append(causes.invalid(f"{at}.expirationSeconds", seconds, detail))
    return out


def csi_driver_update(new: JSON, old: JSON) -> Out:
    """Check a change of a CSIDriver."""
    out = csi_driver(new)
    after, before = part(new, "spec"), part(old, "spec")
    for field in ("attachRequired", "volumeLifecycleModes"):
        immutable(out, f"spec.{field}", after.get(field), before.get(field))
    return out


def csi_node(thing: JSON) -> Out:
    """Check a CSINode."""
    out = Out()
    seen: set[str] = set()
    for index, driver in enumerate(items(part(thing, "spec"), "drivers")):
        at, name = f"spec.drivers[{index}]", driver.get("name", "")
        required_format(out, f"{at}.name", name, lambda text: names.dns_subdomain(text.lower()))
        if name in seen:
            out.append(causes.duplicate(f"{at}.name", name))
        seen.add(name)
        node = driver.get("nodeID", "")
        if not node:
            out.append(causes.required(f"{at}.nodeID"))
        elif len(node) > 256:
            detail = "must be 256 characters or less"
            out.append(causes.invalid(f"{at}.nodeID", node, detail))
        keys = items(driver, "topologyKeys")
        for key in keys:
            format_check(out, at, key, names.qualified_name)
        count = part(driver, "allocatable").get("count")
        if count is not None and count < 0:
            detail = "must be greater than or equal to 0"
            out.append(causes.invalid(f"{at}.allocatable.count", count, detail))
    return out


def capacity(thing: JSON) -> Out:
    """Check a CSIStorageCapacity."""
    out = Out()
    required_format(out, "storageClassName", thing.get("storageClassName"), names.dns_subdomain)
    labels.selector(out, "nodeTopology", thing.get("nodeTopology"))
    for field in ("capacity", "maximumVolumeSize"):
        if thing.get(field) is not None:
            amount(out, field, "storage", thing[field])
    return out


def capacity_update(new: JSON, old: JSON) -> Out:
    """Check a change of a CSIStorageCapacity."""
    out = capacity(new)
    for field in ("nodeTopology", "storageClassName"):
        immutable(out, field, new.get(field), old.get(field))
    return out


def attributes_class(thing: JSON) -> Out:
    """Check a VolumeAttributesClass."""
    out = Out()
    if not thing.get("driverName"):
        out.append(causes.required("driverName"))
    if not thing.get("parameters"):
        out.append(causes.required("parameters", "must contain at least one key/value pair"))
    _parameters(out, thing)
    return out


def attributes_class_update(new: JSON, old: JSON) -> Out:
    """Check a change of a VolumeAttributesClass."""
    out = attributes_class(new)
    if new.get("driverName") != old.get("driverName"):
        out.append(causes.forbidden("driverName", "updates to driverName are forbidden."))
    if part(new, "parameters") != part(old, "parameters"):
        out.append(causes.forbidden("parameters", "updates to parameters are forbidden."))
    return out
