"""The DNS zone of the cluster, read from mirrors."""

from collections.abc import Callable, Sequence

from kubelite.api.client.protocol import Client
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.net.records import host_name

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
BY_SERVICE, BY_ADDRESS, BY_CLUSTER_ADDRESS = "net-service", "net-address", "net-cluster-address"
BY_HOST = "net-host"


class MirroredZone:
    """The zone as the API's mirrors show it; complete once `synced` has returned."""

    def __init__(self, client: Client) -> None:
        self._namespaces = client.mirror(Namespace)
        self._services = client.mirror(Service)
        self._slices = client.mirror(EndpointSlice)
        self._services.add_index(BY_CLUSTER_ADDRESS, lambda service: service.spec.clusterIPs)
        self._slices.add_index(BY_SERVICE, _service_of)
        self._slices.add_index(BY_ADDRESS, _addresses_of)
        self._slices.add_index(BY_HOST, _hosts_of)

    async def synced(self) -> None:
        """Wait until every mirror has its first complete list."""
        for mirror in (self._namespaces, self._services, self._slices):
            await mirror.synced()

    def subscribe(self, changed: Callable[[], None]) -> list[Callable[[], None]]:
        """Call `changed` after each change that may alter an answer; return the functions that unsubscribe."""

        def on_change(_before: object, _after: object) -> None:
            changed()

        return [
            self._namespaces.subscribe(on_change),
            self._services.subscribe(on_change),
            self._slices.subscribe(on_change),
        ]

    def has_namespace(self, name: str) -> bool:
        """Return whether a namespace exists."""
        return self._namespaces.get(name) is not None

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a service, None if it does not exist."""
        return self._services.get(name, namespace)

    def slices(self, namespace: str, name: str) -> Sequence[EndpointSlice]:
        """Return the slices of a service."""
        return self._slices.indexed(BY_SERVICE, f"{namespace}/{name}")

    def slices_of_host(self, namespace: str, name: str, host: str) -> Sequence[EndpointSlice]:
        """Return the slices of a service with an endpoint whose `host_name` is this."""
        return self._slices.indexed(BY_HOST, f"{namespace}/{name}/{host}")

    def services_at(self, address: str) -> Sequence[Service]:
        """Return the services with this cluster address."""
        return self._services.indexed(BY_CLUSTER_ADDRESS, address)

    def slices_at(self, address: str) -> Sequence[EndpointSlice]:
        """Return the slices with an endpoint whose first address this is."""
        return self._slices.indexed(BY_ADDRESS, address)


def _service_of(entry: EndpointSlice) -> list[str]:
    name = entry.metadata.labels.get(SERVICE_NAME_LABEL, "")
    return [f"{entry.metadata.namespace}/{name}"] if name else []


def _hosts_of(entry: EndpointSlice) -> list[str]:
    hosts = {host_name(endpoint) for endpoint in entry.endpoints if endpoint.addresses}
    return [f"{service}/{host}" for service in _service_of(entry) for host in hosts]


def _addresses_of(entry: EndpointSlice) -> list[str]:
    return list({endpoint.addresses[0] for endpoint in entry.endpoints if endpoint.addresses})
