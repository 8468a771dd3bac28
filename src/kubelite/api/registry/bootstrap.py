"""The objects that every cluster has: the default namespaces, the API's own Service, the system's priority classes.

Pure functions return each object as it is created, and for some the stored object with its wanted content. Their caller
writes them, and restores lost ones.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, TypeVar

from msgspec.structs import replace

from kubelite.api.auth.caller import Caller
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.endpoints import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
)
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import Endpoint, EndpointConditions, EndpointSlice
from kubelite.api.kinds.discovery import EndpointPort as SlicePort
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import ServiceCIDR, ServiceCIDRSpec
from kubelite.api.kinds.scheduling import PriorityClass
from kubelite.api.registry.admission.priority import SYSTEM_CLASSES

CALLER = Caller("system:apiserver", ("system:masters",))
NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
NAMESPACE, NAME = "default", "kubernetes"
PORT_NAME = "https"
HTTPS_PORT = 443
RANGE_FINALIZER = "networking.k8s.io/service-cidr-finalizer"

M = TypeVar("M", Service, Endpoints, EndpointSlice)


def namespace(name: str) -> Namespace:
    """Return a new namespace."""
    return Namespace(metadata=ObjectMeta(name=name))


def priority_classes() -> Sequence[PriorityClass]:
    """Return the priority classes of the system's pods."""
    return tuple(
        PriorityClass(metadata=ObjectMeta(name=name), value=value, description=text)
        for name, (value, text) in SYSTEM_CLASSES.items()
    )


def priority_complaint(stored: PriorityClass) -> str:
    """Return an error text if a stored system class has another value, which is immutable, else ""."""
    value, _ = SYSTEM_CLASSES[stored.metadata.name]
    return "" if stored.value == value else f"its value is {stored.value}, not {value}"


def service_range(cidrs: Sequence[str]) -> ServiceCIDR:
    """Return the ServiceCIDR of the configured ranges of Service addresses."""
    return ServiceCIDR(
        metadata=ObjectMeta(name=NAME, finalizers=[RANGE_FINALIZER]),
        spec=ServiceCIDRSpec(cidrs=list(cidrs)),
    )


def completed_range(stored: ServiceCIDR, cidrs: Sequence[str]) -> ServiceCIDR:
    """Return the stored ServiceCIDR, with the range of a second family if the cluster has become dual-stack."""
    if len(cidrs) == 2 and stored.spec.cidrs == list(cidrs[:1]):
        return replace(stored, spec=ServiceCIDRSpec(cidrs=list(cidrs)))
    return stored


def range_complaint(stored: ServiceCIDR, cidrs: Sequence[str]) -> str:
    """Return an error text if the stored ranges, which cannot be changed, differ from the configured ones, else ""."""
    if stored.spec.cidrs == list(cidrs):
        return ""
    listed = " ".join(stored.spec.cidrs)
    return f"the default ServiceCIDR [{listed}] does not match the flag configuration {','.join(cidrs)}"


def announced(address: str, version: int = 4) -> str:
    """Return an address of that IP version if pods can reach it (no loopback or link-local address), else ""."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    if parsed.version != version or parsed.is_unspecified or parsed.is_multicast:
        return ""
    return "" if parsed.is_loopback or parsed.is_link_local else address


def api_service(address: str, port: int) -> Service:
    """Return the Service ``default/kubernetes``, by which pods reach the API."""
    return Service(
        metadata=ObjectMeta(
            name=NAME,
            namespace=NAMESPACE,
            labels={"component": "apiserver", "provider": "kubernetes"},
        ),
        spec=ServiceSpec(
            clusterIP=address,
            clusterIPs=[address],
            type="ClusterIP",
            sessionAffinity="None",
            ipFamilies=[f"IPv{ip_address(address).version}"],
            ipFamilyPolicy="SingleStack",
            internalTrafficPolicy="Cluster",
            ports=[ServicePort(name=PORT_NAME, protocol="TCP", port=HTTPS_PORT, targetPort=port)],
        ),
    )


def completed_service(stored: Service, wanted: Service) -> Service:
    """Return the stored Service of the API with its wanted spec; it keeps its cluster address, which is immutable."""
    spec = replace(
        stored.spec,
        type=wanted.spec.type,
        selector={},
        externalName="",
        sessionAffinity=wanted.spec.sessionAffinity,
        clusterIP=stored.spec.clusterIP or wanted.spec.clusterIP,
        clusterIPs=stored.spec.clusterIPs or wanted.spec.clusterIPs,
        ports=wanted.spec.ports,
    )
    return _labelled(replace(stored, spec=spec), wanted)


def completed_dns(stored: Service, wanted: Service) -> Service:
    """Return the stored Service of cluster DNS, with the address of a second family if the cluster has got one."""
    spec = stored.spec
    if spec.clusterIPs != wanted.spec.clusterIPs[:1] or len(wanted.spec.clusterIPs) == 1:
        return stored
    policy, addresses = wanted.spec.ipFamilyPolicy, wanted.spec.clusterIPs
    return replace(stored, spec=replace(spec, clusterIPs=addresses, ipFamilyPolicy=policy))


def address_complaint(stored: Service, address: str) -> str:
    """Return an error text if a Service of the system has another address than the configured one, else ""."""
    if stored.spec.clusterIP == address:
        return ""
    return (
        f"its address is {stored.spec.clusterIP or 'missing'}, not {address} as configured: "
        "delete it, and it comes back with that one"
    )


def service_with_address(services: Sequence[Service], address: str, besides: str) -> Service | None:
    """Return the Service that has an address, except the one of key `besides`; None: no Service has it."""
    for service in services:
        is_other = f"{service.metadata.namespace}/{service.metadata.name}" != besides
        if is_other and address in (service.spec.clusterIP, *service.spec.clusterIPs):
            return service
    return None


def api_endpoints(address: str, port: int) -> Endpoints:
    """Return the Endpoints of the API's Service, without a subset if `address` is "".

    `api_slice` makes its slice, so a label excludes it from EndpointSlice mirroring.
    """
    subset = EndpointSubset(
        addresses=[EndpointAddress(ip=address)],
        ports=[EndpointPort(name=PORT_NAME, port=port, protocol="TCP")],
    )
    return Endpoints(
        metadata=ObjectMeta(
            name=NAME,
            namespace=NAMESPACE,
            labels={"endpointslice.kubernetes.io/skip-mirror": "true"},
        ),
        subsets=[subset] if address else [],
    )


def completed_endpoints(stored: Endpoints, wanted: Endpoints) -> Endpoints:
    """Return the stored Endpoints of the API with the wanted subsets and labels."""
    return _labelled(replace(stored, subsets=wanted.subsets), wanted)


def api_slice(address: str, port: int, family: str = "IPv4") -> EndpointSlice:
    """Return the EndpointSlice of the API's Service, without an endpoint if `address` is ""."""
    endpoint = Endpoint(addresses=[address], conditions=EndpointConditions(ready=True))
    return EndpointSlice(
        metadata=ObjectMeta(
            name=NAME, namespace=NAMESPACE, labels={"kubernetes.io/service-name": NAME}
        ),
        addressType=family,
        endpoints=[endpoint] if address else [],
        ports=[SlicePort(name=PORT_NAME, port=port, protocol="TCP")],
    )


def completed_slice(stored: EndpointSlice, wanted: EndpointSlice) -> EndpointSlice:
    """Return the stored EndpointSlice of the API with the wanted endpoints, ports and labels."""
    return _labelled(replace(stored, endpoints=wanted.endpoints, ports=wanted.ports), wanted)


def is_other_family(stored: EndpointSlice, family: str = "IPv4") -> bool:
    """Return whether a stored slice has another address type than the cluster's; the type is immutable."""
    return stored.addressType != family


def cluster_settings(config: ConfigMap, wanted: Mapping[str, str]) -> ConfigMap:
    """Return a stored ConfigMap of the cluster's settings with the wanted ones; keys of others stay."""
    return replace(config, data={**config.data, **wanted})


def _labelled(stored: M, wanted: Any) -> M:
    labels = {**stored.metadata.labels, **wanted.metadata.labels}
    return replace(stored, metadata=replace(stored.metadata, labels=labels))
