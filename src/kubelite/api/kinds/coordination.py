"""Leases."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import REQUIRED, GroupVersionKind, Int32, Kind, MicroTime, Model


class LeaseSpec(Model):
    """What is wanted of a lease."""

    acquireTime: MicroTime | None = None
    holderIdentity: str | None = None
    leaseDurationSeconds: Int32 | None = None
    leaseTransitions: Int32 | None = None
    preferredHolder: str | None = None
    renewTime: MicroTime | None = None
    strategy: str | None = None


class Lease(Kind):
    """Says who holds something, and how long without being heard of."""

    gvk: ClassVar = GroupVersionKind("coordination.k8s.io", "v1", "Lease")

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class LeaseList(Kind):
    """A list of leases."""

    gvk: ClassVar = GroupVersionKind("coordination.k8s.io", "v1", "LeaseList")

    items: Annotated[list[Lease], REQUIRED] = []
    metadata: ListMeta = ListMeta()
