"""All that serves delegated group versions; made when the first APIService has a Service."""

from collections.abc import Callable

from kubelite.api.http.aggregation.connections import Connections
from kubelite.api.http.aggregation.contexts import ClientContexts
from kubelite.api.http.aggregation.discovery import RemoteDiscovery
from kubelite.api.http.aggregation.documents import Documents, Prober
from kubelite.api.http.aggregation.proxy import AggregatedProxy
from kubelite.api.http.aggregation.remote_openapi import RemoteOpenAPI
from kubelite.api.http.delegation import Delegation, Registration, ShownCertificate
from kubelite.api.http.dialer import Dialer
from kubelite.api.http.service_endpoints import ServiceEndpoints
from kubelite.offload import Offload
from kubelite.randomness import Randomness


class Aggregation:
    """Requests, discovery, OpenAPI and probes of other API servers. Create it on the loop."""

    def __init__(
        self,
        delegation: Delegation,
        *,
        dialer: Dialer,
        randomness: Randomness,
        offload: Offload,
        front_proxy: Callable[[], ShownCertificate] | None = None,
    ) -> None:
        """`front_proxy` returns the certificate that is shown to other servers; without it none is."""
        assert delegation.lookup is not None, "it follows the APIServices"
        endpoints = ServiceEndpoints(delegation.lookup, randomness)
        self._connections = Connections(dialer)
        self.proxy = AggregatedProxy(endpoints, ClientContexts(front_proxy), self._connections)
        documents = Documents(self.proxy, self._connections)
        self.read = documents.read
        self._prober = Prober(self.proxy, endpoints, self._connections)
        self.openapi = RemoteOpenAPI(delegation, documents, offload)
        self.discovery = RemoteDiscovery(delegation, documents, self.openapi, offload)

    def changed(self, old: Registration | None, new: Registration | None) -> None:
        """Follow a change of what is delegated."""
        self.openapi.changed(old, new)
        self.discovery.changed(old, new)

    async def probe(self, registration: Registration) -> str:
        """Return why a server does not answer for its group version; "" if it does."""
        return await self._prober.probe(registration)

    async def close(self) -> None:
        """End all work, and the connections that are not in use."""
        await self.discovery.close()
        await self.openapi.close()
        self._connections.close()
