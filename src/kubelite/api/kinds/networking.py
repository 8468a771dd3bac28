"""Ingresses, network policies, service address ranges."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from kubelite.api.kinds.core.references import TypedLocalObjectReference
from kubelite.api.kinds.meta import Condition, LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    REQUIRED,
    GroupVersionKind,
    Int32,
    IntOrString,
    Kind,
    Model,
    list_map,
    merge_by,
)


class ServiceBackendPort(Model):
    """ServiceBackendPort."""

    name: str = ""
    number: Int32 = 0


class IngressServiceBackend(Model):
    """IngressServiceBackend."""

    name: Annotated[str, REQUIRED] = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Model):
    """IngressBackend."""

    resource: TypedLocalObjectReference | None = None
    service: IngressServiceBackend | None = None


class HTTPIngressPath(Model):
    """HTTPIngressPath."""

    backend: Annotated[IngressBackend, REQUIRED] = IngressBackend()
    pathType: Annotated[str | None, REQUIRED] = None
    path: str = ""


class HTTPIngressRuleValue(Model):
    """HTTPIngressRuleValue."""

    paths: Annotated[list[HTTPIngressPath], REQUIRED, ATOMIC] = []


class ParentReference(Model):
    """ParentReference."""

    name: Annotated[str, REQUIRED] = ""
    resource: Annotated[str, REQUIRED] = ""
    group: str = ""
    namespace: str = ""


class IPAddressSpec(Model):
    """IPAddressSpec."""

    parentRef: Annotated[ParentReference | None, REQUIRED] = None


class IPAddress(Kind):
    """IPAddress."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IPAddress")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[IPAddressSpec, REQUIRED] = IPAddressSpec()


class IPAddressList(Kind):
    """IPAddressList."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IPAddressList")

    items: Annotated[list[IPAddress], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class IPBlock(Model):
    """IPBlock."""

    cidr: Annotated[str, REQUIRED] = ""
    except_: Annotated[list[str], ATOMIC] = field(name="except", default_factory=list)


class IngressRule(Model):
    """IngressRule."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Model):
    """IngressTLS."""

    hosts: Annotated[list[str], ATOMIC] = []
    secretName: str = ""


class IngressSpec(Model):
    """IngressSpec."""

    defaultBackend: IngressBackend | None = None
    ingressClassName: str | None = None
    rules: Annotated[list[IngressRule], ATOMIC] = []
    tls: Annotated[list[IngressTLS], ATOMIC] = []


class IngressPortStatus(Model):
    """IngressPortStatus."""

    port: Annotated[Int32, REQUIRED] = 0
    protocol: Annotated[str, REQUIRED] = ""
    error: str | None = None


class IngressLoadBalancerIngress(Model):
    """IngressLoadBalancerIngress."""

    hostname: str = ""
    ip: str = ""
    ports: Annotated[list[IngressPortStatus], ATOMIC] = []


class IngressLoadBalancerStatus(Model):
    """IngressLoadBalancerStatus."""

    ingress: Annotated[list[IngressLoadBalancerIngress], ATOMIC] = []


class IngressStatus(Model):
    """IngressStatus."""

    loadBalancer: IngressLoadBalancerStatus = IngressLoadBalancerStatus()


class Ingress(Kind):
    """Ingress."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "Ingress")

    metadata: ObjectMeta = ObjectMeta()
    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassParametersReference(Model):
    """IngressClassParametersReference."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None
    namespace: str | None = None
    scope: str | None = None


class IngressClassSpec(Model):
    """IngressClassSpec."""

    controller: str = ""
    parameters: IngressClassParametersReference | None = None


class IngressClass(Kind):
    """IngressClass."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IngressClass")

    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()


class IngressClassList(Kind):
    """IngressClassList."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IngressClassList")

    items: Annotated[list[IngressClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class IngressList(Kind):
    """IngressList."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IngressList")

    items: Annotated[list[Ingress], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class NetworkPolicyPort(Model):
    """NetworkPolicyPort."""

    endPort: Int32 | None = None
    port: IntOrString | None = None
    protocol: str | None = None


class NetworkPolicyPeer(Model):
    """NetworkPolicyPeer."""

    ipBlock: IPBlock | None = None
    namespaceSelector: LabelSelector | None = None
    podSelector: LabelSelector | None = None


class NetworkPolicyEgressRule(Model):
    """NetworkPolicyEgressRule."""

    ports: Annotated[list[NetworkPolicyPort], ATOMIC] = []
    to: Annotated[list[NetworkPolicyPeer], ATOMIC] = []


class NetworkPolicyIngressRule(Model):
    """NetworkPolicyIngressRule."""

    from_: Annotated[list[NetworkPolicyPeer], ATOMIC] = field(name="from", default_factory=list)
    ports: Annotated[list[NetworkPolicyPort], ATOMIC] = []


class NetworkPolicySpec(Model):
    """NetworkPolicySpec."""

    egress: Annotated[list[NetworkPolicyEgressRule], ATOMIC] = []
    ingress: Annotated[list[NetworkPolicyIngressRule], ATOMIC] = []
    podSelector: LabelSelector = LabelSelector()
    policyTypes: Annotated[list[str], ATOMIC] = []


class NetworkPolicy(Kind):
    """NetworkPolicy."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicy")

    metadata: ObjectMeta = ObjectMeta()
    spec: NetworkPolicySpec = NetworkPolicySpec()


class NetworkPolicyList(Kind):
    """NetworkPolicyList."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicyList")

    items: Annotated[list[NetworkPolicy], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ServiceCIDRSpec(Model):
    """ServiceCIDRSpec."""

    cidrs: Annotated[list[str], ATOMIC] = []


class ServiceCIDRStatus(Model):
    """ServiceCIDRStatus."""

    conditions: Annotated[list[Condition], list_map("type"), merge_by("type")] = []


class ServiceCIDR(Kind):
    """ServiceCIDR."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "ServiceCIDR")

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceCIDRSpec = ServiceCIDRSpec()
    status: ServiceCIDRStatus = ServiceCIDRStatus()


class ServiceCIDRList(Kind):
    """ServiceCIDRList."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "ServiceCIDRList")

    items: Annotated[list[ServiceCIDR], REQUIRED] = []
    metadata: ListMeta = ListMeta()
