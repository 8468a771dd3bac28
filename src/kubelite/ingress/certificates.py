"""TLS settings by the name that a client asks for (SNI), replaced while connections are open."""

import os
import ssl
from collections.abc import Sequence

from kubelite.ingress.messages import Certificate


class InvalidCertificate(Exception):
    """A certificate or key that cannot be used; `str()` says why."""


def server_context(pem: bytes) -> ssl.SSLContext:
    """Return the settings for a chain with its key. Raises InvalidCertificate.

    OpenSSL reads files only, so the key goes through one that is in memory and has no name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        # A password is asked for on the terminal unless one is given.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or "no certificate with its key"
        raise InvalidCertificate(str(reason).lower().replace("_", " ")) from None
    finally:
        os.close(descriptor)
    return context


class CertificateStore:
    """The present certificates."""

    def __init__(self) -> None:
        self._contexts: dict[bytes, ssl.SSLContext] = {}  # by PEM, so that a change makes one anew
        self._by_host: dict[str, ssl.SSLContext] = {}
        self._default: ssl.SSLContext | None = None

    def use(self, default: bytes, certificates: Sequence[Certificate]) -> None:
        """Use these from the next handshake on; one that is invalid is left out."""
        contexts: dict[bytes, ssl.SSLContext] = {}
        by_host: dict[str, ssl.SSLContext] = {}
        for one in (Certificate((), default), *certificates):
            context = contexts.get(one.pem) or self._contexts.get(one.pem)
            if context is None:
                try:
                    context = server_context(one.pem)
                except InvalidCertificate:
                    continue
            contexts[one.pem] = context
            for host in one.hosts:
                by_host.setdefault(host, context)
        self._contexts, self._by_host = contexts, by_host
        self._default = contexts.get(default, self._default)
        if self._default is not None:
            self._default.sni_callback = self._choose

    @property
    def context(self) -> ssl.SSLContext | None:
        """The settings with which a handshake begins."""
        return self._default

    def find(self, name: str) -> ssl.SSLContext | None:
        """Return the settings for a host name: those of the name, of its wildcard, or the default."""
        name = name.lower().rstrip(".")
        found = self._by_host.get(name)
        if found is None:
            found = self._by_host.get("*." + name.partition(".")[2])
        return found or self._default

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name and (found := self.find(name)) is not None:
            connection.context = found
