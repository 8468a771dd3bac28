"""Rules of environment variables and their sources."""

from kubelite.api.machinery import causes, names
from kubelite.api.machinery.quantity import parse_quantity
from kubelite.api.registry.rules.values import (
    JSON,
    Out,
    format_check,
    items,
    no_backsteps,
    required_format,
)

ENVIRONMENT_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE = ("requests.hugepages-", "limits.hugepages-")
_SIZES = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei"
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ONE_SOURCE = (
    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` "
    "or `fileKeyRef`"
)
_TOO_MANY = "may not have more than one field specified at a time"


def variables(out: Out, path: str, found: list[JSON]) -> None:
    """Check the variables of a container."""
    for index, variable in enumerate(found):
        name = variable.get("name")
        if not name or names.environment_name(name):
            required_format(out, f"{path}[{index}].name", name, names.environment_name)
        if (source := variable.get("valueFrom")) is not None:
            _source(out, f"{path}[{index}].valueFrom", source, variable.get("value"))


def _source(out: Out, path: str, source: JSON, value: str | None) -> None:
    found = [name for name in _SOURCES if source.get(name) is not None]
    for name in found:
        at = f"{path}.{name}"
        if name == "fieldRef":
            field_reference(out, at, source[name], ENVIRONMENT_FIELDS)
        elif name == "resourceFieldRef":
            resource_reference(out, at, source[name], in_volume=False)
        elif name == "fileKeyRef":
            _file_key(out, at, source[name])
        else:
            _key(out, at, source[name])
    if not found:
        out.append(causes.invalid(path, "", _ONE_SOURCE))
    elif value:
        out.append(causes.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(found) > 1:
        out.append(causes.invalid(path, "", _TOO_MANY))


def _key(out: Out, path: str, reference: JSON) -> None:
    format_check(out, f"{path}.name", reference.get("name", ""), names.dns_subdomain)
    required_format(out, f"{path}.key", reference.get("key"), names.config_key)


def _file_key(out: Out, path: str, reference: JSON) -> None:
    required_format(out, f"{path}.key", reference.get("key"), names.environment_name)
    required_format(out, f"{path}.volumeName", reference.get("volumeName"), names.dns_label)
    if not reference.get("path"):
        out.append(causes.required(f"{path}.path"))
    else:
        no_backsteps(out, f"{path}.path", reference["path"])


def field_reference(out: Out, path: str, reference: JSON, fields: tuple[str, ...]) -> None:
    """Check a reference to a field of the pod, such as ``metadata.labels['app']``."""
    if not reference.get("apiVersion"):
        out.append(causes.required(f"{path}.apiVersion"))
        return
    field = reference.get("fieldPath", "")
    if not field:
        out.append(causes.required(f"{path}.fieldPath"))
        return
    base, bracket, subscript = field.partition("['")
    if bracket and subscript.endswith("']"):
        key = subscript[:-2]
        if base in ("metadata.annotations", "metadata.labels"):
            key = key.lower() if base == "metadata.annotations" else key
            format_check(out, path, key, names.qualified_name)
        else:
            out.append(causes.invalid(path, base, "does not support subscript"))
    elif field not in fields:
        if field in ENVIRONMENT_FIELDS or field in VOLUME_FIELDS:
            out.append(causes.unsupported(f"{path}.fieldPath", field, fields))
        else:
            detail = f"error converting fieldPath: field label not supported: {field}"
            out.append(causes.invalid(f"{path}.fieldPath", field, detail))


def resource_reference(out: Out, path: str, reference: JSON, *, in_volume: bool) -> None:
    """Check a reference to a container's requests or limits."""
    resource = reference.get("resource", "")
    if in_volume and not reference.get("containerName"):
        out.append(causes.required(f"{path}.containerName"))
    elif not resource:
        out.append(causes.required(f"{path}.resource"))
    elif resource not in _RESOURCES and not resource.startswith(_HUGE):
        out.append(causes.unsupported(f"{path}.resource", resource, _RESOURCES))
    else:
        _divisor(out, f"{path}.divisor", resource, reference.get("divisor"))


def _divisor(out: Out, path: str, resource: str, divisor: str | int | None) -> None:
    try:
        shown = str(parse_quantity(divisor)) if divisor else "0"
    except ValueError as error:
        out.append(causes.invalid(path, divisor, str(error)))
        return
    if shown == "0":
        return
    kind = resource.partition(".")[2]
    if kind == "cpu":
        named, shown_sizes = "cpu", "1m and 1"
    else:
        named = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(
            kind, "hugepages"
        )
        shown_sizes = _SIZES
    if shown not in shown_sizes.replace(" and ", ", ").split(", "):
        detail = f"only divisor's values {shown_sizes} are supported with the {named} resource"
        out.append(causes.invalid(path, resource, detail))


def sources(out: Out, path: str, found: list[JSON]) -> None:
    """Check envFrom: the objects whose keys become variables."""
    for index, source in enumerate(found):
        at = f"{path}[{index}]"
        if prefix := source.get("prefix"):
            format_check(out, f"{at}.prefix", prefix, names.environment_name)
        references = [
            name for name in ("configMapRef", "secretRef") if source.get(name) is not None
        ]
        for name in references:
            required_format(out, f"{at}.{name}.name", source[name].get("name"), names.dns_subdomain)
        if not references:
            detail = "must specify one of: `configMapRef` or `secretRef`"
            out.append(causes.invalid(path, "", detail))
        elif len(references) > 1:
            out.append(causes.invalid(path, "", _TOO_MANY))


def file_volumes(out: Out, path: str, container: JSON, volumes: dict[str, JSON]) -> None:
    """Check that fileKeyRef names an emptyDir volume of the pod."""
    for index, variable in enumerate(items(container, "env")):
        reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
        if not reference:
            continue
        at = f"{path}.env[{index}].valueFrom.fileKeyRef.volumeName"
        name = reference.get("volumeName", "")
        if name not in volumes:
            out.append(causes.not_found(at, name))
        elif volumes[name].get("emptyDir") is None:
            out.append(causes.invalid(at, name, "referenced volume must be of type emptyDir"))
