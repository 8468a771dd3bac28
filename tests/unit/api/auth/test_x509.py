"""Client certificates: whom they name, and which prove nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from kubelite.api.auth.certificates import Wanted, issue, new_authority, new_key
from kubelite.api.auth.x509 import CertificateInvalid, ClientCertificates
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
RANDOM = SeededRandomness(5)
AUTHORITY = new_authority("ca", NOW, RANDOM)
DAY = timedelta(days=1)


ANNA = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anna")])


def builder(*, not_after: datetime = NOW + DAY, name: x509.Name = ANNA) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(AUTHORITY.certificate.subject)
        .public_key(new_key().public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(not_after)
    )


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def by_authority(made: x509.CertificateBuilder) -> bytes:
    return der(made.sign(AUTHORITY.key, hashes.SHA256()))


def reason(shown: bytes, now: datetime = NOW) -> str:
    with pytest.raises(CertificateInvalid) as refused:
        ClientCertificates([AUTHORITY.certificate], SetClock(now)).caller(shown)
    return str(refused.value)


def test_user_and_groups() -> None:
    wanted = Wanted("anna", ("team", "ops"))
    shown = der(issue(AUTHORITY, new_key().public_key(), wanted, NOW, RANDOM))
    caller = ClientCertificates([AUTHORITY.certificate], SetClock(NOW)).caller(shown)
    assert (caller.user, caller.groups) == ("anna", ("team", "ops"))
    [credential] = caller.extra["authentication.kubernetes.io/credential-id"]
    assert credential.startswith("X509SHA256=")


@pytest.mark.parametrize("now", [NOW - 2 * DAY, NOW + 2 * DAY])
def test_dates_are_looked_at_for_each_request(now: datetime) -> None:
    shown = by_authority(builder())
    clock = SetClock(NOW)
    certificates = ClientCertificates([AUTHORITY.certificate], clock)
    assert certificates.caller(shown).user == "anna"
    clock.date = now
    with pytest.raises(CertificateInvalid, match="has expired or is not yet valid"):
        certificates.caller(shown)


def test_a_certificate_does_not_outlive_its_authority() -> None:
    end = AUTHORITY.certificate.not_valid_after_utc
    shown = by_authority(builder(not_after=end + 9 * DAY))
    assert reason(shown, end + DAY) == "x509: certificate has expired or is not yet valid"


def test_whoever_is_no_longer_trusted_is_refused_at_once() -> None:
    certificates = ClientCertificates([AUTHORITY.certificate], SetClock(NOW))
    shown = by_authority(builder())
    assert certificates.caller(shown).user == "anna"
    certificates.trust([new_authority("ca", NOW, RANDOM).certificate])
    with pytest.raises(CertificateInvalid, match="signed by unknown authority"):
        certificates.caller(shown)


def unknown(number: int) -> x509.UnrecognizedExtension:
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{number}"), b"\x05\x00")


DOUBLE = builder().add_extension(unknown(4), critical=False)
DOUBLE = DOUBLE.add_extension(unknown(5), critical=False)
LAST_NUMBER = b"\x06\x03\x2a\x03"


@pytest.mark.parametrize(
    "shown",
    [
        b"",
        b"\x30\x00",
        der(builder().sign(new_key(), hashes.SHA256())),
        der(builder().sign(ed25519.Ed25519PrivateKey.generate(), None)),
        by_authority(DOUBLE).replace(LAST_NUMBER + b"\x05", LAST_NUMBER + b"\x04"),
        by_authority(builder()).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07"),
    ],
    ids=["nothing", "empty", "forged", "of another kind", "an extension twice", "of version 8"],
)
def test_what_cannot_be_read_proves_nothing(shown: bytes) -> None:
    assert reason(shown).startswith("x509: ")


@pytest.mark.parametrize("serial", [b"\x00", b"\x80"])
def test_an_odd_serial_number_is_no_error_of_the_server(serial: bytes) -> None:
    shown = by_authority(builder()).replace(b"\x02\x01\x01", b"\x02\x01" + serial, 1)
    assert reason(shown) == "x509: certificate signed by unknown authority"


def test_a_certificate_without_a_name_proves_nothing() -> None:
    shown = by_authority(builder(name=x509.Name([])))
    assert reason(shown) == "x509: certificate has no common name"
