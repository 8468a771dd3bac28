"""Namespaces."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import NAMESPACE_PHASES
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
    """What is wanted of a namespace."""

    finalizers: Annotated[list[str], ATOMIC] = []


class NamespaceCondition(Model):
    """One aspect of a namespace's state."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""


class NamespaceStatus(Model):
    """What was last observed of a namespace."""

    conditions: Annotated[list[NamespaceCondition], list_map("type"), merge_by("type")] = []
    phase: Annotated[str, NAMESPACE_PHASES] = ""


class Namespace(Kind):
    """A part of the cluster in which names are unique."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Namespace")

    metadata: ObjectMeta = ObjectMeta()
    spec: NamespaceSpec = NamespaceSpec()
    status: NamespaceStatus = NamespaceStatus()


class NamespaceList(Kind):
    """A list of namespaces."""

    gvk: ClassVar = GroupVersionKind("", "v1", "NamespaceList")

    items: Annotated[list[Namespace], REQUIRED] = []
    metadata: ListMeta = ListMeta()
