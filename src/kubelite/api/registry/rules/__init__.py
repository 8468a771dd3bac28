"""Validation of objects by the table of rules of their kind."""

from collections.abc import Sequence

from kubelite.api.errors import Cause, Invalid
from kubelite.api.machinery import causes, names
from kubelite.api.registry.resources import Resource
from kubelite.api.registry.rules.metadata import finalizer_names, metadata, metadata_update
from kubelite.api.registry.rules.table import RULES, Rules
from kubelite.api.registry.rules.values import JSON, Out
from kubelite.api.registry.rules.warnings import warn

_NO_RULES = Rules(name=names.path_segment)  # roles and others have names such as system:node
# Kubernetes accepts any finalizer of these groups and of custom resources.
_FREE_FINALIZERS = frozenset(
    ("admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io")
)
_OWN = frozenset(("", "finalize"))  # subresources whose writes change an object's own fields


def validate(
    resource: Resource, thing: JSON, old: JSON | None, subresource: str = ""
) -> Sequence[Cause]:
    """Return the causes why an object is invalid; `old` is the object it replaces, None for a create.

    Validation stops at the largest number of causes in one answer; the last cause then says so.
    """
    out = Out()
    try:
        _validate(out, resource, thing, old, subresource)
    except causes.TooManyCauses as error:
        return causes.bounded((*out, *error.found, causes.unchecked()))
    return out


def _validate(
    out: Out, resource: Resource, thing: JSON, old: JSON | None, subresource: str
) -> None:
    kind = resource.kind
    rules = RULES.get((kind.group, kind.kind), _NO_RULES)
    metadata(out, thing, rules.name, namespaced=resource.namespaced)
    if resource.type is not None and kind.group not in _FREE_FINALIZERS:
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


def invalid(kind: str, group: str, name: str, found: Sequence[Cause]) -> Invalid:
    """Return the Invalid (422) error with all causes."""
    return causes.invalid_object(kind, group, name, found)


__all__ = ["RULES", "Rules", "invalid", "validate", "warn"]
