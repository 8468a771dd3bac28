"""Limit ranges and resource quotas."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import ATOMIC, REQUIRED, GroupVersionKind, Kind, Model, Quantity


class LimitRangeItem(Model):
    """LimitRangeItem."""

    type: Annotated[str, REQUIRED] = ""
    default: dict[str, Quantity] = {}
    defaultRequest: dict[str, Quantity] = {}
    max: dict[str, Quantity] = {}
    maxLimitRequestRatio: dict[str, Quantity] = {}
    min: dict[str, Quantity] = {}


class LimitRangeSpec(Model):
    """LimitRangeSpec."""

    limits: Annotated[list[LimitRangeItem], REQUIRED, ATOMIC] = []


class LimitRange(Kind):
    """LimitRange."""

    gvk: ClassVar = GroupVersionKind("", "v1", "LimitRange")

    metadata: ObjectMeta = ObjectMeta()
    spec: LimitRangeSpec = LimitRangeSpec()


class LimitRangeList(Kind):
    """LimitRangeList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "LimitRangeList")

    items: Annotated[list[LimitRange], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ScopedResourceSelectorRequirement(Model):
    """ScopedResourceSelectorRequirement."""

    operator: Annotated[str, REQUIRED] = ""
    scopeName: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], ATOMIC] = []


class ScopeSelector(Model):
    """ScopeSelector."""

    matchExpressions: Annotated[list[ScopedResourceSelectorRequirement], ATOMIC] = []


class ResourceQuotaSpec(Model):
    """ResourceQuotaSpec."""

    hard: dict[str, Quantity] = {}
    scopeSelector: ScopeSelector | None = None
    scopes: Annotated[list[str], ATOMIC] = []


class ResourceQuotaStatus(Model):
    """ResourceQuotaStatus."""

    hard: dict[str, Quantity] = {}
    used: dict[str, Quantity] = {}


class ResourceQuota(Kind):
    """ResourceQuota."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ResourceQuota")

    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()


class ResourceQuotaList(Kind):
    """ResourceQuotaList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ResourceQuotaList")

    items: Annotated[list[ResourceQuota], REQUIRED] = []
    metadata: ListMeta = ListMeta()
