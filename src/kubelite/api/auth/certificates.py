"""Issues and checks X.509 certificates; pure functions of keys, names and a date. `pki` reads and writes the files.

All keys are EC P-256, which takes 0.2 ms to generate; RSA takes 24 ms.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from msgspec import Struct

from kubelite.api.auth.join_token import certificate_hash
from kubelite.randomness import Randomness

CA_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
BACKDATED = timedelta(minutes=5)  # peers' clocks may run behind ours
SERIAL_BYTES = 16

# Errors of cryptography for malformed certificates, which have no common base but Exception.
UNREADABLE = (
    ValueError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH


class Wanted(Struct, frozen=True):
    """The content of a leaf certificate."""

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    usages: tuple[ObjectIdentifier, ...] = (CLIENT_AUTH,)


class Authority(Struct, frozen=True):
    """A CA: its key, its certificate, and the chain of cross certificates to older CAs."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    chain: tuple[
        x509.Certificate, ...
    ] = ()  # sent after a leaf: this CA's key signed by the previous CA


def new_key() -> ec.EllipticCurvePrivateKey:
    """Generate a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate_pem(*certificates: x509.Certificate) -> bytes:
    """Return certificates as PEM, one after the other."""
    return b"".join(
        certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates
    )


def read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Parse a private key; raises ValueError or TypeError if it is no unencrypted EC key."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not an EC key")  # noqa: TRY004 - the content is wrong, not a type
    return key


def new_authority(common_name: str, now: datetime, randomness: Randomness) -> Authority:
    """Generate a key and a self-signed CA certificate."""
    key = new_key()
    name = _name(common_name, ())
    certificate = _authority_certificate(name, name, key.public_key(), now, randomness).sign(
        key, hashes.SHA256()
    )
    return Authority(key, certificate)


def cross_signed(
    new: Authority, old: Authority, now: datetime, randomness: Randomness
) -> x509.Certificate:
    """Sign the new CA's key with the old CA, so that clients that trust only the old CA trust the new one's leaves."""
    builder = _authority_certificate(
        new.certificate.subject, old.certificate.subject, new.key.public_key(), now, randomness
    )
    return builder.sign(old.key, hashes.SHA256())


def issue(
    authority: Authority,
    public_key: ec.EllipticCurvePublicKey,
    wanted: Wanted,
    now: datetime,
    randomness: Randomness,
    lifetime: timedelta = LEAF_LIFETIME,
) -> x509.Certificate:
    """Issue a leaf certificate, which expires no later than its CA."""
    not_after = min(now + lifetime, authority.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(wanted.common_name, wanted.organizations))
        .issuer_name(authority.certificate.subject)
        .public_key(public_key)
        .serial_number(_serial(randomness))
        .not_valid_before(now - BACKDATED)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(wanted.usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    if alternatives := _alternatives(wanted):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def signing_request(key: ec.EllipticCurvePrivateKey, wanted: Wanted) -> bytes:
    """Return a PEM certificate signing request for `wanted`."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        _name(wanted.common_name, wanted.organizations)
    )
    if alternatives := _alternatives(wanted):
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def renewal_reason(
    certificate: x509.Certificate, wanted: Wanted, authority: Authority, now: datetime
) -> str:
    """Return why a leaf must be renewed; "" if it is valid, up to date and a third of its lifetime remains."""
    if not is_issued_by(certificate, authority.certificate):
        return "the CA changed"
    if now < certificate.not_valid_before_utc:
        return "it is not valid yet"
    if now >= renewal_date(certificate):
        return "less than a third of its life remains"
    if described(certificate) != normalized(wanted):
        return "names or addresses changed"
    return ""


def renewal_date(certificate: x509.Certificate) -> datetime:
    """Return the date at which a third of the certificate's lifetime remains."""
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return end - (end - start) / 3


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether `issuer` issued `certificate`: the names match and the signature is valid."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def described(certificate: x509.Certificate) -> Wanted:
    """Return the content of a certificate, as `normalized` orders it."""
    subject = certificate.subject
    names, addresses = alternative_names(certificate)
    return normalized(
        Wanted(
            common_name=_first(subject, NameOID.COMMON_NAME),
            organizations=organizations(subject),
            dns_names=tuple(names),
            addresses=tuple(addresses),
            usages=usages(certificate),
        )
    )


def normalized(wanted: Wanted) -> Wanted:
    """Sort and deduplicate, so that equal contents compare equal."""
    return Wanted(
        common_name=wanted.common_name,
        organizations=tuple(sorted(set(wanted.organizations))),
        dns_names=tuple(sorted({name.lower() for name in wanted.dns_names})),
        addresses=tuple(sorted({str(ip_address(address)) for address in wanted.addresses})),
        usages=tuple(sorted(set(wanted.usages), key=lambda usage: usage.dotted_string)),
    )


def organizations(subject: x509.Name) -> tuple[str, ...]:
    """Return the O values of a subject, in order."""
    return tuple(
        str(attribute.value)
        for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def common_name(subject: x509.Name) -> str:
    """Return the CN of a subject; "" if it has none."""
    return _first(subject, NameOID.COMMON_NAME)


def usages(certificate: x509.Certificate) -> tuple[ObjectIdentifier, ...]:
    """Return the extended key usages; empty without the extension."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value)


def alternative_names(
    signed: x509.Certificate | x509.CertificateSigningRequest,
) -> tuple[list[str], list[str]]:
    """Return the DNS names and the addresses of the subject alternative name."""
    try:
        extension = signed.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return [], []
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return list(names), [str(address) for address in addresses]


def public_key_hash(signed: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return the SHA-256 of the public key (SubjectPublicKeyInfo) in hexadecimal; a key made anew has another."""
    info = signed.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(info).hexdigest()


def authority_hash(certificate: x509.Certificate) -> str:
    """Return the hash by which a join token names a CA: that of the whole certificate."""
    return certificate_hash(certificate.public_bytes(serialization.Encoding.DER))


def trusted_by_hash(bundle_pem: bytes, ca_hash: str) -> x509.Certificate | None:
    """Return the certificate of a bundle that a join token names; None if the bundle must not be trusted.

    Raises ValueError if the bundle is not PEM.
    """
    for certificate in x509.load_pem_x509_certificates(bundle_pem):
        if authority_hash(certificate) == ca_hash:
            return certificate
    return None


def _authority_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    randomness: Randomness,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(_serial(randomness))
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True, sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, digital_signature: bool, sign_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _first(subject: x509.Name, oid: ObjectIdentifier) -> str:
    found = subject.get_attributes_for_oid(oid)
    return str(found[0].value) if found else ""


def _alternatives(wanted: Wanted) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in wanted.dns_names]
    return names + [x509.IPAddress(ip_address(address)) for address in wanted.addresses]


def _serial(randomness: Randomness) -> int:
    # RFC 5280, section 4.1.2.2, requires a positive number of at most 20 bytes.
    return int.from_bytes(randomness.token_bytes(SERIAL_BYTES)) | 1
