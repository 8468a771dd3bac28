"""TLS contexts for the connections to other API servers: whom they trust, and the certificate that they show."""

import asyncio
import base64
import binascii
import ssl
from collections.abc import Callable
from pathlib import Path

from kubelite.api.http.delegation import Registration, ShownCertificate
from kubelite.limits import AGGREGATED_AUTHORITIES


class BadAuthorities(Exception):
    """The caBundle of an APIService holds no certificates."""


class ClientContexts:
    """Makes and keeps the contexts, by authorities."""

    def __init__(self, front_proxy: Callable[[], ShownCertificate] | None = None) -> None:
        """Without `front_proxy` no certificate is shown."""
        self._front_proxy = front_proxy
        self._contexts: dict[tuple[str, bool, int], ssl.SSLContext] = {}

    async def find(self, registration: Registration) -> ssl.SSLContext:
        """Return the context for the server of an APIService. Raises BadAuthorities."""
        shown = self._front_proxy() if self._front_proxy is not None else None
        key = (
            registration.ca_bundle,
            registration.skips_verification,
            shown.serial_number if shown is not None else 0,
        )
        known = self._contexts.get(key)
        if known is not None:
            return known
        pair = shown.pair if shown is not None else None
        # Reads files: the certificate, and without a bundle the authorities of the host.
        context = await asyncio.to_thread(_context, key[0], key[1], pair)
        if len(self._contexts) >= AGGREGATED_AUTHORITIES.value:
            AGGREGATED_AUTHORITIES.reached()
            self._contexts.clear()
        # Another request may have made it meanwhile; connections are shared by those that have the same context.
        return self._contexts.setdefault(key, context)


def _context(bundle: str, skips_verification: bool, pair: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if pair is not None:
        context.load_cert_chain(pair)
    if skips_verification:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif bundle:
        try:
            pem = base64.b64decode(bundle, validate=True).decode("ascii")
            context.load_verify_locations(cadata=pem)
        except (binascii.Error, UnicodeDecodeError, ssl.SSLError, ValueError) as error:
            raise BadAuthorities(f"unable to load root certificates: {error}") from error
    else:
        context.load_default_certs()
    return context
