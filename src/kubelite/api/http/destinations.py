"""Where the API server connects to on somebody's word, and where never: asked before each connection.

The addresses of nodes and pods are what nodes report, those of services what endpoints say. None may lead to a door
that only this host is let in at, nor back to the API server, which would take its own connection for somebody else's.
What a node is asked with the server's certificate has to prove besides which node it is (see `dialer`).
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
    """Says which addresses may be dialed."""

    def __init__(
        self,
        *,
        own: Callable[[], Collection[str]] = tuple,
        port: int = 0,
        service: Callable[[], Collection[str]] = tuple,
        node: Callable[[], tuple[str, str]] = lambda: ("", ""),
    ) -> None:
        """`own` are the addresses the API server is reached at, on `port`, and `service` those of its Service.

        `node` is name and address of the node in this process: a host without a network has loopback only. All are
        asked at each check, as the host's addresses change.
        """
        self._own = own
        self._port = port
        self._service = service
        self._node = node

    def check(self, addresses: Sequence[str], port: int, node: str = "") -> None:
        """Raise BadRequest unless all addresses may be dialed; `node` is the one that has to prove to be there."""
        if not addresses:
            raise BadRequest("no addresses for hostname")
        for address in addresses:
            if self._is_own(plain(address), port):
                raise BadRequest(REFUSAL)
            if not (node and (node, address) == self._node()):
                check_address(address)

    def _is_own(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Tell whether the API server itself answers there."""
        own = self._own() if port == self._port else ()
        service = self._service() if port == HTTPS_PORT else ()
        return any(address == plain(one) for one in (*own, *service))


def check_address(address: str) -> None:
    """Raise BadRequest for an address behind which no node and no pod can be, as Kubernetes' proxies do."""
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
    """Return an address, that of IPv4 for one that is written as IPv6; raises BadRequest for no address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as error:
        raise BadRequest(REFUSAL) from error
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
