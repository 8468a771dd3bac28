"""Resolves nodes, pods and services to the address to proxy to."""

import ssl
from typing import Any

import msgspec

from kubelite.api.auth.caller import Attributes, Authorizer, Caller
from kubelite.api.errors import BadRequest, NotFound, ServiceUnavailable, internal_error
from kubelite.api.http.destinations import plain
from kubelite.api.http.dialer import Backend
from kubelite.api.http.query import int64
from kubelite.api.registry.options import ReadOptions
from kubelite.api.registry.verbs import Verbs
from kubelite.randomness import Randomness

KUBELET_PORT = 10250
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
# The identity under which the server reads its own objects.
SELF = Caller(user="system:apiserver", groups=("system:masters", "system:authenticated"))


class Backends:
    """Resolves backends from the API objects, read under the identity SELF."""

    def __init__(
        self,
        verbs: Verbs,
        authorizer: Authorizer,
        randomness: Randomness,
        *,
        node_tls: ssl.SSLContext | None,
    ) -> None:
        """`node_tls` has the client certificate that the server presents to nodes."""
        self._verbs = verbs
        self._authorizer = authorizer
        self._randomness = randomness
        self._node_tls = node_tls
        self._pod_tls = _unverified()

    async def pod(self, namespace: str, name: str) -> dict[str, Any]:
        """Return a pod as a JSON object. Raises NotFound."""
        return await self._object("pods", name, namespace)

    async def node(self, name: str, port: int = 0) -> Backend:
        """Return a node's kubelet endpoint, on `port` if given. Raises NotFound; InternalError without an address."""
        node = await self._object("nodes", name)
        status = node.get("status") or {}
        addresses = status.get("addresses") or []
        endpoint = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint")) or {}
        for wanted in ADDRESS_TYPES:
            for address in addresses:
                if address.get("type") == wanted:
                    return Backend(
                        host=address["address"],
                        port=port or endpoint.get("Port") or KUBELET_PORT,
                        tls=self._node_tls,
                        node=name,
                        proves_node=True,
                    )
        raise internal_error(f"no preferred addresses found for node {name}; known addresses: []")

    async def proxied_node(self, identifier: str) -> Backend:
        """Return the backend of ``nodes/[scheme:]<name>[:port]/proxy``. Raises BadRequest, NotFound, InternalError."""
        scheme, name, port = split_identifier(identifier, "node")
        if not port:
            return await self.node(name)
        backend = await self.node(name, _number(port, identifier, "node"))
        kubelet = await self.node(name)
        if backend.port == kubelet.port:
            return kubelet
        tls = self._pod_tls if scheme == "https" else None
        return msgspec.structs.replace(backend, tls=tls, proves_node=False)

    async def proxied_pod(self, namespace: str, identifier: str) -> Backend:
        """Return the backend of ``pods/[scheme:]<name>[:port]/proxy``. Raises BadRequest and NotFound."""
        scheme, name, port = split_identifier(identifier, "pod")
        pod = await self.pod(namespace, name)
        address = pod_address(pod)
        number = _number(port, identifier, "pod") if port else _first_port(pod)
        return Backend(
            host=address,
            port=number or (443 if scheme == "https" else 80),
            tls=self._pod_tls if scheme == "https" else None,
            node=(pod.get("spec") or {}).get("nodeName", ""),
        )

    async def proxied_service(self, namespace: str, identifier: str) -> Backend:
        """Return a ready endpoint of ``services/[scheme:]<name>[:port]/proxy``.

        Raises BadRequest, NotFound, and ServiceUnavailable without a ready endpoint. The choice is random.
        """
        scheme, name, port = split_identifier(identifier, "service")
        service = await self._object("services", name, namespace)
        port_name = _service_port_name(service, name, port)
        candidates = [
            (endpoint, number)
            for slice_ in await self._slices(namespace, name)
            for number in _slice_ports(slice_, port_name)
            for endpoint in slice_.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False
            and endpoint.get("addresses")
        ]
        first = int(self._randomness.uniform(0, len(candidates)))
        for endpoint, number in (*candidates[first:], *candidates[:first]):
            address = endpoint["addresses"][0]
            node = await self._node_of_pod(namespace, endpoint.get("targetRef") or {}, address)
            if node is None:
                continue
            plain(address)
            return Backend(
                host=address,
                port=number,
                tls=self._pod_tls if scheme == "https" else None,
                node=node,
            )
        raise ServiceUnavailable(f'no endpoints available for service "{identifier}"')

    async def _node_of_pod(self, namespace: str, ref: dict[str, Any], address: str) -> str | None:
        """Return the node of the pod that `ref` names; None unless it is of the namespace and has the address.

        Users can write endpoints, so without this check one could point the server at any address, or at any node.
        """
        if ref.get("namespace") != namespace:
            return None
        try:
            pod = await self.pod(namespace, ref.get("name", ""))
        except NotFound:
            return None
        addresses = (pod.get("status") or {}).get("podIPs") or []
        if not any(one.get("ip") == address for one in addresses):
            return None
        return str((pod.get("spec") or {}).get("nodeName") or "")

    async def _slices(self, namespace: str, service: str) -> list[dict[str, Any]]:
        attributes = Attributes(
            verb="list",
            group="discovery.k8s.io",
            version="v1",
            resource="endpointslices",
            namespace=namespace,
        )
        allowed = self._authorizer.authorize(SELF, attributes)
        options = ReadOptions(label_selector=f"{SERVICE_NAME_LABEL}={service}")
        listed = await self._verbs.list(allowed, options)
        return [msgspec.json.decode(item) for item in listed.items]

    async def _object(self, resource: str, name: str, namespace: str = "") -> dict[str, Any]:
        attributes = Attributes(
            verb="get", version="v1", resource=resource, namespace=namespace, name=name
        )
        allowed = self._authorizer.authorize(SELF, attributes)
        found: dict[str, Any] = msgspec.json.decode(await self._verbs.get(allowed, ReadOptions()))
        return found


def split_identifier(identifier: str, what: str) -> tuple[str, str, str]:
    """Return scheme, name and port of ``name``, ``name:port`` or ``scheme:name:port``, "" where missing.

    Raises BadRequest.
    """
    parts = identifier.split(":")
    match parts:
        case [name] if name:
            return "", name, ""
        case [name, port] if name:
            return "", name, port
        case [scheme, name, port] if name and scheme in ("", "http", "https"):
            return scheme, name, port
        case _:
            raise BadRequest(f'invalid {what} request "{identifier}"')


def pod_address(pod: dict[str, Any]) -> str:
    """Return a pod's primary IP address. Raises BadRequest if it has none or it is not an IP address."""
    status = pod.get("status") or {}
    addresses = status.get("podIPs") or []
    address = addresses[0].get("ip", "") if addresses else status.get("podIP", "")
    plain(address)
    return str(address)


def _first_port(pod: dict[str, Any]) -> int:
    for container in (pod.get("spec") or {}).get("containers") or []:
        for port in container.get("ports") or []:
            return int(port["containerPort"])
    return 0


def _number(port: str, identifier: str, what: str) -> int:
    number = int64(port)
    if number is None or not 0 < number < 65536:
        raise BadRequest(f'invalid {what} request "{identifier}"')
    return number


def _service_port_name(service: dict[str, Any], name: str, port: str) -> str:
    number = int64(port)
    if number is None:
        return port
    for declared in (service.get("spec") or {}).get("ports") or []:
        if declared.get("port") == number:
            return str(declared.get("name", ""))
    raise ServiceUnavailable(f'no service port {number} found for service "{name}"')


def _slice_ports(slice_: dict[str, Any], name: str) -> list[int]:
    return [
        int(port["port"])
        for port in slice_.get("ports") or []
        if (port.get("name") or "") == name and port.get("port")
    ]


def _unverified() -> ssl.SSLContext:
    # Servers in pods have self-signed certificates, so they are not verified, as in Kubernetes' proxy.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def not_scheduled(name: str) -> BadRequest:
    """Return the error for a pod that is not scheduled."""
    return BadRequest(f"pod {name} does not have a host assigned")
