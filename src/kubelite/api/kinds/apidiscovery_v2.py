"""Aggregated discovery: all groups, versions and resources in one document."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import GroupVersionKind as WireGroupVersionKind
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Kind,
    Model,
    list_map,
)


class APISubresourceDiscovery(Model):
    """A subresource and what may be done with it."""

    subresource: Annotated[str, REQUIRED] = ""
    responseKind: WireGroupVersionKind | None = None
    acceptedTypes: Annotated[list[WireGroupVersionKind], list_map("group", "version", "kind")] = []
    verbs: Annotated[list[str], REQUIRED, SET] = []


class APIResourceDiscovery(Model):
    """A resource and what may be done with it."""

    resource: Annotated[str, REQUIRED] = ""
    responseKind: WireGroupVersionKind | None = None
    scope: Annotated[str, REQUIRED] = ""
    singularResource: Annotated[str, REQUIRED] = ""
    verbs: Annotated[list[str], REQUIRED, SET] = []
    shortNames: Annotated[list[str], SET] = []
    categories: Annotated[list[str], SET] = []
    subresources: Annotated[list[APISubresourceDiscovery], list_map("subresource")] = []


class APIVersionDiscovery(Model):
    """The resources of one version of a group."""

    version: Annotated[str, REQUIRED] = ""
    resources: Annotated[list[APIResourceDiscovery], list_map("resource")] = []
    freshness: str = ""


class APIGroupDiscovery(Kind):
    """One group with its versions, the preferred one first."""

    gvk: ClassVar = GroupVersionKind("apidiscovery.k8s.io", "v2", "APIGroupDiscovery")

    metadata: ObjectMeta = ObjectMeta()
    versions: Annotated[list[APIVersionDiscovery], ATOMIC] = []


class APIGroupDiscoveryList(Kind):
    """All groups."""

    gvk: ClassVar = GroupVersionKind("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")

    metadata: ListMeta = ListMeta()
    items: Annotated[list[APIGroupDiscovery], REQUIRED] = []
