"""The words of Go's `tls.X509KeyPair` for pairs that do not fit."""

import base64
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from kubelite.api.auth.key_pairs import mismatch

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
EC, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048)


def pem(key: Key | ed25519.Ed25519PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def certificate(key: Key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    date = datetime(2026, 5, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, date, date)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def said(first: bytes, second: bytes) -> str:
    return mismatch(base64.b64encode(first).decode(), base64.b64encode(second).decode())


BROKEN = b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n"
PARAMETERS = BROKEN % (b"EC PARAMETERS", b"EC PARAMETERS")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (certificate(EC), pem(EC), ""),
        (certificate(RSA), pem(RSA, PrivateFormat.TraditionalOpenSSL), ""),
        (b"text before\n" + certificate(EC) + certificate(RSA), PARAMETERS + pem(EC), ""),
        (b"", pem(EC), "tls: failed to find any PEM data in certificate input"),
        (certificate(EC), b"no", "tls: failed to find any PEM data in key input"),
        (
            pem(EC),
            certificate(EC),
            (
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
                "PEM inputs may have been switched"
            ),
        ),
        (
            PARAMETERS,
            pem(EC),
            (
                'tls: failed to find "CERTIFICATE" PEM block in certificate input after skipping PEM blocks '
                "of the following types: [EC PARAMETERS]"
            ),
        ),
        (
            certificate(EC),
            certificate(EC),
            "tls: found a certificate rather than a key in the PEM for the private key",
        ),
        (
            certificate(EC),
            PARAMETERS,
            (
                'tls: failed to find PEM block with type ending in "PRIVATE KEY" in key input after skipping '
                "PEM blocks of the following types: [EC PARAMETERS]"
            ),
        ),
        (
            BROKEN % (b"CERTIFICATE", b"CERTIFICATE"),
            pem(EC),
            "x509: malformed certificate",
        ),
        (
            certificate(EC),
            BROKEN % (b"PRIVATE KEY", b"PRIVATE KEY"),
            "tls: failed to parse private key",
        ),
        (certificate(EC), pem(OTHER), "tls: private key does not match public key"),
        (certificate(EC), pem(RSA), "tls: private key type does not match public key type"),
    ],
)
def test_pairs(first: bytes, second: bytes, words: str) -> None:
    assert said(first, second) == words


def test_what_is_no_base64_is_left_to_validation() -> None:
    assert mismatch("!", "a") == ""
