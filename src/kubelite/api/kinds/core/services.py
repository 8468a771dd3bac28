"""Services: a stable address in front of pods."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.meta import Condition, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    ATOMIC_MAP,
    REQUIRED,
    GroupVersionKind,
    Int32,
    IntOrString,
    Kind,
    Model,
    default,
    list_map,
    merge_by,
)


class ClientIPConfig(Model):
    """ClientIPConfig."""

    timeoutSeconds: Int32 | None = None


class PortStatus(Model):
    """PortStatus."""

    port: Annotated[Int32, REQUIRED] = 0
    protocol: Annotated[str, REQUIRED] = ""
    error: str | None = None


class LoadBalancerIngress(Model):
    """LoadBalancerIngress."""

    hostname: str = ""
    ip: str = ""
    ipMode: str | None = None
    ports: Annotated[list[PortStatus], ATOMIC] = []


class LoadBalancerStatus(Model):
    """LoadBalancerStatus."""

    ingress: Annotated[list[LoadBalancerIngress], ATOMIC] = []


class ServicePort(Model):
    """ServicePort."""

    port: Annotated[Int32, REQUIRED] = 0
    appProtocol: str | None = None
    name: str = ""
    nodePort: Int32 = 0
    protocol: Annotated[str, default("TCP")] = ""
    targetPort: IntOrString | None = None


class SessionAffinityConfig(Model):
    """SessionAffinityConfig."""

    clientIP: ClientIPConfig | None = None


class ServiceSpec(Model):
    """ServiceSpec."""

    allocateLoadBalancerNodePorts: bool | None = None
    clusterIP: str = ""
    clusterIPs: Annotated[list[str], ATOMIC] = []
    externalIPs: Annotated[list[str], ATOMIC] = []
    externalName: str = ""
    externalTrafficPolicy: str = ""
    healthCheckNodePort: Int32 = 0
    internalTrafficPolicy: str | None = None
    ipFamilies: Annotated[list[str], ATOMIC] = []
    ipFamilyPolicy: str | None = None
    loadBalancerClass: str | None = None
    loadBalancerIP: str = ""
    loadBalancerSourceRanges: Annotated[list[str], ATOMIC] = []
    ports: Annotated[list[ServicePort], list_map("port", "protocol"), merge_by("port")] = []
    publishNotReadyAddresses: bool = False
    selector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    sessionAffinity: str = ""
    sessionAffinityConfig: SessionAffinityConfig | None = None
    trafficDistribution: str | None = None
    type: str = ""


class ServiceStatus(Model):
    """ServiceStatus."""

    conditions: Annotated[list[Condition], list_map("type"), merge_by("type")] = []
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Kind):
    """Service."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Service")

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ServiceList(Kind):
    """ServiceList."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ServiceList")

    items: Annotated[list[Service], REQUIRED] = []
    metadata: ListMeta = ListMeta()
