"""Checks that a certificate and a private key in PEM match, with the messages of Go's `tls.X509KeyPair`."""

import base64
import binascii
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

_HEAD = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)
_CERTIFICATE, _KEY = "CERTIFICATE", "PRIVATE KEY"
_SWITCHED = (
    "tls: failed to find certificate PEM data in certificate input, but did find a private key; "
    "PEM inputs may have been switched"
)


def mismatch(certificate_base64: str, key_base64: str) -> str:
    """Return why a TLS server cannot use a pair given in base64; "": it can, or the base64 is invalid."""
    try:
        chain, key = base64.b64decode(certificate_base64), base64.b64decode(key_base64)
    except binascii.Error:
        return ""  # validation reports it
    leaf_block, types = _first_block(chain, _CERTIFICATE)
    if not leaf_block:
        return _no_certificate(types)
    key_block, types = _first_block(key, _KEY)
    if not key_block:
        return _no_key(types)
    try:
        public = x509.load_pem_x509_certificate(leaf_block).public_key()
    except _UNREADABLE:
        return "x509: malformed certificate"
    try:
        # OpenSSL's checks of a large forged RSA key take seconds, so skip them.
        private = load_pem_private_key(key_block, None, unsafe_skip_rsa_key_validation=True)
    except _UNREADABLE:
        return "tls: failed to parse private key"
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) == public.public_bytes(*form):
        return ""
    if type(private.public_key()) is not type(public):
        return "tls: private key type does not match public key type"
    return "tls: private key does not match public key"


def _first_block(data: bytes, ending: str) -> tuple[bytes, list[str]]:
    """Return the first PEM block whose type ends with `ending` (b"": none), and the types of the blocks before it."""
    skipped: list[str] = []
    for head in _HEAD.finditer(data):
        name = head[1].decode()
        if name.endswith(ending):
            end = data.find(b"-----END " + head[1] + b"-----", head.end())
            return (data[head.start() :] if end >= 0 else b""), skipped
        skipped.append(name)
    return b"", skipped


def _no_certificate(types: list[str]) -> str:
    if not types:
        return "tls: failed to find any PEM data in certificate input"
    if len(types) == 1 and types[0].endswith(_KEY):
        return _SWITCHED
    return (
        f'tls: failed to find "{_CERTIFICATE}" PEM block in certificate input after skipping PEM '
        f"blocks of the following types: [{' '.join(types)}]"
    )


def _no_key(types: list[str]) -> str:
    if not types:
        return "tls: failed to find any PEM data in key input"
    if types == [_CERTIFICATE]:
        return "tls: found a certificate rather than a key in the PEM for the private key"
    return (
        f'tls: failed to find PEM block with type ending in "{_KEY}" in key input after skipping '
        f"PEM blocks of the following types: [{' '.join(types)}]"
    )
