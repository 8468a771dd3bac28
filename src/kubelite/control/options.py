"""Options and services that the composition root gives to the controllers."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Protocol

from msgspec import Struct

from kubelite.api.client.protocol import ServedResource as Resource
from kubelite.api.client.protocol import ServedResources as Resources
from kubelite.api.kinds.apiregistration import APIService
from kubelite.api.machinery.join_secrets import Machine
from kubelite.control.needs import SystemObjects

__all__ = ["Options", "Resource", "Resources"]

Network = IPv4Network | IPv6Network


class RequestedNames(Protocol):
    """The requested subject and alternative names of a signing request."""

    @property
    def common_name(self) -> str: ...
    @property
    def organizations(self) -> Sequence[str]: ...
    @property
    def dns_names(self) -> Sequence[str]: ...
    @property
    def addresses(self) -> Sequence[Any]: ...


class SigningRequest(Protocol):
    """A parsed certificate signing request."""

    @property
    def wanted(self) -> RequestedNames: ...
    @property
    def emails(self) -> Sequence[str]: ...
    @property
    def uris(self) -> Sequence[str]: ...
    @property
    def key_hash(self) -> str:
        """The SHA-256 of the public key in hexadecimal."""
        ...


class CertificateSigner(Protocol):
    """Issues client and serving certificates of the cluster's authority."""

    def sign(
        self,
        pem: bytes,
        *,
        usages: tuple[str, ...],
        expiration_seconds: int | None = None,
        machine: Machine | None = None,
    ) -> bytes:
        """Return the PEM chain for a PEM request, which says that it belongs to `machine`."""
        ...


class TokenIssuer(Protocol):
    """Issues the long-lived tokens of service account secrets."""

    def issue_legacy(self, namespace: str, name: str, uid: str, secret: str) -> str:
        """Return a token of a service account that is valid as long as its secret exists."""
        ...


class ServerIdentity(Struct, frozen=True):
    """What belongs to the server and to the cluster's Services, so that no node may have a certificate for it."""

    node_name: str = ""  # of the server's own node
    names: tuple[str, ...] = ()  # DNS names at which clients reach the API
    addresses: tuple[str, ...] = ()
    domain: str = "cluster.local"  # of the cluster
    networks: tuple[Network, ...] = ()  # addresses of pods and Services


class APIServiceProbe(Protocol):
    """Asks the server behind an APIService whether it serves its group version."""

    async def probe(self, service: APIService) -> str:
        """Return "" if discovery of the group version answers with a status of 200 to 299, else the reason.

        Each call may ask another of the Service's endpoints. The reason becomes the message of a condition.
        """
        ...


class LoadBalancing(Struct, frozen=True):
    """Whether and how Services of type LoadBalancer get addresses."""

    is_on: bool = True
    pool: tuple[
        tuple[int, int], ...
    ] = ()  # ranges, both ends included, of IPv4 and, above 2**32, of IPv6; empty: nodes' own addresses
    api_port: int = 6443  # which no Service may have on nodes


class IngressOptions(Struct, frozen=True):
    """Whether the cluster has an IngressClass of kubelite's, and where nodes listen."""

    is_on: bool = True
    ports: tuple[int, ...] = (80, 443)  # of the nodes


class Options(Struct, frozen=True):
    """Settings of this cluster, and services outside of the API, that controllers need."""

    cluster_cidrs: tuple[Network, ...] = (ip_network("10.42.0.0/16"),)
    node_prefix_v4: int = 24  # prefix length of a node's pod CIDR
    node_prefix_v6: int = 64
    cluster_ca: str = ""  # PEM, published in every namespace
    resources: Resources | None = None  # None: those that the client of the mirrors knows
    signer: CertificateSigner | None = None  # None: no request is signed
    read_request: Callable[[bytes], SigningRequest] | None = None  # raises ValueError
    server: Callable[[], ServerIdentity] = ServerIdentity  # asked anew, since addresses change
    token_issuer: TokenIssuer | None = None
    probe_api_service: APIServiceProbe | None = None  # None: an endpoint that is ready is enough
    serves_metrics: bool = False  # whether metrics.k8s.io is served here
    system: SystemObjects = SystemObjects()  # required objects; empty except in a server
    load_balancing: LoadBalancing = LoadBalancing()
    ingress: IngressOptions = IngressOptions()
    node_grace_seconds: float = 50.0  # without a report a node becomes Unknown
    terminated_pods_limit: int = 12_500
