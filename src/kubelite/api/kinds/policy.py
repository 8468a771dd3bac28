"""Disruption budgets and evictions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import EVICTION_POLICIES
from kubelite.api.kinds.meta import Condition, DeleteOptions, LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ALWAYS,
    REQUIRED,
    GroupVersionKind,
    Int32,
    Int64,
    IntOrString,
    Kind,
    Model,
    Note,
    Time,
    list_map,
    merge_by,
)


class Eviction(Kind):
    """Asks a pod to go, as far as disruption budgets allow."""

    gvk: ClassVar = GroupVersionKind("policy", "v1", "Eviction")

    metadata: ObjectMeta = ObjectMeta()
    deleteOptions: DeleteOptions | None = None


class PodDisruptionBudgetSpec(Model):
    """What is wanted of a pod disruption budget."""

    maxUnavailable: IntOrString | None = None
    minAvailable: IntOrString | None = None
    selector: Annotated[LabelSelector | None, Note(patch_replaces=True)] = None
    unhealthyPodEvictionPolicy: Annotated[str | None, EVICTION_POLICIES] = None


class PodDisruptionBudgetStatus(Model):
    """What was last observed of a pod disruption budget."""

    conditions: Annotated[list[Condition], list_map("type"), merge_by("type")] = []
    currentHealthy: Annotated[Int32, ALWAYS] = 0
    desiredHealthy: Annotated[Int32, ALWAYS] = 0
    disruptedPods: dict[str, Time | None] = {}
    disruptionsAllowed: Annotated[Int32, ALWAYS] = 0
    expectedPods: Annotated[Int32, ALWAYS] = 0
    observedGeneration: Int64 = 0


class PodDisruptionBudget(Kind):
    """How many of some pods may be away at once on purpose."""

    gvk: ClassVar = GroupVersionKind("policy", "v1", "PodDisruptionBudget")

    metadata: ObjectMeta = ObjectMeta()
    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()
    status: PodDisruptionBudgetStatus = PodDisruptionBudgetStatus()


class PodDisruptionBudgetList(Kind):
    """A list of pod disruption budgets."""

    gvk: ClassVar = GroupVersionKind("policy", "v1", "PodDisruptionBudgetList")

    items: Annotated[list[PodDisruptionBudget], REQUIRED] = []
    metadata: ListMeta = ListMeta()
