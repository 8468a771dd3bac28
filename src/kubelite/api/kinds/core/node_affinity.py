"""Terms that select nodes."""

from __future__ import annotations

from typing import Annotated

from kubelite.api.kinds.model import ATOMIC, REQUIRED, Int32, Model


class NodeSelectorRequirement(Model):
    """NodeSelectorRequirement."""

    key: Annotated[str, REQUIRED] = ""
    operator: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], ATOMIC] = []


class NodeSelectorTerm(Model):
    """NodeSelectorTerm."""

    matchExpressions: Annotated[list[NodeSelectorRequirement], ATOMIC] = []
    matchFields: Annotated[list[NodeSelectorRequirement], ATOMIC] = []


class PreferredSchedulingTerm(Model):
    """PreferredSchedulingTerm."""

    preference: Annotated[NodeSelectorTerm, REQUIRED] = NodeSelectorTerm()
    weight: Annotated[Int32, REQUIRED] = 0


class NodeSelector(Model):
    """NodeSelector."""

    nodeSelectorTerms: Annotated[list[NodeSelectorTerm], REQUIRED, ATOMIC] = []


class NodeAffinity(Model):
    """NodeAffinity."""

    preferredDuringSchedulingIgnoredDuringExecution: Annotated[
        list[PreferredSchedulingTerm], ATOMIC
    ] = []
    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None


class TopologySelectorLabelRequirement(Model):
    """TopologySelectorLabelRequirement."""

    key: Annotated[str, REQUIRED] = ""
    values: Annotated[list[str], REQUIRED, ATOMIC] = []


class TopologySelectorTerm(Model):
    """TopologySelectorTerm."""

    matchLabelExpressions: Annotated[list[TopologySelectorLabelRequirement], ATOMIC] = []


class VolumeNodeAffinity(Model):
    """VolumeNodeAffinity."""

    required: NodeSelector | None = None
