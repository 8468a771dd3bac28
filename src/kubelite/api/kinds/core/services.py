"""Services: a stable address in front of pods."""

from __future__ import annotations

from typing import Annotated, ClassVar

from kubelite.api.kinds.enums import (
    AFFINITIES,
    IP_FAMILIES,
    IP_FAMILY_POLICIES,
    PROTOCOLS,
    SERVICE_TYPES,
    TRAFFIC_POLICIES,
)
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
    """How long a client keeps its backend."""

    timeoutSeconds: Int32 | None = None


class PortStatus(Model):
    """Whether a load balancer serves a port, and if not, why."""

    port: Annotated[Int32, REQUIRED] = 0
    protocol: Annotated[str, REQUIRED, PROTOCOLS] = ""
    error: str | None = None


class LoadBalancerIngress(Model):
    """An address at which a load balancer can be reached."""

    hostname: str = ""
    ip: str = ""
    ipMode: str | None = None
    ports: Annotated[list[PortStatus], ATOMIC] = []


class LoadBalancerStatus(Model):
    """Where a load balancer can be reached."""

    ingress: Annotated[list[LoadBalancerIngress], ATOMIC] = []


class ServicePort(Model):
    """A port of a service, and the port behind it."""

    port: Annotated[Int32, REQUIRED] = 0
    appProtocol: str | None = None
    name: str = ""
    nodePort: Int32 = 0
    protocol: Annotated[str, default("TCP"), PROTOCOLS] = ""
    targetPort: IntOrString | None = None


class SessionAffinityConfig(Model):
    """Settings of session affinity."""

    clientIP: ClientIPConfig | None = None


class ServiceSpec(Model):
    """What is wanted of a service."""

    allocateLoadBalancerNodePorts: bool | None = None
    clusterIP: str = ""
    clusterIPs: Annotated[list[str], ATOMIC] = []
    externalIPs: Annotated[list[str], ATOMIC] = []
    externalName: str = ""
    externalTrafficPolicy: Annotated[str, TRAFFIC_POLICIES] = ""
    healthCheckNodePort: Int32 = 0
    internalTrafficPolicy: Annotated[str | None, TRAFFIC_POLICIES] = None
    ipFamilies: Annotated[list[Annotated[str, IP_FAMILIES]], ATOMIC] = []
    ipFamilyPolicy: Annotated[str | None, IP_FAMILY_POLICIES] = None
    loadBalancerClass: str | None = None
    loadBalancerIP: str = ""
    loadBalancerSourceRanges: Annotated[list[str], ATOMIC] = []
    ports: Annotated[list[ServicePort], list_map("port", "protocol"), merge_by("port")] = []
    publishNotReadyAddresses: bool = False
    selector: Annotated[dict[str, str], ATOMIC_MAP] = {}
    sessionAffinity: Annotated[str, AFFINITIES] = ""
    sessionAffinityConfig: SessionAffinityConfig | None = None
    trafficDistribution: str | None = None
    type: Annotated[str, SERVICE_TYPES] = ""


class ServiceStatus(Model):
    """What was last observed of a service."""

    conditions: Annotated[list[Condition], list_map("type"), merge_by("type")] = []
    loadBalancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(Kind):
    """One address and name for a changing set of pods."""

    gvk: ClassVar = GroupVersionKind("", "v1", "Service")

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ServiceList(Kind):
    """A list of services."""

    gvk: ClassVar = GroupVersionKind("", "v1", "ServiceList")

    items: Annotated[list[Service], REQUIRED] = []
    metadata: ListMeta = ListMeta()
