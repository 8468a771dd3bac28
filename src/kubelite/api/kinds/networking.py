"""Ingresses, network policies, service address ranges."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from kubelite.api.kinds.core.references import TypedLocalObjectReference
from kubelite.api.kinds.enums import PATH_TYPES, POLICY_TYPES, PROTOCOLS
from kubelite.api.kinds.meta import Condition, LabelSelector, ListMeta, ObjectMeta
from kubelite.api.kinds.model import (
    ATOMIC,
    OMIT_EMPTY,
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
    """A port of a service, by number or name."""

    map_type: ClassVar = "atomic"

    name: str = ""
    number: Int32 = 0


class IngressServiceBackend(Model):
    """A service and its port."""

    name: Annotated[str, REQUIRED] = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Model):
    """Where requests go: a service, or another object."""

    resource: TypedLocalObjectReference | None = None
    service: IngressServiceBackend | None = None


class HTTPIngressPath(Model):
    """A path and where its requests go."""

    backend: Annotated[IngressBackend, REQUIRED] = IngressBackend()
    pathType: Annotated[str | None, REQUIRED, PATH_TYPES] = None
    path: str = ""


class HTTPIngressRuleValue(Model):
    """The paths of a host."""

    paths: Annotated[list[HTTPIngressPath], REQUIRED, ATOMIC] = []


class ParentReference(Model):
    """The object an address belongs to."""

    name: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    resource: Annotated[str, REQUIRED, OMIT_EMPTY] = ""
    group: str = ""
    namespace: str = ""


class IPAddressSpec(Model):
    """What is wanted of a IP address."""

    parentRef: Annotated[ParentReference | None, REQUIRED] = None


class IPAddress(Kind):
    """An address given to an object, so that none is given twice."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IPAddress")

    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[IPAddressSpec, REQUIRED] = IPAddressSpec()


class IPAddressList(Kind):
    """A list of IP addresses."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IPAddressList")

    items: Annotated[list[IPAddress], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class IPBlock(Model):
    """A range of addresses, perhaps without parts of it."""

    cidr: Annotated[str, REQUIRED] = ""
    except_: Annotated[list[str], ATOMIC] = field(name="except", default_factory=list)


class IngressRule(Model):
    """A host and where its requests go."""

    host: str = ""
    http: HTTPIngressRuleValue | None = None


class IngressTLS(Model):
    """Hosts served over TLS, and the secret with their certificate."""

    hosts: Annotated[list[str], ATOMIC] = []
    secretName: str = ""


class IngressSpec(Model):
    """What is wanted of an ingress."""

    defaultBackend: IngressBackend | None = None
    ingressClassName: str | None = None
    rules: Annotated[list[IngressRule], ATOMIC] = []
    tls: Annotated[list[IngressTLS], ATOMIC] = []


class IngressPortStatus(Model):
    """Whether a load balancer serves a port, and if not, why."""

    port: Annotated[Int32, REQUIRED] = 0
    protocol: Annotated[str, REQUIRED, PROTOCOLS] = ""
    error: str | None = None


class IngressLoadBalancerIngress(Model):
    """An address at which an ingress can be reached."""

    hostname: str = ""
    ip: str = ""
    ports: Annotated[list[IngressPortStatus], ATOMIC] = []


class IngressLoadBalancerStatus(Model):
    """Where an ingress can be reached."""

    ingress: Annotated[list[IngressLoadBalancerIngress], ATOMIC] = []


class IngressStatus(Model):
    """What was last observed of an ingress."""

    loadBalancer: IngressLoadBalancerStatus = IngressLoadBalancerStatus()


class Ingress(Kind):
    """Sends HTTP requests from outside to services, by host and path."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "Ingress")

    metadata: ObjectMeta = ObjectMeta()
    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassParametersReference(Model):
    """An object with settings of an ingress class."""

    kind: Annotated[str, REQUIRED] = ""
    name: Annotated[str, REQUIRED] = ""
    apiGroup: str | None = None
    namespace: str | None = None
    scope: str | None = None


class IngressClassSpec(Model):
    """What is wanted of an ingress class."""

    controller: str = ""
    parameters: IngressClassParametersReference | None = None


class IngressClass(Kind):
    """A sort of ingress, and the controller that implements it."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IngressClass")

    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()


class IngressClassList(Kind):
    """A list of ingress classes."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IngressClassList")

    items: Annotated[list[IngressClass], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class IngressList(Kind):
    """A list of ingresses."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "IngressList")

    items: Annotated[list[Ingress], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class NetworkPolicyPort(Model):
    """A port, or a range, that a rule is about."""

    endPort: Int32 | None = None
    port: IntOrString | None = None
    protocol: Annotated[str | None, PROTOCOLS] = None


class NetworkPolicyPeer(Model):
    """Pods, namespaces or addresses that a rule is about."""

    ipBlock: IPBlock | None = None
    namespaceSelector: LabelSelector | None = None
    podSelector: LabelSelector | None = None


class NetworkPolicyEgressRule(Model):
    """Connections that selected pods may make."""

    ports: Annotated[list[NetworkPolicyPort], ATOMIC] = []
    to: Annotated[list[NetworkPolicyPeer], ATOMIC] = []


class NetworkPolicyIngressRule(Model):
    """Connections that selected pods may receive."""

    from_: Annotated[list[NetworkPolicyPeer], ATOMIC] = field(name="from", default_factory=list)
    ports: Annotated[list[NetworkPolicyPort], ATOMIC] = []


class NetworkPolicySpec(Model):
    """What is wanted of a network policy."""

    egress: Annotated[list[NetworkPolicyEgressRule], ATOMIC] = []
    ingress: Annotated[list[NetworkPolicyIngressRule], ATOMIC] = []
    podSelector: LabelSelector = LabelSelector()
    policyTypes: Annotated[list[Annotated[str, POLICY_TYPES]], ATOMIC] = []


class NetworkPolicy(Kind):
    """Which connections pods may make and receive."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicy")

    metadata: ObjectMeta = ObjectMeta()
    spec: NetworkPolicySpec = NetworkPolicySpec()


class NetworkPolicyList(Kind):
    """A list of network policies."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicyList")

    items: Annotated[list[NetworkPolicy], REQUIRED] = []
    metadata: ListMeta = ListMeta()


class ServiceCIDRSpec(Model):
    """What is wanted of a service CIDR."""

    cidrs: Annotated[list[str], ATOMIC] = []


class ServiceCIDRStatus(Model):
    """What was last observed of a service CIDR."""

    conditions: Annotated[list[Condition], list_map("type"), merge_by("type")] = []


class ServiceCIDR(Kind):
    """A range from which services get their addresses."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "ServiceCIDR")

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceCIDRSpec = ServiceCIDRSpec()
    status: ServiceCIDRStatus = ServiceCIDRStatus()


class ServiceCIDRList(Kind):
    """A list of service CIDRs."""

    gvk: ClassVar = GroupVersionKind("networking.k8s.io", "v1", "ServiceCIDRList")

    items: Annotated[list[ServiceCIDR], REQUIRED] = []
    metadata: ListMeta = ListMeta()
