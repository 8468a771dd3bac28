"""Warnings about nodes, quotas, identities, Secrets, devices, admission and custom resources."""

from collections.abc import Iterator

from kubelite.api.auth.key_pairs import mismatch
from kubelite.api.machinery.causes import quoted
from kubelite.api.machinery.quantity import canonical_quantity, parse_quantity
from kubelite.api.machinery.schema_walk import nested_schemas, version_schemas
from kubelite.api.registry.rules.values import JSON, items, part
from kubelite.api.registry.rules.warnings.texts import OLD_NODE_LABELS, odd_range

_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_STATIC_SUFFIX = ".static.k8s.io"
# String formats that custom resources are validated for; compared without dashes, as in Kubernetes.
_STRING_FORMATS = frozenset(
    [
        "bsonobjectid",
        "uri",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "cidr",
        "mac",
        "uuid",
        "uuid3",
        "uuid4",
        "uuid5",
        "isbn",
        "isbn10",
        "isbn13",
        "creditcard",
        "ssn",
        "hexcolor",
        "rgbcolor",
        "byte",
        "password",
        "date",
        "duration",
        "datetime",
        "k8sshortname",
        "k8slongname",
    ]
)
_FORMATS = {
    "": _STRING_FORMATS,
    "string": _STRING_FORMATS,
    "integer": frozenset(("int32", "int64")),
    "number": frozenset(("float", "double")),
}


def node(thing: JSON) -> Iterator[str]:
    """Warn about a Node."""
    spec = part(thing, "spec")
    if spec.get("configSource") is not None:
        yield "spec.configSource: the feature is removed"
    if spec.get("externalID"):
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
    for index, text in enumerate(items(spec, "podCIDRs")):
        yield from odd_range(f"spec.podCIDRs[{index}]", text)


def quota(thing: JSON) -> Iterator[str]:
    """Warn about a new ResourceQuota whose requests exceed its limits."""
    hard = part(thing, "spec").get("hard") or {}
    for resource in ("cpu", "memory", "storage", "ephemeral-storage"):
        request, limit = f"requests.{resource}", f"limits.{resource}"
        if request not in hard and resource in ("cpu", "memory"):
            request = resource
        if request in hard and limit in hard:
            wanted, most = parse_quantity(hard[request]), parse_quantity(hard[limit])
            if most < wanted:
                yield (
                    f"ResourceQuota {request} ({canonical_quantity(hard[request])}) should be less "
                    f"than {limit} ({canonical_quantity(hard[limit])})"
                )


def service_account(thing: JSON) -> Iterator[str]:
    """Warn about a new ServiceAccount."""
    if _MOUNTABLE in part(thing, "metadata", "annotations"):
        yield (
            f"metadata.annotations[{_MOUNTABLE}]: deprecated in v1.32+; "
            "prefer separate namespaces to isolate access to mounted secrets"
        )


def service_account_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about a ServiceAccount that gets the annotation."""
    if _MOUNTABLE not in part(old, "metadata", "annotations"):
        yield from service_account(thing)


def secret(thing: JSON) -> Iterator[str]:
    """Warn about a Secret whose certificate and key do not match."""
    if thing.get("type") == "kubernetes.io/tls":
        data = part(thing, "data")
        if problem := mismatch(data.get("tls.crt") or "", data.get("tls.key") or ""):
            yield problem


def runtime_class(thing: JSON) -> Iterator[str]:
    """Warn about the nodes of a RuntimeClass."""
    for label in part(thing, "scheduling").get("nodeSelector") or ():
        if (about := OLD_NODE_LABELS.get(label)) is not None:
            yield f"scheduling.nodeSelector: {about}"


def resource_slice(thing: JSON) -> Iterator[str]:
    """Warn about the driver of a ResourceSlice."""
    driver = part(thing, "spec").get("driver", "")
    if driver != driver.lower():
        yield (
            f"spec.driver: driver names should be lowercase; {quoted(driver)} contains uppercase "
            "characters"
        )


def static_name(thing: JSON) -> Iterator[str]:
    """Warn about the name of an object of the admission group that only files may have."""
    if thing["metadata"].get("name", "").endswith(_STATIC_SUFFIX):
        yield (
            f"metadata.name: names ending with {quoted(_STATIC_SUFFIX)} are reserved for static "
            "manifest-based configurations and cannot be managed via the API"
        )


def custom_resource(thing: JSON) -> Iterator[str]:
    """Warn about a new CustomResourceDefinition."""
    for unknown in _unknown_formats(thing):
        yield f"unrecognized format {quoted(unknown)}"


def custom_resource_update(thing: JSON, old: JSON) -> Iterator[str]:
    """Warn about formats that a CustomResourceDefinition did not have before."""
    known = set(_unknown_formats(old))
    for unknown in _unknown_formats(thing):
        if unknown not in known:
            yield f"unrecognized format {quoted(unknown)}"


def _unknown_formats(definition: JSON) -> Iterator[str]:
    told = set()
    for _, root in version_schemas(definition):
        for schema in nested_schemas(root):
            if not (name := schema.get("format")) or name in told:
                continue
            known = _FORMATS.get(schema.get("type") or "", frozenset())
            is_text = known is _STRING_FORMATS
            if (name.replace("-", "") if is_text else name) not in known:
                told.add(name)
                yield name
