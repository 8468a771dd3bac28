"""Turns the body of a request into an object of its kind that fits the path it was sent to."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.errors import BadRequest
from kubelite.api.kinds.model import GroupVersionKind
from kubelite.api.machinery import causes, names
from kubelite.api.machinery.defaulting import default
from kubelite.api.machinery.mismatch import value_name
from kubelite.api.machinery.schema import Schema
from kubelite.api.machinery.structural import structure
from kubelite.api.registry.objects import encode
from kubelite.api.registry.options import WriteOptions
from kubelite.api.registry.reading import REVISION_DIGITS_MAX, REVISION_MAX
from kubelite.api.registry.resources import Resource
from kubelite.api.registry.target import Target

STRICT = "Strict"


def metadata_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a body, made if absent; raises BadRequest."""
    metadata = body.get("metadata")
    if metadata is None:
        metadata = body["metadata"] = {}
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    return metadata


def shape(
    schema: Schema, body: dict[str, Any], options: WriteOptions, *, patched: bool = False
) -> tuple[str, ...]:
    """Shape a body by its schema, fill in its defaults, and return warnings; `patched` as in `findings`.

    Raises BadRequest for values of a wrong type, and, where validation is strict, for unknown or duplicate fields.
    """
    unknown = structure(schema, body)
    if schema.gvk is not None:
        default(schema.gvk, body)
    return findings(schema, unknown, options, patched=patched)


def shape_status(schema: Schema, item: dict[str, Any]) -> None:
    """Give the status, which a strategy has just set, the fields that are always written."""
    node = schema.fields.get("status")
    if node is not None and node.type == "object" and (node.always or "status" in item):
        structure(node, item.setdefault("status", {}))


def findings(
    schema: Schema, unknown: Sequence[str], options: WriteOptions, *, patched: bool = False
) -> tuple[str, ...]:
    """Return unknown and duplicate fields as warnings; raises BadRequest where validation is strict.

    Clients compare the words in their order: a patch, like YAML, is searched for duplicates before anything is known
    of its kind; of a whole object in JSON only known fields count as duplicates, and they come last.
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
    """Leave out the fields standing twice that are unknown, or in one that is."""
    paths = set(unknown)
    inside = tuple(f"{path}{sign}" for path in unknown for sign in ".[")
    addresses = (each.removeprefix('duplicate field "').removesuffix('"') for each in duplicates)
    return [
        duplicate
        for duplicate, address in zip(duplicates, addresses, strict=True)
        if address not in paths and not address.startswith(inside)
    ]


def check_type(resource: Resource, body: dict[str, Any]) -> None:
    """Refuse a body of another kind than the resource's."""
    check_kind(resource.kind, body)


def check_kind(expected: GroupVersionKind, body: dict[str, Any]) -> None:
    """Refuse a body of another kind; one that does not say is taken for what the path says."""
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
        raise BadRequest(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({expected.api_version})"
        )
    body["kind"], body["apiVersion"] = expected.kind, expected.api_version


def check_namespace(target: Target, metadata: dict[str, Any]) -> None:
    """Make the namespaces of path and body agree; raises BadRequest."""
    if not target.resource.namespaced:
        metadata.pop("namespace", None)  # as Kubernetes does; templates of charts often carry one
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
    """Drop owner references that stand twice, and return a warning if there were any.

    `patched` is of the words alone: upstream finds those of a patch only after mutating admission.
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
    """Return the revision that a write is based on; 0, like none, stands for whatever is there.

    Raises BadRequest for a text that is no unsigned number of 64 bits, worded as Go words it.
    """
    text = metadata.get("resourceVersion") or ""
    if not text:
        return 0
    wrong = "invalid syntax"
    if text.isascii() and text.isdigit():
        digits = text.lstrip("0") or "0"
        if len(digits) <= REVISION_DIGITS_MAX and int(digits) <= REVISION_MAX:
            return int(digits)
        wrong = "value out of range"
    raise BadRequest(f"strconv.ParseUint: parsing {causes.shown(text)}: {wrong}")


def check_key(resource: Resource, metadata: dict[str, Any]) -> None:
    """Refuse a name that cannot stand in a path, whatever else the rules of the kind say; raises Invalid."""
    name, found = metadata.get("name", ""), []
    if not name:
        found.append(causes.required("metadata.name", "name or generateName is required"))
    found += causes.findings("metadata.name", name, names.path_segment(name))
    namespace = metadata.get("namespace", "")
    found += causes.findings("metadata.namespace", namespace, names.path_segment(namespace))
    if found:
        raise causes.invalid_object(resource.kind.kind, resource.group, name, found)


def check_name(target: Target, metadata: dict[str, Any]) -> None:
    """Make the names of path and body agree; raises BadRequest."""
    name = metadata.get("name") or target.name
    if name != target.name:
        raise BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({target.name})"
        )
    metadata["name"] = name


def carry_over(metadata: dict[str, Any], old: dict[str, Any]) -> None:
    """Keep what no update changes."""
    for name in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
    ):
        if name in old:
            metadata[name] = old[name]
        else:
            metadata.pop(name, None)
    metadata.pop("selfLink", None)
    metadata.setdefault("name", old["name"])
