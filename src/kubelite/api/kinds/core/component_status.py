"""The deprecated component statuses."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, GroupVersionKind, Kind, Model, list_map, merge_by


class ComponentCondition(Model):
    """ComponentCondition."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    error: str = ""
    message: str = ""


class ComponentStatus(Kind):
    """ComponentStatus."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ComponentStatus")

    metadata: ObjectMeta = ObjectMeta()
    conditions: Annotated[list[ComponentCondition], list_map("type"), merge_by("type")] = []


class ComponentStatusList(Kind):
    """ComponentStatusList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ComponentStatusList")

    items: Annotated[list[ComponentStatus], REQUIRED] = []
    metadata: ListMeta = ListMeta()
