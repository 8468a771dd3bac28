"""Validation of objects by the rules of their row, and the warnings about valid ones."""

from collections.abc import Iterable, Sequence
from itertools import islice

from kubelite.api.errors import Cause
from kubelite.api.machinery import causes
from kubelite.api.machinery.shaping.shape import Inspection
from kubelite.api.registry.resource import Resource
from kubelite.api.registry.rules.metadata import finalizer_names, metadata, metadata_update
from kubelite.api.registry.rules.values import JSON, Out
from kubelite.limits import OBJECT_WARNINGS

# Kubernetes accepts any finalizer of these groups and of custom resources.
_FREE_FINALIZERS = frozenset(
    ("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io")
)
_OWN = frozenset(("", "finalize"))  # subresources whose writes change an object's own fields


def validate(
    resource: Resource,
    thing: JSON,
    old: JSON | None,
    subresource: str = "",
    inspection: Inspection | None = None,
) -> Sequence[Cause]:
    """Return the causes why an object is invalid; `old` is the object it replaces, None for a create.

    Validation stops at the largest number of causes in one answer; the last cause then says so. Raises TooPatient.
    """
    out = Out()
    try:
        if resource.type is not None or not _mistyped(out, resource, thing):
            _validate(out, resource, thing, old, subresource, inspection)
    except causes.TooManyCauses as error:
        return causes.bounded((*out, *error.found, causes.unchecked()))
    return out


def _validate(
    out: Out,
    resource: Resource,
    thing: JSON,
    old: JSON | None,
    subresource: str,
    inspection: Inspection | None,
) -> None:
    rules = resource.rules
    metadata(out, thing, rules.name, namespaced=resource.namespaced)
    out.extend(resource.shape.causes(thing, old, subresource, inspection))
    for each in resource.subresources.values():
        if each.projection is not None:
            out.extend(each.projection.causes(thing, of_status=subresource == "status"))
    if resource.type is not None and resource.group not in _FREE_FINALIZERS:
        finalizer_names(out, thing, old)
    if old is None:
        if rules.validate is not None:
            out.extend(rules.validate(thing))
        return
    metadata_update(out, thing, old)
    if subresource in rules.subresources:
        out.extend(rules.subresources[subresource](thing, old))
    elif subresource == "status":
        if rules.validate_status_update is not None:
            out.extend(rules.validate_status_update(thing, old))
    elif subresource in _OWN:
        if rules.validate_update is not None:
            out.extend(rules.validate_update(thing, old))
        elif rules.validate is not None:
            out.extend(rules.validate(thing))


def _mistyped(out: Out, resource: Resource, thing: JSON) -> bool:
    """Return whether a custom object names another type, as admission may make it; nothing else is told of it then."""
    kind = resource.kind
    for field, wanted in (("kind", kind.kind), ("apiVersion", kind.api_version)):
        if thing.get(field, wanted) != wanted:
            out.append(causes.invalid(field, thing[field], f"must be {wanted}"))
    return bool(out)


def warn(
    resource: Resource, thing: JSON, old: JSON | None, subresource: str = ""
) -> tuple[str, ...]:
    """Return the warnings about a valid object; `old` is the object it replaces, None for a create."""
    rules = resource.warnings
    found: Iterable[str] = ()
    if old is None:
        if rules.create is not None:
            found = rules.create(thing)
    elif subresource == "status":
        if rules.status is not None:
            found = rules.status(thing, old)
    elif rules.update is not None:
        found = rules.update(thing, old)
    told = tuple(islice(found, OBJECT_WARNINGS.value))
    if len(told) == OBJECT_WARNINGS.value:
        OBJECT_WARNINGS.reached()
    return told
