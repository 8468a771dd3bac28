"""Endpoint slices."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.core.references import ObjectReference
from kubelite.api.kinds.enums import ADDRESS_TYPES, PROTOCOLS
from kubelite.api.kinds.meta import ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    SET,
    GroupVersionKind,
    Int32,
    Kind,
    Model,
    NilList,
)


class EndpointConditions(Model):
    """Whether an endpoint takes connections, and whether it is on its way out."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForNode(Model):
    """A node that should use an endpoint."""

    name: Annotated[str, REQUIRED] = ""


class ForZone(Model):
    """A zone that should use an endpoint."""

    name: Annotated[str, REQUIRED] = ""


class EndpointHints(Model):
    """Who should use an endpoint to keep traffic near."""

    forNodes: Annotated[list[ForNode], ATOMIC] = []
    forZones: Annotated[list[ForZone], ATOMIC] = []


class Endpoint(Model):
    """One backend of a service: its addresses, state and place."""

    addresses: Annotated[list[str], REQUIRED, SET] = []
    conditions: EndpointConditions = EndpointConditions()
    deprecatedTopology: dict[str, str] = {}
    hints: EndpointHints | None = None
    hostname: str | None = None
    nodeName: str | None = None
    targetRef: ObjectReference | None = None
    zone: str | None = None


class EndpointPort(Model):
    """A port all endpoints of a slice listen on."""

    map_type: ClassVar = "atomic"

    appProtocol: str | None = None
    name: str | None = None
    port: Int32 | None = None
    protocol: Annotated[str | None, PROTOCOLS] = None


class EndpointSlice(Kind):
    """Some of the backends of a service."""

    gvk: ClassVar = GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice")

    addressType: Annotated[str, REQUIRED, ADDRESS_TYPES] = ""
    metadata: ObjectMeta = ObjectMeta()
    endpoints: Annotated[NilList[Endpoint], ATOMIC] = []
    ports: Annotated[NilList[EndpointPort], ATOMIC] = []


class EndpointSliceList(Kind):
    """A list of endpoint slices."""

    gvk: ClassVar = GroupVersionKind("discovery.k8s.io", "v1", "EndpointSliceList")

    items: Annotated[list[EndpointSlice], REQUIRED] = []
    metadata: ListMeta = ListMeta()
