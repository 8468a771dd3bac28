"""Short ways to write services and their endpoints."""

from collections.abc import Sequence

from kubelite.api.kinds.core.services import Service, ServicePort, ServiceSpec
from kubelite.api.kinds.discovery import (
    Endpoint,
    EndpointConditions,
    EndpointHints,
    EndpointPort,
    EndpointSlice,
    ForNode,
    ForZone,
)
from kubelite.api.kinds.meta import ObjectMeta

NODE = "node-1"


def service(name: str = "web", ip: str = "10.43.0.5", **spec: object) -> Service:
    """A service with port 80 unless `ports` are given."""
    fields = {"clusterIP": ip, "type": "ClusterIP", "ports": [port()], **spec}
    return Service(
        metadata=ObjectMeta(namespace="default", name=name),
        spec=ServiceSpec(**fields),  # type: ignore[arg-type]  # as wide as the caller's words
    )


def port(
    number: int = 80, protocol: str = "TCP", name: str = "", node_port: int = 0
) -> ServicePort:
    return ServicePort(port=number, protocol=protocol, name=name, nodePort=node_port)


def endpoint(
    address: str,
    node: str = NODE,
    *,
    ready: bool | None = True,
    serving: bool | None = None,
    terminating: bool | None = None,
    hostname: str | None = None,
    for_nodes: Sequence[str] = (),
    for_zones: Sequence[str] = (),
) -> Endpoint:
    hints = EndpointHints(
        forNodes=[ForNode(name=one) for one in for_nodes],
        forZones=[ForZone(name=one) for one in for_zones],
    )
    return Endpoint(
        hints=hints if for_nodes or for_zones else None,
        addresses=[address],
        nodeName=node,
        hostname=hostname,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
    )


def endpoint_slice(
    *endpoints: Endpoint | str,
    service_name: str = "web",
    name: str = "",
    port: int = 8080,
    protocol: str = "TCP",
    port_name: str = "",
) -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(
            namespace="default",
            name=name or f"{service_name}-1",
            labels={"kubernetes.io/service-name": service_name},
        ),
        addressType="IPv6" if any(":" in _address(entry) for entry in endpoints) else "IPv4",
        ports=[EndpointPort(name=port_name, port=port, protocol=protocol)],
        endpoints=[endpoint(entry) if isinstance(entry, str) else entry for entry in endpoints],
    )


def _address(entry: Endpoint | str) -> str:
    return entry if isinstance(entry, str) else "".join(entry.addresses[:1])
