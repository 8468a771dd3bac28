"""The list of the objects that the cluster requires; `control.needs` reconciles them."""

from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network
from typing import Any

from kubelite import __version__
from kubelite.api.auth import bootstrap_roles, extension_authentication
from kubelite.api.auth.extension_authentication import ExtensionTrust
from kubelite.api.http import flow_bootstrap
from kubelite.api.http.pages import GIT_VERSION
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.endpoints import Endpoints
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.services import Service
from kubelite.api.kinds.discovery import EndpointSlice
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.networking import IngressClass, IngressClassSpec, ServiceCIDR
from kubelite.api.kinds.scheduling import PriorityClass
from kubelite.api.kinds.storage import StorageClass
from kubelite.api.machinery import ingress_classes
from kubelite.api.machinery.default_classes import DEFAULT_INGRESS, DEFAULT_STORAGE
from kubelite.api.machinery.local_volumes import PROVISIONER_NAME
from kubelite.api.registry import bootstrap
from kubelite.clock import Clock
from kubelite.config import INGRESS, LOCAL_STORAGE, Config
from kubelite.control.needs import Need, NeedKey, Reader, need_key
from kubelite.net import kube_dns
from kubelite.network_config import DNS

LOCAL_PATH = "local-path"  # the default StorageClass
CLUSTER_SETTINGS = "kubelite-cluster"  # the ConfigMap of an agent's settings
MANAGER = "kube-apiserver"  # the field manager of the objects
NAMESPACES, REST = 0, 1  # stages: namespaces come first, since other objects are in them


class APIPlace:
    """Where pods reach the API, as last set: an address of the host, "" for none, and a port."""

    def __init__(self, version: int = 4) -> None:
        self.address = ""
        self.port = 0
        self._version = version  # of the cluster's primary family, which the API's Service has

    @property
    def endpoint(self) -> str:
        """Return the address if pods can be routed to it, else ""."""
        return bootstrap.announced(self.address, self._version)

    @property
    def family(self) -> str:
        """Return the cluster's primary family."""
        return f"IPv{self._version}"


ENDPOINT_KEYS: tuple[NeedKey, ...] = (
    need_key(Endpoints, bootstrap.NAME, bootstrap.NAMESPACE),
    need_key(EndpointSlice, bootstrap.NAME, bootstrap.NAMESPACE),
)


def system_needs(
    config: Config, place: APIPlace, roles: bootstrap_roles.Defaults
) -> Iterator[Need]:
    """Yield all required objects; those that depend on `place` are computed at each use."""
    for name in bootstrap.NAMESPACES:
        yield Need(Namespace, name, partial(bootstrap.namespace, name), stage=NAMESPACES)
    for priority in bootstrap.priority_classes():
        yield Need(
            PriorityClass,
            priority.metadata.name,
            lambda priority=priority: priority,  # type: ignore[misc]  # bound in the loop
            complaint=bootstrap.priority_complaint,
            stage=REST,
        )
    yield from _services(config, place)
    yield from _endpoints(place)
    yield from _flows()
    yield from _roles(roles)
    yield _settings(config)
    if INGRESS not in config.disabled:  # its controller removes it
        yield Need(IngressClass, ingress_classes.NAME, ingress_class, stage=REST)
    local_path = Need(StorageClass, LOCAL_PATH, local_path_class, stage=REST)
    for part, need in ((LOCAL_STORAGE, local_path), (DNS, _dns(config))):
        if part in config.disabled:
            yield Need(need.kind, need.name, need.make, need.namespace, removed_if_by=MANAGER)
        else:
            yield need


def _settings(config: Config) -> Need:
    """Return the need of the ConfigMap by which an agent learns the cluster's settings."""
    settings = cluster_settings(config)
    return Need(
        ConfigMap,
        CLUSTER_SETTINGS,
        lambda: ConfigMap(
            metadata=ObjectMeta(name=CLUSTER_SETTINGS, namespace=kube_dns.NAMESPACE), data=settings
        ),
        kube_dns.NAMESPACE,
        lambda stored: bootstrap.cluster_settings(stored, settings),
        must_replace=lambda stored: bool(stored.immutable),
        stage=REST,
    )


def local_path_class() -> StorageClass:
    """Return the default StorageClass, whose volumes are folders of nodes.

    It is created again when it is missing but never revised, so a user's change stays, such as another default.
    """
    return StorageClass(
        metadata=ObjectMeta(name=LOCAL_PATH, annotations={DEFAULT_STORAGE[0]: "true"}),
        provisioner=PROVISIONER_NAME,
        reclaimPolicy="Delete",
        volumeBindingMode="WaitForFirstConsumer",
        allowVolumeExpansion=True,
    )


def ingress_class() -> IngressClass:
    """Return the default IngressClass, whose Ingresses every node serves.

    It is created again when it is missing but never revised, so a user's change stays, such as another default.
    """
    return IngressClass(
        metadata=ObjectMeta(name=ingress_classes.NAME, annotations={DEFAULT_INGRESS[0]: "true"}),
        spec=IngressClassSpec(controller=ingress_classes.CONTROLLER),
    )


def cluster_settings(config: Config) -> dict[str, str]:
    """Return the settings that all nodes of a cluster must share, by key; those of two families have a comma."""
    sizes = [config.node_prefixes[ip_network(text).version] for text in config.cluster_cidrs]
    return {
        "cluster-cidr": config.cluster.cluster_cidr,
        "service-cidr": config.cluster.service_cidr,
        "cluster-dns": ",".join(config.dns_addresses),
        "cluster-domain": config.cluster_domain,
        "node-cidr-mask-size": ",".join(str(size) for size in sizes),
        "disabled": ",".join(config.cluster.disabled),
        "version": __version__,
        "kubernetes-version": GIT_VERSION,
    }


def extension_need(wanted: ExtensionTrust, clock: Clock) -> Need:
    """Return the need of the ConfigMap by which extension servers trust this one."""
    return Need(
        ConfigMap,
        extension_authentication.NAME,
        lambda: extension_authentication.config_map(wanted, clock.now()),
        extension_authentication.NAMESPACE,
        lambda stored: extension_authentication.completed(stored, wanted, clock.now()),
        must_replace=lambda stored: bool(stored.immutable),
        stage=REST,
    )


def _services(config: Config, place: APIPlace) -> Iterator[Need]:
    yield Need(
        ServiceCIDR,
        bootstrap.NAME,
        lambda: bootstrap.service_range(config.service_cidrs),
        revise=lambda stored: bootstrap.completed_range(stored, config.service_cidrs),
        complaint=lambda stored: bootstrap.range_complaint(stored, config.service_cidrs),
        stage=REST,
    )
    yield _service(
        Need(
            Service,
            bootstrap.NAME,
            lambda: bootstrap.api_service(config.api_address, place.port),
            bootstrap.NAMESPACE,
            lambda stored: bootstrap.completed_service(
                stored, bootstrap.api_service(config.api_address, place.port)
            ),
        ),
        config.api_address,
    )


def _dns(config: Config) -> Need:
    return _service(
        Need(
            Service,
            kube_dns.NAME,
            lambda: kube_dns.kube_dns(*config.dns_addresses),
            kube_dns.NAMESPACE,
            lambda stored: bootstrap.completed_dns(
                stored, kube_dns.kube_dns(*config.dns_addresses)
            ),
        ),
        config.dns_address,
    )


def _service(need: Need, address: str) -> Need:
    """Return the need of a Service with a complaint and a rival that check its cluster IP."""

    def rival(reader: Reader) -> Service | None:
        own = f"{need.namespace}/{need.name}"
        return bootstrap.service_with_address(reader.list(Service), address, own)

    return Need(
        need.kind,
        need.name,
        need.make,
        need.namespace,
        need.revise,
        complaint=lambda stored: bootstrap.address_complaint(stored, address),
        rival=rival,
        stage=REST,
    )


def _endpoints(place: APIPlace) -> Iterator[Need]:
    yield Need(
        Endpoints,
        bootstrap.NAME,
        lambda: bootstrap.api_endpoints(place.endpoint, place.port),
        bootstrap.NAMESPACE,
        lambda stored: bootstrap.completed_endpoints(
            stored, bootstrap.api_endpoints(place.endpoint, place.port)
        ),
        stage=REST,
    )
    yield Need(
        EndpointSlice,
        bootstrap.NAME,
        lambda: bootstrap.api_slice(place.endpoint, place.port, place.family),
        bootstrap.NAMESPACE,
        lambda stored: bootstrap.completed_slice(
            stored, bootstrap.api_slice(place.endpoint, place.port, place.family)
        ),
        must_replace=lambda stored: bootstrap.is_other_family(stored, place.family),
        stage=REST,
    )


def _flows() -> Iterator[Need]:
    for item in (*flow_bootstrap.priority_levels(), *flow_bootstrap.flow_schemas()):
        yield _standing(item, partial(flow_bootstrap.maintained, standard=item))


def _roles(roles: bootstrap_roles.Defaults) -> Iterator[Need]:
    for role in roles.roles:
        yield _standing(role, partial(bootstrap_roles.revised, wanted=role))
    for binding in roles.bindings:
        yield Need(
            type(binding),
            binding.metadata.name,
            lambda binding=binding: binding,  # type: ignore[misc]  # bound in the loop
            binding.metadata.namespace,
            partial(bootstrap_roles.revised, wanted=binding),
            must_replace=partial(bootstrap_roles.is_rebound, wanted=binding),
            stage=REST,
        )


def _standing(item: Any, revise: Any) -> Need:
    return Need(
        type(item),
        item.metadata.name,
        lambda: item,
        item.metadata.namespace,
        revise,
        stage=REST,
    )
