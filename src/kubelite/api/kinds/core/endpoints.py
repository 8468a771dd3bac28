"""Endpoints, the older form of endpoint slices."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import ATOMIC, REQUIRED, GroupVersionKind, Int32, Kind, Model


class EndpointAddress(Model):
    """EndpointAddress."""

    ip: Annotated[str, REQUIRED] = ""
    hostname: str = ""
    nodeName: str | None = None
    targetRef: ObjectReference | None = None


class EndpointPort(Model):
    """EndpointPort."""

    port: Annotated[Int32, REQUIRED] = 0
    appProtocol: str | None = None
    name: str = ""
    protocol: str = ""


class EndpointSubset(Model):
    """EndpointSubset."""

    addresses: Annotated[list[EndpointAddress], ATOMIC] = []
    notReadyAddresses: Annotated[list[EndpointAddress], ATOMIC] = []
    ports: Annotated[list[EndpointPort], ATOMIC] = []


class Endpoints(Kind):
    """Endpoints."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Endpoints")

    metadata: ObjectMeta = ObjectMeta()
    subsets: Annotated[list[EndpointSubset], ATOMIC] = []


class EndpointsList(Kind):
    """EndpointsList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "EndpointsList")

    items: Annotated[list[Endpoints], REQUIRED] = []
    metadata: ListMeta = ListMeta()
