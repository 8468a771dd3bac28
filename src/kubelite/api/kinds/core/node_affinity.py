"""Terms that select nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import NODE_SELECTOR_OPERATORS
from kubelite.api.kinds.model import ATOMIC, REQUIRED, Int32, Model


class NodeSelectorRequirement(Model):
    """What a label or field of a node must be like."""

    key: Annotated[str, REQUIRED] = ""
    operator: Annotated[str, REQUIRED, NODE_SELECTOR_OPERATORS] = ""
    values: Annotated[list[str], ATOMIC] = []


class NodeSelectorTerm(Model):
    """Requirements of which a node must meet all."""

    map_type: ClassVar = "atomic"

    matchExpressions: Annotated[list[NodeSelectorRequirement], ATOMIC] = []
    matchFields: Annotated[list[NodeSelectorRequirement], ATOMIC] = []


class PreferredSchedulingTerm(Model):
    """Nodes that are preferred, and by how much."""

    preference: Annotated[NodeSelectorTerm, REQUIRED] = NodeSelectorTerm()
    weight: Annotated[Int32, REQUIRED] = 0


class NodeSelector(Model):
    """Terms of which a node must meet one."""

    map_type: ClassVar = "atomic"

    nodeSelectorTerms: Annotated[list[NodeSelectorTerm], REQUIRED, ATOMIC] = []


class NodeAffinity(Model):
    """Nodes a pod must or should run on."""

    preferredDuringSchedulingIgnoredDuringExecution: Annotated[
        list[PreferredSchedulingTerm], ATOMIC
    ] = []
    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None


class TopologySelectorLabelRequirement(Model):
    """Values a topology label may have."""

    key: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], REQUIRED, ATOMIC] = []


class TopologySelectorTerm(Model):
    """Requirements on topology labels, all of which must be met."""

    map_type: ClassVar = "atomic"

    matchLabelExpressions: Annotated[list[TopologySelectorLabelRequirement], ATOMIC] = []


class VolumeNodeAffinity(Model):
    """Nodes from which a volume can be reached."""

    required: NodeSelector | None = None
