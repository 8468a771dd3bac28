from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from kubelite.api.auth.certificates import (
    BACKDATED,
    CA_LIFETIME,
    LEAF_LIFETIME,
    SERVER_AUTH,
    Authority,
    Wanted,
    authority_hash,
    certificate_pem,
    cross_signed,
    described,
    is_issued_by,
    issue,
    key_pem,
    new_authority,
    new_key,
    normalized,
    public_key_hash,
    read_key,
    renewal_reason,
    signing_request,
    trusted_by_hash,
)
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
RANDOM = SeededRandomness(1)
AUTHORITY = new_authority("ca", NOW, RANDOM)
SERVING = Wanted(
    "server", ("team",), ("a.example", "b.example"), ("::1", "10.0.0.1"), (SERVER_AUTH,)
)


def leaf(wanted: Wanted = SERVING, authority: Authority = AUTHORITY) -> x509.Certificate:
    return issue(authority, new_key().public_key(), wanted, NOW, RANDOM)


def test_leaf_says_what_was_wanted() -> None:
    certificate = leaf()
    assert described(certificate) == normalized(SERVING)
    assert certificate.not_valid_before_utc == NOW - BACKDATED
    assert certificate.not_valid_after_utc == NOW + LEAF_LIFETIME
    assert is_issued_by(certificate, AUTHORITY.certificate)


def test_leaf_never_outlives_its_authority() -> None:
    late = NOW + CA_LIFETIME - timedelta(days=1)
    certificate = issue(AUTHORITY, new_key().public_key(), SERVING, late, RANDOM)
    assert certificate.not_valid_after_utc == AUTHORITY.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("wanted", "days", "reason"),
    [
        (SERVING, 0, ""),
        (SERVING, 243, ""),
        (SERVING, 244, "less than a third of its life remains"),
        (SERVING, 400, "less than a third of its life remains"),
        (SERVING, -1, "it is not valid yet"),
        (
            Wanted("server", ("team",), ("a.example",), ("::1",), (SERVER_AUTH,)),
            0,
            "names or addresses changed",
        ),
        (Wanted("other", usages=(SERVER_AUTH,)), 0, "names or addresses changed"),
    ],
)
def test_renewal_reason(wanted: Wanted, days: int, reason: str) -> None:
    assert renewal_reason(leaf(), wanted, AUTHORITY, NOW + timedelta(days=days)) == reason


def test_leaf_of_another_authority_is_renewed() -> None:
    other = new_authority("ca", NOW, RANDOM)
    assert renewal_reason(leaf(authority=other), SERVING, AUTHORITY, NOW) == "the CA changed"


def test_cross_certificate_leads_from_the_old_authority_to_the_new() -> None:
    new = new_authority("ca-2", NOW, RANDOM)
    bridge = cross_signed(new, AUTHORITY, NOW, RANDOM)
    assert is_issued_by(bridge, AUTHORITY.certificate)
    assert is_issued_by(leaf(authority=new), bridge)
    assert not is_issued_by(leaf(authority=new), AUTHORITY.certificate)


def test_join_pin_finds_only_its_own_certificate() -> None:
    other = new_authority("ca-2", NOW, RANDOM)
    bundle = certificate_pem(other.certificate, AUTHORITY.certificate)
    named = authority_hash(AUTHORITY.certificate)
    assert trusted_by_hash(bundle, named) == AUTHORITY.certificate
    assert trusted_by_hash(certificate_pem(other.certificate), named) is None


def test_key_hash_is_of_the_key_whatever_is_signed() -> None:
    key = new_key()
    request = x509.load_pem_x509_csr(signing_request(key, Wanted("a")))
    again = x509.load_pem_x509_csr(signing_request(key, Wanted("b")))
    assert public_key_hash(request) == public_key_hash(again)
    other = x509.load_pem_x509_csr(signing_request(new_key(), Wanted("a")))
    assert public_key_hash(other) != public_key_hash(request)


def test_keys_survive_pem() -> None:
    key = new_key()
    assert read_key(key_pem(key)).private_numbers() == key.private_numbers()


def test_signing_request_carries_names() -> None:
    request = x509.load_pem_x509_csr(signing_request(new_key(), SERVING))
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example", "b.example"]
