"""TLS to endpoints: whom to trust, and which names their certificates must have."""

import asyncio
import ssl
from collections.abc import Callable
from typing import TypeVar

from kubelite.ingress.endpoints import BackendTLS

P = TypeVar("P", bound=asyncio.BaseProtocol)


class Secured:
    """Makes connections with TLS to endpoints that have a certificate to be trusted."""

    def __init__(self, tls: BackendTLS, protocol: str) -> None:
        """`protocol` is offered by ALPN. Raises OSError for authorities that cannot be read."""
        self._tls = tls
        self._context = context_for(tls, protocol)

    async def connect(self, make: Callable[[], P], address: str) -> P:
        """Return the protocol of a new connection. Raises OSError for an endpoint that is not to be trusted."""
        host, _, port = address.rpartition(":")
        transport, made = await asyncio.get_running_loop().create_connection(
            make,
            host.strip("[]"),
            int(port),
            ssl=self._context,
            server_hostname=self._tls.host,
        )
        if self._tls.is_verified and not has_name(
            self._tls, transport.get_extra_info("ssl_object")
        ):
            transport.abort()
            raise ConnectionAbortedError("the endpoint's certificate has none of the names")
        return made


def context_for(tls: BackendTLS, protocol: str) -> ssl.SSLContext:
    """Return the settings of connections. Raises OSError for authorities that cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.is_verified:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif tls.authorities:
        context.load_verify_locations(cadata=tls.authorities.decode("ascii", "replace"))
    else:
        context.load_default_certs()
    if tls.names:
        context.check_hostname = False  # `has_name` looks for these instead
    context.set_alpn_protocols([protocol])
    return context


def has_name(tls: BackendTLS, secured: ssl.SSLObject) -> bool:
    """Return whether the certificate of a connection has one of the names that are asked for."""
    if not tls.names:
        return True  # the handshake has checked the host name
    shown = (secured.getpeercert() or {}).get("subjectAltName", ())
    return any(_fits(str(pair[0]), str(pair[1]), wanted) for pair in shown for wanted in tls.names)


def _fits(kind: str, shown: str, wanted: str) -> bool:
    if kind == "URI":
        return shown == wanted
    if kind != "DNS" or "/" in wanted:
        return False
    shown, wanted = shown.lower(), wanted.lower()
    if shown.startswith("*."):  # of the certificate: exactly one label
        return wanted.partition(".")[2] == shown[2:]
    return shown == wanted
