from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from kubelite.api.auth.certificates import (
    CLIENT_AUTH,
    SERVER_AUTH,
    Wanted,
    described,
    is_issued_by,
    new_key,
    signing_request,
)
from kubelite.api.auth.pki import Pki
from kubelite.api.auth.signing import CertificateSigner, RequestInvalid, read_request
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.machinery.join_secrets import Machine
from kubelite.clock import SetClock
from kubelite.limits import SIGNING_REQUEST
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
WANTED = Wanted("system:node:one", ("system:nodes",), ("one",), ("192.0.2.1",))


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki.ensure(
        tmp_path,
        clock=SetClock(NOW),
        randomness=SeededRandomness(1),
        names=["localhost"],
        addresses=["127.0.0.1"],
        node_name="one",
    )


def signed(pki: Pki, *usages: str, seconds: int | None = None) -> list[x509.Certificate]:
    signer = CertificateSigner(pki, SetClock(NOW), SeededRandomness(2))
    pem = signing_request(new_key(), WANTED)
    return x509.load_pem_x509_certificates(
        signer.sign(pem, usages=usages, expiration_seconds=seconds)
    )


def test_reads_what_is_asked_for() -> None:
    wanted = read_request(signing_request(new_key(), WANTED)).wanted
    assert (wanted.common_name, wanted.organizations) == ("system:node:one", ("system:nodes",))
    assert (wanted.dns_names, wanted.addresses) == (("one",), ("192.0.2.1",))


def test_signs_what_is_asked_for(pki: Pki) -> None:
    (certificate,) = signed(pki, "digital signature", "client auth", "server auth")
    says = described(certificate)
    assert says.common_name == "system:node:one"
    assert says.organizations == ("system:nodes",)
    assert says.addresses == ("192.0.2.1",)
    assert set(says.usages) == {CLIENT_AUTH, SERVER_AUTH}
    assert is_issued_by(certificate, pki.authority.certificate)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign


def test_no_key_usage_means_any(pki: Pki) -> None:
    (certificate,) = signed(pki, "client auth")
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.KeyUsage)


@pytest.mark.parametrize(
    ("asked", "given"), [(None, 365 * 86400), (3600, 3600), (1, 600), (10**9, 365 * 86400)]
)
def test_lifetimes_have_bounds(pki: Pki, asked: int | None, given: int) -> None:
    (certificate,) = signed(pki, "client auth", seconds=asked)
    assert certificate.not_valid_after_utc - NOW == timedelta(seconds=given)


def test_a_rotated_authority_sends_its_cross_certificate(pki: Pki) -> None:
    pki.rotate_authority()
    leaf, bridge = signed(pki, "client auth")
    assert is_issued_by(leaf, bridge)
    assert is_issued_by(bridge, pki.trusted[1])


def test_requests_that_prove_nothing() -> None:
    with pytest.raises(RequestInvalid):
        read_request(b"noise")
    pem = signing_request(new_key(), WANTED)
    body = bytearray(x509.load_pem_x509_csr(pem).public_bytes(Encoding.DER))
    body[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(body)).public_bytes(Encoding.PEM)
    with pytest.raises(RequestInvalid):
        read_request(forged)


def test_a_request_with_a_name_of_an_unknown_kind_is_refused() -> None:
    x400 = bytes.fromhex("3004a3020500")  # a subject alternative name that is an X.400 address
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), x400)
    key = new_key()
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anna")])
    )
    csr = builder.add_extension(extension, critical=False).sign(key, hashes.SHA256())
    with pytest.raises(RequestInvalid):
        read_request(csr.public_bytes(Encoding.PEM))


def request_of(subject: list[Any], *names: x509.GeneralName) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.PEM)


def named(*names: str) -> list[Any]:
    return [x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names]


def test_a_subject_names_one_user() -> None:
    """Some programs read the first common name and some the last."""
    with pytest.raises(RequestInvalid, match="several common names"):
        read_request(request_of(named("system:node:one", "system:node:two")))


def test_a_request_is_bounded_before_it_is_parsed() -> None:
    names = [x509.DNSName(f"a{number}.example.com") for number in range(5000)]
    pem = request_of(named("a"), *names)
    before = SIGNING_REQUEST.times_reached
    with pytest.raises(RequestInvalid, match="more than 65536 bytes"):
        read_request(pem)
    assert SIGNING_REQUEST.times_reached == before + 1


def test_names_that_no_approver_sees_are_not_signed(pki: Pki) -> None:
    upn = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x05admin")
    signer = CertificateSigner(pki, SetClock(NOW), SeededRandomness(2))
    for given, kept in (((upn, x509.DNSName("one")), [x509.DNSName("one")]), ((upn,), [])):
        chain = signer.sign(request_of(named("a"), *given), usages=("client auth",))
        extensions = x509.load_pem_x509_certificate(chain).extensions
        found = [
            list(one.value)
            for one in extensions
            if isinstance(one.value, x509.SubjectAlternativeName)
        ]
        assert found == ([kept] if kept else [])


def test_a_certificate_says_whose_machine_it_belongs_to(pki: Pki) -> None:
    signer = CertificateSigner(pki, SetClock(NOW), SeededRandomness(2))
    machine = Machine("a.example.com", "0" * 64)
    doors = ClientCertificates(pki.trusted, SetClock(NOW))

    def proved(*names: x509.GeneralName, machine: Machine | None = None) -> Machine | None:
        pem = signer.sign(
            request_of(named("system:kube-proxy"), *names), usages=("client auth",), machine=machine
        )
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        return doors.read(der).machine

    assert proved(machine=machine) == machine
    assert proved(x509.DNSName("a"), machine=machine) == machine
    assert proved(x509.DNSName("a")) is None
    assert proved(x509.UniformResourceIdentifier("spiffe://a/b")) is None
