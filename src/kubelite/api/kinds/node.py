"""Runtime classes."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.scheduling import Toleration
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    ATOMIC_MAP,
    REQUIRED,
    GroupVersionKind,
    Kind,
    Model,
    Quantity,
)


class Overhead(Model):
    """What a pod costs beyond its containers."""

    podFixed: dict[str, Quantity] = {}


class Scheduling(Model):
    """Nodes that can run a runtime class."""

    nodeSelector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    tolerations: Annotated[list[Toleration], ATOMIC] = []


class RuntimeClass(Kind):
    """A way to run containers, chosen per pod."""

    gvk: ClassVar = GroupVersionKind("node.k8s.io", "v1", "RuntimeClass")

    handler: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None


class RuntimeClassList(Kind):
    """A list of runtime classes."""

    gvk: ClassVar = GroupVersionKind("node.k8s.io", "v1", "RuntimeClassList")

    items: Annotated[list[RuntimeClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()
