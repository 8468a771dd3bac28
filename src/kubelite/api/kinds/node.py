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
    """Overhead."""

    podFixed: dict[str, Quantity] = {}


class Scheduling(Model):
    """Scheduling."""

    nodeSelector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    tolerations: Annotated[list[Toleration], ATOMIC] = []


class RuntimeClass(Kind):
    """RuntimeClass."""

    gvk: ClassVar = GroupVersionKind("node.k8s.io", "v1", "RuntimeClass")

    handler: Annotated[str, REQUIRED] = ""
    metadata: ObjectMeta = ObjectMeta()
    overhead: Overhead | None = None
    scheduling: Scheduling | None = None


class RuntimeClassList(Kind):
    """RuntimeClassList."""

    gvk: ClassVar = GroupVersionKind("node.k8s.io", "v1", "RuntimeClassList")

    items: Annotated[list[RuntimeClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()
