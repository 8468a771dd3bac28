"""TLS settings by the name that a client asks for (SNI), replaced while connections are open."""

import os
import ssl
from collections.abc import Sequence
from contextlib import suppress

from kubelite.ingress.messages import Certificate
from kubelite.ingress.routes import ANY_DEPTH

DOMAINS_MAX = 32  # labels of a name that are looked at, which a client chooses


class InvalidCertificate(Exception):
    """A certificate or key that cannot be used; `str()` says why."""


def server_context(pem: bytes) -> ssl.SSLContext:
    """Return the settings for a chain with its key. Raises InvalidCertificate.

    OpenSSL reads files only, so the key goes through one that is in memory and has no name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["h2", "http/1.1"])
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
        self._by_host: dict[int, dict[str, ssl.SSLContext]] = {}  # by port
        self._default = b""
        self._first: dict[int, ssl.SSLContext] = {}  # with which handshakes begin, by port

    def use(self, default: bytes, certificates: Sequence[Certificate]) -> None:
        """Use these from the next handshake on; one that is invalid is left out."""
        contexts: dict[bytes, ssl.SSLContext] = {}
        by_host: dict[int, dict[str, ssl.SSLContext]] = {}
        for one in certificates:
            context = contexts.get(one.pem) or self._contexts.get(one.pem)
            if context is None:
                try:
                    context = server_context(one.pem)
                except InvalidCertificate:
                    continue
            contexts[one.pem] = context
            for host in one.hosts:
                by_host.setdefault(one.port, {}).setdefault(host, context)
        self._contexts, self._by_host = contexts, by_host
        if default != self._default:
            with suppress(InvalidCertificate):
                server_context(default)
                self._default = default
                self._first.clear()

    @property
    def context(self) -> ssl.SSLContext | None:
        """The default's settings on the port of Ingresses."""
        return self.context_of(0)

    def context_of(self, port: int, *, is_extra: bool = False) -> ssl.SSLContext | None:
        """Return the settings with which a handshake on a port begins; None before there is a certificate."""
        found = self._first.get(port)
        if found is None and self._default:
            found = self._first[port] = server_context(self._default)

            def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
                chosen = self.find(name or "", port, is_extra=is_extra)
                if chosen is not None:
                    connection.context = chosen

            found.sni_callback = choose
        return found

    def find(self, name: str, port: int = 0, *, is_extra: bool = False) -> ssl.SSLContext | None:
        """Return the settings for a host name: those of the name, of its wildcard, of all, or the default."""
        name = name.lower().rstrip(".")
        found = None if is_extra else _chosen(self._by_host.get(0, {}), name)
        return found or _chosen(self._by_host.get(port, {}), name) or self.context_of(port)


def _chosen(by_host: dict[str, ssl.SSLContext], name: str) -> ssl.SSLContext | None:
    """Return what the closest of the host names that a name is among has."""
    if (found := by_host.get(name)) is not None:
        return found
    parts = name.split(".", DOMAINS_MAX)
    if (found := by_host.get("*." + ".".join(parts[1:]))) is not None:
        return found
    for depth in range(1, len(parts)):
        if (found := by_host.get(ANY_DEPTH + ".".join(parts[depth:]))) is not None:
            return found
    return by_host.get("")
