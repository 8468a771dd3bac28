"""Namespaces."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Kind,
    Model,
    Time,
    list_map,
    merge_by,
)


class NamespaceSpec(Model):
    """NamespaceSpec."""

    finalizers: Annotated[list[str], ATOMIC] = []


class NamespaceCondition(Model):
    """NamespaceCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class NamespaceStatus(Model):
    """NamespaceStatus."""

    conditions: Annotated[list[NamespaceCondition], list_map("type"), merge_by("type")] = []
    phase: str = ""


class Namespace(Kind):
    """Namespace."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Namespace")

    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class NamespaceList(Kind):
    """NamespaceList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "NamespaceList")

    items: Annotated[list[Namespace], REQUIRED] = []
    metadata: ListMeta = ListMeta()
