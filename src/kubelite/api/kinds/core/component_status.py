"""The deprecated component statuses."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, GroupVersionKind, Kind, Model, list_map, merge_by


class ComponentCondition(Model):
    """Whether a component is healthy, and what it said."""

    type: Annotated[str, REQUIRED] = ""
    status: Annotated[str, REQUIRED] = ""
    error: str = ""
    message: str = ""


class ComponentStatus(Kind):
    """The health of a component of the control plane; an old kind."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ComponentStatus")

    metadata: ObjectMeta = ObjectMeta()
    conditions: Annotated[list[ComponentCondition], list_map("type"), merge_by("type")] = []


class ComponentStatusList(Kind):
    """A list of component statuses."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ComponentStatusList")

    items: Annotated[list[ComponentStatus], REQUIRED] = []
    metadata: ListMeta = ListMeta()
