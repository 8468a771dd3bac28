"""CA bundles of webhooks."""

import base64
from datetime import UTC, datetime

from kubelite.api.auth.certificates import certificate_pem, new_authority
from kubelite.api.machinery.ca_bundles import ca_bundle_error
from kubelite.randomness import SeededRandomness

AUTHORITY = new_authority("test", datetime(2026, 1, 1, tzinfo=UTC), SeededRandomness(1))
GOOD = certificate_pem(AUTHORITY.certificate)
JUNK = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OTHER = b"-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----\n"
HEAD = "unable to load root certificates: "


def error(pem: bytes) -> str:
    return ca_bundle_error(base64.b64encode(pem).decode())


def test_one_good_certificate_is_enough() -> None:
    assert error(b"") == ""
    assert error(GOOD) == ""
    assert error(b"text\n" + OTHER + JUNK + GOOD) == ""


def test_what_is_wrong_is_named() -> None:
    assert error(b"nope") == f"{HEAD}unable to parse bytes as PEM block"
    assert error(OTHER) == f"{HEAD}no valid certificate authority data seen"
    assert error(OTHER + JUNK).startswith(f"{HEAD}failed to parse certificate: x509: ")


def test_many_beginnings_are_read_once() -> None:
    assert error(b"-----BEGIN CERTIFICATE-----\n" * 20_000)
