"""Parses certificate signing requests and signs them with the cluster CA; callers approve them before."""

from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from msgspec import Struct

from kubelite.api.auth.certificates import (
    BACKDATED,
    CLIENT_AUTH,
    LEAF_LIFETIME,
    SERVER_AUTH,
    UNREADABLE,
    Wanted,
    alternative_names,
    certificate_pem,
    common_name,
    organizations,
    public_key_hash,
)
from kubelite.api.auth.pki import Pki
from kubelite.api.machinery.join_secrets import Machine
from kubelite.clock import Clock
from kubelite.limits import SIGNING_REQUEST
from kubelite.randomness import Randomness

SHORTEST_SECONDS = 600
SEEN_NAMES = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
PURPOSES = {"client auth": CLIENT_AUTH, "server auth": SERVER_AUTH}

KEY_USAGES = frozenset(
    {
        "digital signature",
        "content commitment",
        "key encipherment",
        "data encipherment",
        "key agreement",
    }
)


class RequestInvalid(ValueError):
    """The bytes are no certificate signing request, or its signature is invalid."""


class Request(Struct, frozen=True):
    """A parsed signing request."""

    wanted: Wanted
    emails: tuple[str, ...]
    uris: tuple[str, ...]
    csr: x509.CertificateSigningRequest

    @property
    def key_hash(self) -> str:
        """The SHA-256 of the public key in hexadecimal."""
        return public_key_hash(self.csr)


def read_request(pem: bytes) -> Request:
    """Parse a PEM request and verify by its signature that the sender has the key; raises RequestInvalid."""
    if len(pem) > SIGNING_REQUEST.value:
        SIGNING_REQUEST.reached()
        raise RequestInvalid(f"it has more than {SIGNING_REQUEST.value} bytes")
    try:
        csr = x509.load_pem_x509_csr(pem)
        if not csr.is_signature_valid:
            raise RequestInvalid("its signature is wrong")
        if len(csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)) > 1:
            # Some programs read the first one and some the last, so it would name two users.
            raise RequestInvalid("its subject has several common names")
        names, addresses = alternative_names(csr)
        emails, uris = _other_names(csr)
        wanted = Wanted(
            common_name=common_name(csr.subject),
            organizations=organizations(csr.subject),
            dns_names=tuple(names),
            addresses=tuple(addresses),
            usages=(),
        )
    except (TypeError, InvalidSignature, *UNREADABLE) as error:
        raise RequestInvalid(str(error)) from error
    return Request(wanted, emails, uris, csr)


class CertificateSigner:
    """Signs requests with the current cluster CA."""

    def __init__(self, pki: Pki, clock: Clock, randomness: Randomness) -> None:
        self._pki = pki
        self._clock = clock
        self._randomness = randomness

    def sign(
        self,
        pem: bytes,
        *,
        usages: tuple[str, ...],
        expiration_seconds: int | None = None,
        machine: Machine | None = None,
    ) -> bytes:
        """Return the PEM certificate for a request, followed by the CA's cross certificate if there is one.

        `usages` are those of the CertificateSigningRequest (``client auth``). The lifetime is at least
        `SHORTEST_SECONDS` and at most `LEAF_LIFETIME`, the default. `machine` is added as a name, so that its node's
        deletion voids the certificate. Raises RequestInvalid.
        """
        lifetime = LEAF_LIFETIME
        if expiration_seconds is not None:
            asked = timedelta(seconds=max(expiration_seconds, SHORTEST_SECONDS))
            lifetime = min(asked, LEAF_LIFETIME)
        return self._signed(read_request(pem), usages, lifetime, machine)

    def _signed(
        self,
        request: Request,
        usages: tuple[str, ...],
        lifetime: timedelta,
        machine: Machine | None,
    ) -> bytes:
        now, authority = self._clock.now(), self._pki.authority
        purposes = [PURPOSES[usage] for usage in usages if usage in PURPOSES]
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.csr.subject)
            .issuer_name(authority.certificate.subject)
            .public_key(request.csr.public_key())
            .serial_number(int.from_bytes(self._randomness.token_bytes(16)) | 1)
            .not_valid_before(now - BACKDATED)
            .not_valid_after(min(now + lifetime, authority.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
                critical=False,
            )
        )
        if key_usage := _key_usage(usages):
            builder = builder.add_extension(key_usage, critical=True)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if names := _names(request.csr, machine):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return certificate_pem(builder.sign(authority.key, hashes.SHA256()), *authority.chain)


def _key_usage(usages: tuple[str, ...]) -> x509.KeyUsage | None:
    if not KEY_USAGES.intersection(usages):
        return None  # without the extension any usage is allowed
    return x509.KeyUsage(
        digital_signature="digital signature" in usages,
        content_commitment="content commitment" in usages,
        key_encipherment="key encipherment" in usages,
        data_encipherment="data encipherment" in usages,
        key_agreement="key agreement" in usages,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(csr: x509.CertificateSigningRequest, machine: Machine | None) -> list[x509.GeneralName]:
    """Return the alternative names of the types that approvers see, and that of a machine."""
    own = [] if machine is None else [x509.UniformResourceIdentifier(machine.uri)]
    try:
        given = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return list(own)
    return [*(name for name in given if isinstance(name, SEEN_NAMES)), *own]


def _other_names(csr: x509.CertificateSigningRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    emails = names.get_values_for_type(x509.RFC822Name)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return tuple(emails), tuple(uris)
