"""Reads what another API server says of its resources, in both forms, and encodes it for the aggregated form.

Only the known fields are read, so that what a hostile server adds costs nothing and reaches no client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

from kubelite.api.errors import RequestEntityTooLarge
from kubelite.api.http.negotiation import JSON, parse_accept
from kubelite.api.machinery.document_size import check_json
from kubelite.limits import AGGREGATED_DISCOVERY

GROUP, FORM, VERSIONS = "apidiscovery.k8s.io", "APIGroupDiscoveryList", ("v2", "v2beta1")
ACCEPT = ",".join(f"{JSON};g={GROUP};v={version};as={FORM}" for version in VERSIONS)
CLUSTER, NAMESPACED = "Cluster", "Namespaced"
CURRENT, STALE = "Current", "Stale"

GroupVersion = tuple[str, str]
Decoded = TypeVar("Decoded")


class Unreadable(Exception):
    """A document is no discovery document; the message says why."""


class Kind(Struct, frozen=True):
    """A group, version and kind."""

    group: str = ""
    version: str = ""
    kind: str = ""


NO_KIND = Kind()  # in the place of a missing one: old clients stop at null


class Subresource(Struct, rename="camel"):
    """A subresource in the aggregated form."""

    subresource: str = ""
    response_kind: Kind | None = None
    accepted_types: list[Kind] | None = None
    verbs: list[str] | None = None


class Resource(Struct, rename="camel"):
    """A resource in the aggregated form."""

    resource: str = ""
    response_kind: Kind | None = None
    scope: str = ""
    singular_resource: str = ""
    verbs: list[str] | None = None
    short_names: list[str] | None = None
    categories: list[str] | None = None
    subresources: list[Subresource] | None = None


class _Version(Struct):
    version: str = ""
    resources: list[Resource] | None = None


class _Metadata(Struct):
    name: str = ""


class _Group(Struct):
    metadata: _Metadata | None = None
    versions: list[_Version] | None = None


class _GroupList(Struct):
    items: list[_Group] | None = None


class LegacyResource(Struct, rename="camel"):
    """A resource or subresource in the legacy form."""

    name: str = ""
    singular_name: str = ""
    namespaced: bool = False
    group: str = ""
    version: str = ""
    kind: str = ""
    verbs: list[str] | None = None
    short_names: list[str] | None = None
    categories: list[str] | None = None


class _ResourceList(Struct):
    resources: list[LegacyResource] | None = None


_AGGREGATED = msgspec.json.Decoder(_GroupList)
_LEGACY = msgspec.json.Decoder(_ResourceList)


def is_aggregated(content_type: str) -> bool:
    """Return whether a Content-Type is that of the aggregated form."""
    return any(
        media_type == JSON
        and parameters.get("g") == GROUP
        and parameters.get("v") in VERSIONS
        and parameters.get("as") == FORM
        for media_type, parameters in parse_accept(content_type)
    )


def read_aggregated(body: bytes, wanted: Iterable[GroupVersion]) -> dict[GroupVersion, bytes]:
    """Return the encoded entries of the wanted group versions, without braces around. Raises Unreadable."""
    found: dict[GroupVersion, bytes] = {}
    chosen = frozenset(wanted)
    for group in _decoded(_AGGREGATED, body).items or ():
        name = group.metadata.name if group.metadata is not None else ""
        for version in group.versions or ():
            if (name, version.version) in chosen:
                found[name, version.version] = entry(version.version, version.resources or ())
    return found


def read_legacy(body: bytes, version: str) -> bytes:
    """Return the encoded entry of a version from its APIResourceList. Raises Unreadable."""
    return entry(version, converted(_decoded(_LEGACY, body).resources or ()))


def _decoded(decoder: msgspec.json.Decoder[Decoded], body: bytes) -> Decoded:
    try:
        check_json(body)
        return decoder.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError, RequestEntityTooLarge) as error:
        raise Unreadable(str(error)) from error


def converted(listed: Iterable[LegacyResource]) -> list[Resource]:
    """Convert the legacy form; a subresource without its resource gets one. Raises Unreadable."""
    resources: dict[str, Resource] = {}
    below = []
    for each in listed:
        if "/" in each.name:
            below.append(each)
            continue
        resources[each.name] = Resource(
            resource=each.name,
            response_kind=Kind(each.group, each.version, each.kind),
            scope=_scope(each),
            singular_resource=each.singular_name,
            verbs=each.verbs,
            short_names=each.short_names,
            categories=each.categories,
            subresources=[],
        )
    for each in below:
        name, _, subresource = each.name.partition("/")
        parent = resources.setdefault(
            name, Resource(resource=name, scope=_scope(each), subresources=[])
        )
        if parent.scope != _scope(each):
            raise Unreadable(
                f"Error: Parent {name} (scope: {parent.scope}) and subresource {subresource} "
                f"(scope: {_scope(each)}) scope do not match"
            )
        kind = Kind(each.group, each.version, each.kind) if each.kind else NO_KIND
        assert parent.subresources is not None, "each is made with a list"
        parent.subresources.append(Subresource(subresource, kind, None, each.verbs))
    return list(resources.values())


def _scope(listed: LegacyResource) -> str:
    return NAMESPACED if listed.namespaced else CLUSTER


def entry(version: str, resources: Iterable[Resource], freshness: str = CURRENT) -> bytes:
    """Return the encoded entry of a version in the aggregated form. Raises Unreadable if it is too large."""
    shown: dict[str, object] = {"version": version}
    if listed := [_shown(each) for each in resources]:
        shown["resources"] = listed
    made = msgspec.json.encode(shown | {"freshness": freshness})
    if (
        len(made) > AGGREGATED_DISCOVERY.value
    ):  # an empty resource takes 3 bytes, and is shown in 100
        AGGREGATED_DISCOVERY.reached()
        raise Unreadable(f"the resources take more than {AGGREGATED_DISCOVERY.value} bytes")
    return made


def stale(version: str) -> bytes:
    """Return the entry of a version of which nothing is known."""
    return entry(version, (), STALE)


def _shown(resource: Resource) -> dict[str, object]:
    shown: dict[str, object] = {
        "resource": resource.resource,
        "responseKind": resource.response_kind or NO_KIND,
        "scope": resource.scope,
        "singularResource": resource.singular_resource,
        "verbs": resource.verbs or [],
    }
    more: Mapping[str, object] = {
        "shortNames": resource.short_names,
        "categories": resource.categories,
        "subresources": [_shown_below(each) for each in resource.subresources or ()],
    }
    return shown | {name: value for name, value in more.items() if value}


def _shown_below(subresource: Subresource) -> dict[str, object]:
    shown: dict[str, object] = {
        "subresource": subresource.subresource,
        "responseKind": subresource.response_kind or NO_KIND,
        "verbs": subresource.verbs or [],
    }
    if subresource.accepted_types:
        shown["acceptedTypes"] = subresource.accepted_types
    return shown
