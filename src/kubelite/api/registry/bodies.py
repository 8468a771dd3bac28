"""Checks the body of a request against its path and schema, and turns it into an object of its kind."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.errors import BadRequest, PlainError
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.mismatch import value_name
from kubelite.api.machinery.schema import Schema
from kubelite.api.machinery.shaping.shape import Shape
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.reading import unsigned
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.target import Target

STRICT = "Strict"


def metadata_of(
    body: dict[str, Any], kind: GroupVersionKind | None = None, *, custom: bool = False
) -> dict[str, Any]:
    """Return the metadata of a body, added if absent; raises BadRequest, which names the `kind` of the body."""
    metadata = body.get("metadata")
    if metadata is None:
        metadata = body["metadata"] = {}
    if not isinstance(metadata, dict):
        name = kind.kind if kind else ""
        into = "value" if custom else f"struct field {name}.metadata"
        raise BadRequest(
            f'{name} in version "{kind.version if kind else ""}" cannot be handled as a {name}: json: '
            f"cannot unmarshal {value_name(metadata)} into Go {into} of type v1.ObjectMeta"
        )
    return metadata


def shape(
    form: Shape, body: dict[str, Any], options: WriteOptions, *, patched: bool = False
) -> tuple[str, ...]:
    """Give a body its form, and return warnings; `patched` as in `findings`.

    Raises BadRequest for a value of the wrong type and, under strict validation, for unknown or duplicate fields.
    """
    unknown = form.receive(body)
    return findings(form.schema, unknown, options, patched=patched)


def findings(
    schema: Schema, unknown: Sequence[str], options: WriteOptions, *, patched: bool = False
) -> tuple[str, ...]:
    """Return unknown and duplicate fields as warnings; raises BadRequest under strict validation.

    The order is that of Kubernetes, since clients compare the text. A patch and YAML are searched for duplicates before
    the kind is known, so duplicates come first. In a whole JSON object only known fields count, and they come last.
    """
    duplicates = list(options.duplicate_fields)
    if not (unknown or duplicates) or options.field_validation == "Ignore":
        return ()
    strange = [f'unknown field "{path}"' for path in unknown]
    is_yaml = bool(duplicates) and duplicates[0].startswith("line ")
    found = duplicates + strange if patched or is_yaml else strange + _outside(duplicates, unknown)
    if options.field_validation == STRICT:
        if is_yaml:
            lines = "".join(f"\n  {one}" for one in duplicates)
            found = [f"yaml: unmarshal errors:{lines}", *strange]
        strict = f"strict decoding error: {', '.join(found)}"
        if patched:
            raise BadRequest(strict)
        kind = schema.gvk or GroupVersionKind("", "v1", schema.name)
        raise BadRequest(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {strict}'
        )
    return tuple(found)


def _outside(duplicates: Sequence[str], unknown: Sequence[str]) -> list[str]:
    """Return the duplicate fields that are neither unknown nor inside an unknown field."""
    paths = set(unknown)
    inside = tuple(f"{path}{sign}" for path in unknown for sign in ".[")
    addresses = (each.removeprefix('duplicate field "').removesuffix('"') for each in duplicates)
    return [
        duplicate
        for duplicate, address in zip(duplicates, addresses, strict=True)
        if address not in paths and not address.startswith(inside)
    ]


def check_type(resource: Resource, body: dict[str, Any]) -> None:
    """Raise BadRequest unless the body has the resource's kind; of a custom resource, its version, else Invalid."""
    if resource.type is None:
        _check_custom_type(resource, body)
    check_kind(resource.kind, body)


def _check_custom_type(resource: Resource, body: dict[str, Any]) -> None:
    """Refuse what the decoder of custom objects lets through: validation finds another kind, after the version."""
    version, kind, expected = body.get("apiVersion"), body.get("kind"), resource.kind
    if not (isinstance(version, str) and isinstance(kind, str)):
        return
    if version != expected.api_version:
        raise other_version(version, expected)
    if kind and kind != expected.kind:
        metadata = metadata_of(body, expected, custom=True)
        cause = causes.invalid("kind", kind, f"must be {expected.kind}")
        raise causes.invalid_object(kind, resource.group, str(metadata.get("name") or ""), [cause])


def check_kind(expected: GroupVersionKind, body: dict[str, Any]) -> None:
    """Raise BadRequest for a body of another kind; set the expected kind and apiVersion if it names none."""
    version, kind = body.get("apiVersion"), body.get("kind")
    for name, value in (("apiVersion", version), ("kind", kind)):
        if not isinstance(value, str | None):
            raise BadRequest(
                "couldn't get version/kind; json parse error: json: cannot unmarshal "
                f"{value_name(value)} into Go struct field .{name} of type string"
            )
    if kind and kind != expected.kind:
        raise BadRequest(
            f'{kind} in version "{(version or "").rpartition("/")[2]}" cannot be handled as a '
            f"{expected.kind}: converting ({version}, Kind={kind}) to "
            f"({expected.api_version}, Kind={expected.kind}): unknown conversion"
        )
    if version and version != expected.api_version:
        raise other_version(version, expected)
    body["kind"], body["apiVersion"] = expected.kind, expected.api_version


def other_version(version: str, expected: GroupVersionKind) -> BadRequest:
    """Return the error for a body of another version than its path."""
    return BadRequest(
        f"the API version in the data ({version}) does not match the expected API version "
        f"({expected.api_version})"
    )


def check_namespace(target: Target, metadata: dict[str, Any]) -> None:
    """Set the namespace of the path in the metadata; raises BadRequest if the body names another one."""
    if not target.resource.namespaced:
        metadata.pop("namespace", None)  # as Kubernetes does, since chart templates often set one
        return
    if not target.namespace:
        raise BadRequest("an empty namespace may not be set during creation")
    namespace = metadata.get("namespace") or target.namespace
    if namespace != target.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = namespace


_TWO_OWNERS = (
    ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in "
    "1.20+, and may reject such requests as early as 1.24; please fix your requests; "
    "duplicate UID(s) observed: {uids}"
)


def owners_once(metadata: dict[str, Any], *, patched: bool) -> tuple[str, ...]:
    """Drop duplicate owner references, and return a warning if there were any.

    `patched` changes the wording only: Kubernetes checks a patch after mutating admission and says so.
    """
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) == 1:
        return ()
    seen: dict[bytes, Any] = {}
    duplicates = [
        owner.get("uid", "")
        for owner in owners
        if seen.setdefault(encode(dict(sorted(owner.items()))), owner) is not owner
    ]
    if not duplicates:
        return ()
    metadata["ownerReferences"] = list(seen.values())
    when = " after mutating admission happens" if patched else ""
    return (_TWO_OWNERS.format(when=when, uids=", ".join(duplicates)),)


def object_revision(metadata: dict[str, Any]) -> int:
    """Return the revision that a write is based on; 0, as for an absent version, means any.

    Raises PlainError for a text that is no unsigned 64-bit number, worded as Go words it.
    """
    try:
        return unsigned(metadata.get("resourceVersion") or "")
    except ValueError as error:
        raise PlainError(str(error)) from None


def check_key(resource: Resource, metadata: dict[str, Any]) -> None:
    """Raise Invalid unless name and namespace are valid path segments, which the store key relies on."""
    name, found = metadata.get("name", ""), []
    if not name:
        found.append(causes.required("metadata.name", "name or generateName is required"))
    found += causes.findings("metadata.name", name, names.path_segment(name))
    namespace = metadata.get("namespace", "")
    found += causes.findings("metadata.namespace", namespace, names.path_segment(namespace))
    if found:
        raise causes.invalid_object(resource.kind.kind, resource.group, name, found)


def check_name(target: Target, metadata: dict[str, Any]) -> None:
    """Set the name of the path in the metadata; raises BadRequest if the body has another one."""
    name = metadata.get("name") or target.name
    if name != target.name:
        raise BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    metadata["name"] = name


def carry_over(metadata: dict[str, Any], old: dict[str, Any]) -> None:
    """Copy from `old` the metadata that no update can change."""
    for name in (
        "uid",
        "creationTimestamp",
        "generation",
    ):
        if name in old:
            metadata[name] = old[name]
        else:
            metadata.pop(name, None)
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds"):  # to set one is refused later
        if name in old:
            metadata[name] = old[name]
    metadata.pop("selfLink", None)
    metadata.setdefault("name", old["name"])
