"""Service accounts."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.references import LocalObjectReference, ObjectReference
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import ATOMIC, REQUIRED, GroupVersionKind, Kind, list_map, merge_by


class ServiceAccount(Kind):
    """An identity for what runs in pods."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ServiceAccount")

    metadata: ObjectMeta = ObjectMeta()
    automountServiceAccountToken: bool | None = None
    imagePullSecrets: Annotated[list[LocalObjectReference], ATOMIC] = []
    secrets: Annotated[list[ObjectReference], list_map("name"), merge_by("name")] = []


class ServiceAccountList(Kind):
    """A list of service accounts."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ServiceAccountList")

    items: Annotated[list[ServiceAccount], REQUIRED] = []
    metadata: ListMeta = ListMeta()
