"""References into other namespaces, which ReferenceGrants there permit. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from kubelite.ingress.gateway_objects import GROUP, ReferenceGrant


class Reference(Struct, frozen=True):
    """A reference of an object of the Gateway API to another object."""

    kind: str
    namespace: str
    to_group: str
    to_kind: str
    to_namespace: str
    to_name: str


def is_granted(wanted: Reference, grants: Iterable[ReferenceGrant]) -> bool:
    """Return whether a reference is permitted; one inside a namespace always is."""
    if wanted.namespace == wanted.to_namespace:
        return True
    return any(
        grant.metadata.namespace == wanted.to_namespace
        and not grant.metadata.deletion_timestamp
        and any(
            (one.group, one.kind, one.namespace) == (GROUP, wanted.kind, wanted.namespace)
            for one in grant.spec.from_
        )
        and any(
            (one.group, one.kind) == (wanted.to_group, wanted.to_kind)
            and one.name in ("", wanted.to_name)
            for one in grant.spec.to
        )
        for grant in grants
    )
