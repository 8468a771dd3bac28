"""Endpoints, the older form of endpoint slices."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.enums import PROTOCOLS
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import ATOMIC, REQUIRED, GroupVersionKind, Int32, Kind, Model


class EndpointAddress(Model):
    """An address behind a service, and the pod it belongs to."""

    map_type: ClassVar = "atomic"

    ip: Annotated[str, REQUIRED] = ""
    hostname: str = ""
    nodeName: str | None = None
    targetRef: ObjectReference | None = None


class EndpointPort(Model):
    """A port behind a service."""

    map_type: ClassVar = "atomic"

    port: Annotated[Int32, REQUIRED] = 0
    appProtocol: str | None = None
    name: str = ""
    protocol: Annotated[str, PROTOCOLS] = ""


class EndpointSubset(Model):
    """Addresses that share the same ports."""

    addresses: Annotated[list[EndpointAddress], ATOMIC] = []
    notReadyAddresses: Annotated[list[EndpointAddress], ATOMIC] = []
    ports: Annotated[list[EndpointPort], ATOMIC] = []


class Endpoints(Kind):
    """The addresses behind a service; endpoint slices are the newer form."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Endpoints")

    metadata: ObjectMeta = ObjectMeta()
    subsets: Annotated[list[EndpointSubset], ATOMIC] = []


class EndpointsList(Kind):
    """A list of endpoints."""

    gvk: ClassVar = GroupVersionKind("", "v1", "EndpointsList")

    items: Annotated[list[Endpoints], REQUIRED] = []
    metadata: ListMeta = ListMeta()
