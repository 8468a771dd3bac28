"""Guard against request forgery: which addresses the API server may dial for a caller, checked on each connection.

Nodes report the addresses of nodes and pods, endpoints those of services. None may lead to a service that only this
host can reach, nor back to the API server, which would take its own connection for another caller's. The name of an
ExternalName Service may lead to this host, but not to the API server. A node dialed with the server's client
certificate must also prove which node it is (see `dialer`).
"""

import ipaddress
from collections.abc import Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address

from kubelite.api.errors import BadRequest

REFUSAL = "address not allowed"  # Kubernetes' words
HTTPS_PORT = 443
THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
BROADCAST = ipaddress.ip_address("255.255.255.255")


class Destinations:
    """Decides which addresses may be dialed."""

    def __init__(
        self,
        *,
        own: Callable[[], Collection[str]] = tuple,
        port: int = 0,
        service: Callable[[], Collection[str]] = tuple,
        node: Callable[[], tuple[str, str]] = lambda: ("", ""),
    ) -> None:
        """`own` returns the addresses of the API server, which listens on `port`; `service` those of its Service.

        `node` returns name and address of the node in this process; the address is a loopback one on a host without a
        network. All three are called on each check, since the host's addresses change.
        """
        self._own = own
        self._port = port
        self._service = service
        self._node = node

    def check(self, addresses: Sequence[str], port: int, node: str = "") -> None:
        """Raise BadRequest unless all addresses may be dialed; `node` must prove itself by certificate, if given."""
        if not addresses:
            raise BadRequest("no addresses for hostname")
        for address in addresses:
            if self._is_own(plain(address), port):
                raise BadRequest(REFUSAL)
            if not (node and (node, address) == self._node()):
                check_address(address)

    def check_external(self, addresses: Sequence[str], port: int) -> None:
        """Raise BadRequest unless all addresses behind the name of an ExternalName Service may be dialed.

        Such a name may lead to this host, as in Kubernetes, which no endpoint may; but not to the API server.
        """
        if not addresses:
            raise BadRequest("no addresses for hostname")
        for address in addresses:
            parsed = plain(address)
            if self._is_own(parsed, port) or (parsed.is_loopback and port == self._port):
                raise BadRequest(REFUSAL)
            if not parsed.is_loopback:
                check_address(address)

    def _is_own(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Return whether the API server itself answers at the address."""
        own = self._own() if port == self._port else ()
        service = self._service() if port == HTTPS_PORT else ()
        return any(address == plain(one) for one in (*own, *service))


def check_address(address: str) -> None:
    """Raise BadRequest for a loopback, link-local or other special address, as Kubernetes' proxies do."""
    parsed = plain(address)
    if (
        parsed.is_loopback
        or parsed.is_link_local
        or parsed.is_multicast
        or parsed.is_unspecified
        or parsed == BROADCAST
        or parsed in THIS_NETWORK
    ):
        raise BadRequest(REFUSAL)


def plain(address: str) -> IPv4Address | IPv6Address:
    """Parse an IP address; an IPv4-mapped IPv6 address becomes IPv4. Raises BadRequest."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise BadRequest(REFUSAL) from error
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
