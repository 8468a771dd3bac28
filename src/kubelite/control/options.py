"""Options and services that the composition root gives to the controllers."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Protocol

from msgspec import Struct

from kubelite.control.needs import SystemObjects

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


class CertificateSigner(Protocol):
    """Issues client and serving certificates of the cluster's authority."""

    def sign(
        self, pem: bytes, *, usages: tuple[str, ...], expiration_seconds: int | None = None
    ) -> bytes:
        """Return the PEM chain for a PEM request."""
        ...


class TokenIssuer(Protocol):
    """Issues the long-lived tokens of service account secrets."""

    def issue_legacy(self, namespace: str, name: str, uid: str, secret: str) -> str:
        """Return a token of a service account that is valid as long as its secret exists."""
        ...


class Resource(Struct, frozen=True):
    """A served resource that can be listed, watched and deleted."""

    group: str
    version: str
    resource: str
    kind: str
    namespaced: bool


class Resources(Protocol):
    """The resources served now; custom ones come and go with their definitions."""

    def resources(self) -> Sequence[Resource]:
        """Return each resource once, at its preferred version."""
        ...

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change; return a function that ends it."""
        ...


class StaticResources:
    """Resources that never change."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = tuple(resources)

    def resources(self) -> Sequence[Resource]:
        """Return them."""
        return self._resources

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Never call."""
        del listener
        return lambda: None


class Options(Struct, frozen=True):
    """Settings of this cluster, and services outside of the API, that controllers need."""

    cluster_cidrs: tuple[Network, ...] = (ip_network("10.42.0.0/16"),)
    node_prefix_v4: int = 24  # prefix length of a node's pod CIDR
    node_prefix_v6: int = 64
    cluster_ca: str = ""  # PEM, published in every namespace
    resources: Resources = StaticResources(())
    signer: CertificateSigner | None = None  # None: no request is signed
    read_request: Callable[[bytes], SigningRequest] | None = None  # raises ValueError
    token_issuer: TokenIssuer | None = None
    system: SystemObjects = SystemObjects()  # required objects; empty except in a server
    node_grace_seconds: float = 50.0  # without a report a node becomes Unknown
    terminated_pods_limit: int = 12_500
