"""Parses certificate signing requests and signs them with the cluster CA; callers approve them before."""

from datetime import timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from msgspec import Struct

from kubelite.api.auth.certificates import (
    BACKDATED,
    CLIENT_AUTH,
    LEAF_LIFETIME,
    SERVER_AUTH,
    UNREADABLE,
    Authority,
    Wanted,
    alternative_names,
    certificate_pem,
    common_name,
    organizations,
)
from kubelite.api.auth.pki import Pki
from kubelite.clock import Clock
from kubelite.randomness import Randomness

SHORTEST_SECONDS = 600
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


def read_request(pem: bytes) -> Request:
    """Parse a PEM request and verify by its signature that the sender has the key; raises RequestInvalid."""
    try:
        csr = x509.load_pem_x509_csr(pem)
        if not csr.is_signature_valid:
            raise RequestInvalid("its signature is wrong")
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
        self, pem: bytes, *, usages: tuple[str, ...], expiration_seconds: int | None = None
    ) -> bytes:
        """Return the PEM certificate for a request, followed by the CA's cross certificate if there is one.

        `usages` are those of the CertificateSigningRequest (``client auth``). The lifetime is at least
        `SHORTEST_SECONDS` and at most `LEAF_LIFETIME`, the default. Raises RequestInvalid.
        """
        lifetime = LEAF_LIFETIME
        if expiration_seconds is not None:
            asked = timedelta(seconds=max(expiration_seconds, SHORTEST_SECONDS))
            lifetime = min(asked, LEAF_LIFETIME)
        return self._signed(read_request(pem), self._pki.authority, usages, lifetime)

    def _signed(
        self, request: Request, authority: Authority, usages: tuple[str, ...], lifetime: timedelta
    ) -> bytes:
        now = self._clock.now()
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
        for extension in request.csr.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(extension.value, critical=False)
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


def _other_names(csr: x509.CertificateSigningRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    emails = names.get_values_for_type(x509.RFC822Name)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return tuple(emails), tuple(uris)
