"""Authenticates callers by client certificate: the CN is the user, each O a group.

TLS has proved only that the client holds the certificate's key. Any certificate completes the handshake, so that an
untrusted one is answered with 401. The issuer is checked here once, the dates at each request, since a connection may
outlive them.
"""

import hashlib
import warnings
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import (
    CLIENT_AUTH,
    UNREADABLE,
    common_name,
    is_issued_by,
    organizations,
    public_key_hash,
    usages,
)
from kubelite.api.auth.nodes import node_name
from kubelite.api.auth.recent import Recent
from kubelite.api.auth.tokens import CREDENTIAL_ID
from kubelite.api.machinery.join_secrets import Machine, machine_of_uri
from kubelite.clock import Clock

REMEMBERED = 1024
ANY_USAGE = "2.5.29.37.0"


class CertificateInvalid(Exception):
    """The certificate does not authenticate its holder."""


class Read(Struct, frozen=True):
    """The caller and the validity of a checked certificate."""

    caller: Caller
    not_before: datetime
    not_after: datetime
    machine: Machine | None  # the one it belongs to; None: no node's


class ClientCertificates:
    """Maps client certificates to callers."""

    def __init__(self, authorities: Sequence[x509.Certificate], clock: Clock) -> None:
        """`authorities` are the CAs of clients: `Pki.trusted`, and more if configured."""
        self._authorities = list(authorities)
        self._clock = clock
        self._read: Recent[bytes, Read] = Recent(REMEMBERED)

    def trust(self, authorities: Sequence[x509.Certificate]) -> None:
        """Replace the trusted CAs, after a rotation, and drop the cache."""
        self._authorities = list(authorities)
        self._read.clear()

    def knows(self, der: bytes) -> bool:
        """Return whether a certificate was found to be of these authorities lately; its dates are not checked."""
        return der in self._read

    def caller(self, der: bytes) -> Caller:
        """Return the caller of a DER certificate; raises CertificateInvalid."""
        return self.read(der).caller

    def read(self, der: bytes) -> Read:
        """Return what a DER certificate proves now; raises CertificateInvalid."""
        read = self._read.get(der)
        if read is None:
            read = self._parse(der)
            self._read.put(der, read)
        if not read.not_before <= self._clock.now() <= read.not_after:
            raise CertificateInvalid("x509: certificate has expired or is not yet valid")
        return read

    def _parse(self, der: bytes) -> Read:
        try:
            with warnings.catch_warnings():
                # Of serial numbers that are not positive; nobody but the authority could have chosen one.
                warnings.simplefilter("ignore", CryptographyDeprecationWarning)
                certificate = x509.load_der_x509_certificate(der)
                authority = self._signer(certificate)
                allowed = {usage.dotted_string for usage in usages(certificate)}
                name, groups = common_name(certificate.subject), organizations(certificate.subject)
                machine = _machine(certificate, Caller(name, groups))
        except UNREADABLE as error:
            raise CertificateInvalid(f"x509: malformed certificate: {error}") from error
        if allowed and not allowed & {CLIENT_AUTH.dotted_string, ANY_USAGE}:
            raise CertificateInvalid("x509: certificate specifies an incompatible key usage")
        if not name:
            raise CertificateInvalid("x509: certificate has no common name")
        credential = f"X509SHA256={hashlib.sha256(der).hexdigest()}"
        return Read(
            caller=Caller(name, groups, extra={CREDENTIAL_ID: (credential,)}),
            not_before=max(certificate.not_valid_before_utc, authority.not_valid_before_utc),
            not_after=min(certificate.not_valid_after_utc, authority.not_valid_after_utc),
            machine=machine,
        )

    def _signer(self, certificate: x509.Certificate) -> x509.Certificate:
        for authority in self._authorities:
            if is_issued_by(certificate, authority):
                return authority
        raise CertificateInvalid("x509: certificate signed by unknown authority")


def _machine(certificate: x509.Certificate, caller: Caller) -> Machine | None:
    """Return the machine that a certificate belongs to: that of a node, or one that the signer has named."""
    if node := node_name(caller):
        return Machine(node, public_key_hash(certificate))
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return None
    uris = extension.value.get_values_for_type(x509.UniformResourceIdentifier)
    return next(filter(None, map(machine_of_uri, uris)), None)
