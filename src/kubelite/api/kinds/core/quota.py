"""Limit ranges and resource quotas."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import QUOTA_SCOPES, SCOPE_OPERATORS
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Kind,
    Model,
    NilList,
    Quantity,
)


class LimitRangeItem(Model):
    """Bounds and defaults for containers, pods or claims."""

    type: Annotated[str, REQUIRED] = ""
    default: dict[str, Quantity] = {}
    defaultRequest: dict[str, Quantity] = {}
    max: dict[str, Quantity] = {}
    maxLimitRequestRatio: dict[str, Quantity] = {}
    min: dict[str, Quantity] = {}


class LimitRangeSpec(Model):
    """What is wanted of a limit range."""

    limits: Annotated[NilList[LimitRangeItem], REQUIRED, ATOMIC] = []


class LimitRange(Kind):
    """Bounds and defaults of resources for what is made in a namespace."""

    gvk: ClassVar = GroupVersionKind("", "v1", "LimitRange")

    metadata: ObjectMeta = ObjectMeta()
    spec: LimitRangeSpec = LimitRangeSpec()


class LimitRangeList(Kind):
    """A list of limit ranges."""

    gvk: ClassVar = GroupVersionKind("", "v1", "LimitRangeList")

    items: Annotated[list[LimitRange], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ScopedResourceSelectorRequirement(Model):
    """What a scope's value must be like."""

    operator: Annotated[str, REQUIRED, SCOPE_OPERATORS] = ""
    scopeName: Annotated[str, REQUIRED, QUOTA_SCOPES] = ""
    values: Annotated[list[str], ATOMIC] = []


class ScopeSelector(Model):
    """Which objects a quota counts, by scope."""

    map_type: ClassVar = "atomic"

    matchExpressions: Annotated[list[ScopedResourceSelectorRequirement], ATOMIC] = []


class ResourceQuotaSpec(Model):
    """What is wanted of a resource quota."""

    hard: dict[str, Quantity] = {}
    scopeSelector: ScopeSelector | None = None
    scopes: Annotated[list[Annotated[str, QUOTA_SCOPES]], ATOMIC] = []


class ResourceQuotaStatus(Model):
    """What was last observed of a resource quota."""

    hard: dict[str, Quantity] = {}
    used: dict[str, Quantity] = {}


class ResourceQuota(Kind):
    """How much a namespace may use in all."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ResourceQuota")

    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class ResourceQuotaList(Kind):
    """A list of resource quotas."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ResourceQuotaList")

    items: Annotated[list[ResourceQuota], REQUIRED] = []
    metadata: ListMeta = ListMeta()
