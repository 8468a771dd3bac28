"""Priority classes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import PREEMPTION_POLICIES
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import ALWAYS, REQUIRED, GroupVersionKind, Int32, Kind


class PriorityClass(Kind):
    """A name for a pod priority."""

    gvk: ClassVar = GroupVersionKind("scheduling.k8s.io", "v1", "PriorityClass")

    metadata: ObjectMeta = ObjectMeta()
    description: str = ""
    globalDefault: bool = False
    preemptionPolicy: Annotated[str | None, PREEMPTION_POLICIES] = None
    value: Annotated[Int32, ALWAYS] = 0


class PriorityClassList(Kind):
    """A list of priority classes."""

    gvk: ClassVar = GroupVersionKind("scheduling.k8s.io", "v1", "PriorityClassList")

    items: Annotated[list[PriorityClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()
