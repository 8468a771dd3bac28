"""Resolves a Service to the address of a ready endpoint, for webhooks and aggregated APIs.

The host of the API server may run no service proxy, so a Service's address leads nowhere there. What was found is kept
until a Service or an EndpointSlice changes, since each request to an aggregated API asks for it.
"""

from collections.abc import Sequence

from msgspec import Struct

from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.machinery.causes import quoted
from kubelite.randomness import Randomness

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
EXTERNAL_NAME = "ExternalName"


class NoEndpoint(Exception):
    """A Service has no address to call; the message says why, in Kubernetes' words."""


class Endpoint(Struct, frozen=True):
    """An address behind a Service."""

    host: str
    port: int
    node: str = ""  # the node of the endpoint; "": not known
    is_external: bool = False  # `host` is the name of an ExternalName Service

    @property
    def authority(self) -> str:
        """``host:port`` as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServiceEndpoints:
    """Finds the ready endpoints of Services."""

    def __init__(self, lookup: Lookup, randomness: Randomness) -> None:
        self._lookup = lookup
        self._randomness = randomness
        self._known: dict[tuple[str, str, int], Sequence[Endpoint]] = {}
        self._is_following = False

    def resolve(self, namespace: str, name: str, port: int) -> Endpoint:
        """Return one ready endpoint of a Service's port, chosen at random. Raises NoEndpoint."""
        found = self.all(namespace, name, port)
        return found[int(self._randomness.uniform(0, len(found)))] if len(found) > 1 else found[0]

    def all(self, namespace: str, name: str, port: int) -> Sequence[Endpoint]:
        """Return the ready endpoints of a Service's port, at least one. Raises NoEndpoint."""
        self._follow()
        key = namespace, name, port
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._find(namespace, name, port)
        return found

    def _follow(self) -> None:
        if not self._is_following:
            self._is_following = True
            for kind in (Service, EndpointSlice):
                self._lookup.subscribe(kind, self._changed)

    def _changed(self, *_: object) -> None:
        self._known.clear()

    def _find(self, namespace: str, name: str, port: int) -> Sequence[Endpoint]:
        service = self._lookup.get(Service, name, namespace)
        if service is None:
            raise NoEndpoint(f"service {quoted(name)} not found")
        if service.spec.type == EXTERNAL_NAME:
            return (Endpoint(service.spec.externalName, port, is_external=True),)
        declared = next((one for one in service.spec.ports if one.port == port), None)
        if declared is None:
            raise NoEndpoint(f"no service port {port} found for service {quoted(name)}")
        found = [
            Endpoint(endpoint.addresses[0], offered.port, endpoint.nodeName or "")
            for slice_ in self._lookup.list(EndpointSlice, namespace)
            if slice_.metadata.labels.get(SERVICE_NAME_LABEL) == name
            for offered in slice_.ports
            if offered.name == declared.name and offered.port is not None
            for endpoint in slice_.endpoints
            if endpoint.conditions.ready is not False and endpoint.addresses
        ]
        if not found:
            raise NoEndpoint(f"no endpoints available for service {quoted(name)}")
        return found
