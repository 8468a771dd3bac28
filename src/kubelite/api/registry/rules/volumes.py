"""Rules of a pod's volumes and of how containers mount them."""

from collections.abc import Callable

from kubelite.api.kinds import enums
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.registry.rules import labels
from kubelite.api.registry.rules.environment import (
    VOLUME_FIELDS,
    field_reference,
    resource_reference,
)
from kubelite.api.registry.rules.metadata import annotations
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    descending_path,
    items,
    no_backsteps,
    part,
    required,
    required_format,
    unreserved_path,
)

FILE_MODE = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES = enums.HOST_PATH_TYPES.enum
_ALREADY = "may not specify more than 1 volume type"
_TOKEN_SECONDS_MIN, _TOKEN_SECONDS_MAX = 600, 1 << 32
_PROPAGATIONS = enums.MOUNT_PROPAGATIONS.enum
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def volumes(out: Out, path: str, found: list[JSON], pod_name: str) -> dict[str, JSON]:
    """Check volumes; return the valid ones by name."""
    good: dict[str, JSON] = {}
    made = {f"{pod_name}-{each.get('name')}" for each in found if each.get("ephemeral") is not None}
    for index, volume in enumerate(found):
        at, before, name = f"{path}[{index}]", len(out), volume.get("name")
        _source(out, at, volume)
        if not name:
            out.append(causes.required(f"{at}.name"))
        else:
            if names.dns_label(name):
                required_format(out, f"{at}.name", name, names.dns_label)
            if name in good:
                out.append(causes.duplicate(f"{at}.name", name))
        if len(out) == before and name:
            good[name] = volume
        claim = part(volume, "persistentVolumeClaim").get("claimName")
        if claim and pod_name and claim in made:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            out.append(causes.invalid(f"{at}.persistentVolumeClaim.claimName", claim, detail))
    return good


def _source(out: Out, path: str, volume: JSON) -> None:
    kinds = [name for name, value in volume.items() if name != "name" and value is not None]
    if not kinds:
        out.append(causes.required(path, "must specify a volume type"))
        return
    for name in kinds[1:]:
        out.append(causes.forbidden(f"{path}.{name}", _ALREADY))
    name = kinds[0]
    check = _SOURCES.get(name)
    if check is not None:
        check(out, f"{path}.{name}", volume[name])
    elif name in _REQUIRED:
        required(out, volume[name], f"{path}.{name}", *_REQUIRED[name])


# Sources that only require some fields.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "persistentVolumeClaim": ("claimName",),
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "rbd": ("monitors", "image"),
    "cinder": ("volumeID",),
    "cephfs": ("monitors",),
    "azureFile": ("secretName", "shareName"),
    "azureDisk": ("diskName", "diskURI"),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "scaleIO": ("gateway", "system", "volumeName"),
    "iscsi": ("targetPortal", "iqn"),
    "glusterfs": ("endpoints", "path"),
    "quobyte": ("registry", "volume"),
    "flexVolume": ("driver",),
    "csi": ("driver",),
    "gitRepo": ("repository",),
}


def _mode(out: Out, path: str, mode: int | None) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        out.append(causes.invalid(path, mode, FILE_MODE))


def _keys(out: Out, path: str, found: list[JSON]) -> None:
    for index, item in enumerate(found):
        at = f"{path}[{index}]"
        required(out, item, at, "key", "path")
        unreserved_path(out, f"{at}.path", item.get("path", ""))
        _mode(out, f"{at}.mode", item.get("mode"))


def _secret(out: Out, path: str, source: JSON) -> None:
    required(out, source, path, "secretName")
    _mode(out, f"{path}.defaultMode", source.get("defaultMode"))
    _keys(out, f"{path}.items", items(source, "items"))


def _config_map(out: Out, path: str, source: JSON) -> None:
    required(out, source, path, "name")
    _mode(out, f"{path}.defaultMode", source.get("defaultMode"))
    _keys(out, f"{path}.items", items(source, "items"))


def _host_path(out: Out, path: str, source: JSON) -> None:
    if not source.get("path"):
        out.append(causes.required(f"{path}.path"))
        return
    no_backsteps(out, f"{path}.path", source["path"])
    kind = source.get("type")
    if kind is not None and kind not in _HOST_PATH_TYPES:
        out.append(causes.unsupported(f"{path}.type", kind, _HOST_PATH_TYPES))


def _nfs(out: Out, path: str, source: JSON) -> None:
    required(out, source, path, "server", "path")
    if not source.get("path", "").startswith("/"):
        detail = "must be an absolute path"
        out.append(causes.invalid(f"{path}.path", source.get("path", ""), detail))


def _empty_dir(out: Out, path: str, source: JSON) -> None:
    limit = source.get("sizeLimit")
    if limit is None:
        return
    try:
        if parse_quantity(limit).amount < 0:
            detail = "SizeLimit field must be a valid resource quantity"
            out.append(causes.forbidden(f"{path}.sizeLimit", detail))
    except ValueError as error:
        out.append(causes.invalid(f"{path}.sizeLimit", limit, str(error)))


def _downward_files(out: Out, path: str, found: list[JSON]) -> None:
    for file in found:
        required(out, file, path, "path")
        unreserved_path(out, f"{path}.path", file.get("path", ""))
        field, resource = file.get("fieldRef"), file.get("resourceFieldRef")
        if field is not None:
            field_reference(out, f"{path}.fieldRef", field, VOLUME_FIELDS)
            if resource is not None:
                detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
                out.append(causes.invalid(path, "resource", detail))
        elif resource is not None:
            resource_reference(out, f"{path}.resourceFieldRef", resource, in_volume=True)
        else:
            out.append(causes.required(path, "one of fieldRef and resourceFieldRef is required"))
        _mode(out, f"{path}.mode", file.get("mode"))


def _downward(out: Out, path: str, source: JSON) -> None:
    _mode(out, f"{path}.defaultMode", source.get("defaultMode"))
    _downward_files(out, path, items(source, "items"))


def _projected(out: Out, path: str, source: JSON) -> None:
    _mode(out, f"{path}.defaultMode", source.get("defaultMode"))
    used: set[str] = set()
    for index, projection in enumerate(items(source, "sources")):
        at = f"{path}.sources[{index}]"
        kinds = [name for name, value in projection.items() if value is not None]
        for kind in kinds:
            if check := _PROJECTIONS.get(kind):
                check(out, f"{at}.{kind}", projection[kind])
            for file in _projected_paths(kind, projection[kind]):
                if file in used:
                    named = projection[kind].get("name", file)
                    out.append(causes.invalid(path, named, "conflicting duplicate paths"))
                used.add(file)
        if len(kinds) > 1:
            detail = "may not specify more than 1 volume type per source"
            out.append(causes.forbidden(at, detail))


def _projected_paths(kind: str, projection: JSON) -> list[str]:
    if kind in ("serviceAccountToken", "clusterTrustBundle"):
        file = projection.get("path")
        return [file] if file else []
    return [item["path"] for item in items(projection, "items") if item.get("path")]


def _named_projection(out: Out, path: str, projection: JSON) -> None:
    required(out, projection, path, "name")
    _keys(out, f"{path}.items", items(projection, "items"))


def _downward_projection(out: Out, path: str, projection: JSON) -> None:
    _downward_files(out, path, items(projection, "items"))


def _token_projection(out: Out, path: str, projection: JSON) -> None:
    seconds = projection.get("expirationSeconds", 3600)
    at = f"{path}.expirationSeconds"
    if seconds < _TOKEN_SECONDS_MIN:
        detail = "may not specify a duration less than 10 minutes"
        out.append(causes.invalid(at, seconds, detail))
    if seconds > _TOKEN_SECONDS_MAX:
        detail = "may not specify a duration larger than 2^32 seconds"
        out.append(causes.invalid(at, seconds, detail))
    file = projection.get("path", "")
    if not file:
        out.append(causes.required(f"{path}.path"))
    else:
        unreserved_path(out, f"{path}.path", file)


def _bundle_projection(out: Out, path: str, projection: JSON) -> None:
    name, signer = projection.get("name"), projection.get("signerName")
    if name is not None and signer is not None:
        detail = "only one of name and signerName may be used"
        out.append(causes.invalid(path, projection, detail))
    elif name is not None:
        if not name:
            out.append(causes.required(f"{path}.name", "must be a valid object name"))
        if projection.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            at = f"{path}.labelSelector"
            out.append(causes.invalid(at, projection["labelSelector"], detail))
    elif signer is not None:
        if not signer:
            out.append(causes.required(f"{path}.signerName", "must be a valid signer name"))
        labels.selector(out, f"{path}.labelSelector", projection.get("labelSelector"))
    else:
        out.append(causes.required(path, "either name or signerName must be specified"))
    if not projection.get("path"):
        out.append(causes.required(f"{path}.path"))
    else:
        unreserved_path(out, f"{path}.path", projection["path"])


_PROJECTIONS: dict[str, Callable[[Out, str, JSON], None]] = {
    "secret": _named_projection,
    "configMap": _named_projection,
    "downwardAPI": _downward_projection,
    "serviceAccountToken": _token_projection,
    "clusterTrustBundle": _bundle_projection,
}


def _ephemeral(out: Out, path: str, source: JSON) -> None:
    from kubelite.api.registry.rules.storage import claim_spec

    template = source.get("volumeClaimTemplate")
    if not template:
        out.append(causes.required(f"{path}.volumeClaimTemplate"))
        return
    at, meta = f"{path}.volumeClaimTemplate", part(template, "metadata")
    annotations(out, f"{at}.metadata.annotations", meta.get("annotations"))
    labels.labels(out, f"{at}.metadata.labels", meta.get("labels"))
    for field, value in meta.items():
        if field not in ("annotations", "labels") and value:
            out.append(causes.forbidden(f"{at}.metadata.{field}", "cannot be set"))
    claim_spec(out, f"{at}.spec", part(template, "spec"))


def _image(out: Out, path: str, source: JSON) -> None:
    policy = source.get("pullPolicy")
    if policy and policy not in enums.PULL_POLICIES.enum:
        supported = enums.PULL_POLICIES.enum
        out.append(causes.unsupported(f"{path}.pullPolicy", policy, supported))


_SOURCES: dict[str, Callable[[Out, str, JSON], None]] = {
    "secret": _secret,
    "configMap": _config_map,
    "hostPath": _host_path,
    "nfs": _nfs,
    "emptyDir": _empty_dir,
    "downwardAPI": _downward,
    "projected": _projected,
    "ephemeral": _ephemeral,
    "image": _image,
}


def mounts(out: Out, path: str, container: JSON, known: dict[str, JSON]) -> None:
    """Check the volume mounts of a container."""
    devices = items(container, "volumeDevices")
    device_names = {device.get("name") for device in devices}
    device_paths = {device.get("devicePath") for device in devices}
    points: set[str] = set()
    for index, mount in enumerate(items(container, "volumeMounts")):
        name, point = mount.get("name", ""), mount.get("mountPath", "")
        at = f"{path}[{index}]"
        if not name:
            out.append(causes.required(f"{at}.name"))
        if name not in known:
            out.append(causes.not_found(f"{at}.name", name))
        if not point:
            out.append(causes.required(f"{at}.mountPath"))
        if point in points:
            out.append(causes.invalid(f"{at}.mountPath", point, "must be unique"))
        points.add(point)
        if name in device_names:
            detail = "must not already exist in volumeDevices"
            out.append(causes.invalid(f"{at}.name", name, detail))
        if point in device_paths:
            detail = "must not already exist as a path in volumeDevices"
            out.append(causes.invalid(f"{at}.mountPath", point, detail))
        if len(mount) > 2:
            _mount_options(out, path, at, mount, container)


def _mount_options(out: Out, path: str, at: str, mount: JSON, container: JSON) -> None:
    below, expression = mount.get("subPath"), mount.get("subPathExpr")
    if below:
        descending_path(out, f"{path}.subPath", below)
    if expression:
        if below:
            detail = "subPathExpr and subPath are mutually exclusive"
            out.append(causes.invalid(f"{at}.subPathExpr", expression, detail))
        descending_path(out, f"{path}.subPathExpr", expression)
    propagation = mount.get("mountPropagation")
    if propagation is not None:
        if propagation not in _PROPAGATIONS:
            field = f"{path}.mountPropagation"
            out.append(causes.unsupported(field, propagation, _PROPAGATIONS))
        privileged = (container.get("securityContext") or {}).get("privileged")
        if propagation == "Bidirectional" and not privileged:
            detail = "Bidirectional mount propagation is available only to privileged containers"
            out.append(causes.forbidden(f"{path}.mountPropagation", detail))
    recursive, field = mount.get("recursiveReadOnly"), f"{path}.recursiveReadOnly"
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            out.append(causes.forbidden(field, "may only be specified when readOnly is true"))
        if propagation not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            out.append(causes.forbidden(field, detail))
    elif recursive is not None and recursive != "Disabled":
        out.append(causes.unsupported(field, recursive, _RECURSIVE))


def devices(out: Out, path: str, container: JSON, known: dict[str, JSON]) -> None:
    """Check the block devices of a container."""
    mounted = items(container, "volumeMounts")
    mount_names = {mount.get("name") for mount in mounted}
    mount_paths = {mount.get("mountPath") for mount in mounted}
    seen_names: set[str] = set()
    seen_paths: set[str] = set()
    for index, device in enumerate(items(container, "volumeDevices")):
        name, file, at = device.get("name", ""), device.get("devicePath", ""), f"{path}[{index}]"
        required(out, device, at, "name", "devicePath")
        if name in seen_names:
            out.append(causes.invalid(f"{at}.name", name, "must be unique"))
        volume = known.get(name)
        if volume is None:
            out.append(causes.not_found(f"{at}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            out.append(causes.invalid(f"{at}.name", name, detail))
        if file in seen_paths:
            out.append(causes.invalid(f"{at}.devicePath", file, "must be unique"))
        if ".." in file.split("/"):
            detail = "can not contain backsteps ('..')"
            out.append(causes.invalid(f"{at}.devicePath", file, detail))
        if name in mount_names:
            detail = "must not already exist in volumeMounts"
            out.append(causes.invalid(f"{at}.name", name, detail))
        if file in mount_paths:
            detail = "must not already exist as a path in volumeMounts"
            out.append(causes.invalid(f"{at}.devicePath", file, detail))
        seen_names.add(name)
        seen_paths.add(file)
