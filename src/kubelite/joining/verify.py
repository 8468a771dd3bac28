"""Proves that a server is the cluster's before any secret is sent to it.

The server's CA certificates are public, so they are read over a connection that proves nothing and carries nothing
but that question. A certificate among them whose hash the token holds is the cluster's CA; every further connection
trusts it alone, and only such a connection ever carries the token.
"""

import asyncio
import re
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from kubelite.api.auth.join_token import certificate_hash
from kubelite.api.auth.tls import client_context
from kubelite.joining.refusal import JoinFailed, of_connection
from kubelite.limits import JOIN_ANSWER, JOIN_SECONDS

if TYPE_CHECKING:
    from cryptography import x509

CACERTS = "/cacerts"
READ_BYTES = 16 * 1024
CLOCK_TOLERANCE = timedelta(minutes=5)
NAMES_SHOWN = 8
NOT_YET_VALID, EXPIRED, WRONG_NAME, WRONG_ADDRESS = 9, 10, 62, 64  # X509_V_ERR_… of OpenSSL
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


class Answer(Struct, frozen=True):
    """The answer to a GET, and the certificate that the server presented."""

    status: int
    body: bytes
    date: datetime | None  # of the server's clock, if it said so
    certificate: bytes  # DER


async def first_bundle(
    server: str, now: datetime, *, ca_hash: str | None, ca_pem: bytes = b""
) -> bytes:
    """Return the cluster's CA certificates in PEM, by a token's hash or by `ca_pem`, or both. Raises JoinFailed."""
    seen = await _ask(server, _unproven())
    trusted = ca_pem
    if ca_hash is not None:
        offered = _CERTIFICATE.findall(ca_pem or _body(server, seen))
        trusted = _pinned(offered, ca_hash)
        if not trusted:
            raise JoinFailed(_wrong_hash(server, ca_hash, is_file=bool(ca_pem)))
    return await _proven_bundle(server, trusted, now, seen)


async def known_bundle(server: str, now: datetime, ca_pem: bytes) -> bytes:
    """Return the cluster's CA certificates as they are now, from a server that proves itself by known ones.

    Raises JoinFailed.
    """
    return await _proven_bundle(server, ca_pem, now, None)


async def _proven_bundle(server: str, trusted: bytes, now: datetime, seen: Answer | None) -> bytes:
    try:
        context = client_context(trusted)
    except ssl.SSLError as error:
        raise JoinFailed(f"cannot use the CA certificates for {server}: {error.reason}") from error
    try:
        bundle = _body(server, await _ask(server, context))
    except ssl.SSLCertVerificationError as error:
        shown = seen or await _ask(server, _unproven())
        raise _untrusted(server, error, shown, trusted, now) from error
    try:
        client_context(bundle)
    except (ssl.SSLError, ValueError) as error:
        raise JoinFailed(f"cannot use {server}: its {CACERTS} holds no certificates") from error
    return bundle


async def _ask(server: str, context: ssl.SSLContext) -> Answer:
    """Ask for the CA certificates; nothing else is sent. Raises JoinFailed and SSLCertVerificationError."""
    url = urlsplit(server)
    seconds = JOIN_SECONDS.value
    question = f"GET {CACERTS} HTTP/1.0\r\nHost: {url.netloc}\r\nUser-Agent: kubelite\r\n\r\n"
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
            try:
                peer = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                writer.write(question.encode())
                raw = await _all_of(server, reader)
            finally:
                writer.transport.abort()
    except ssl.SSLCertVerificationError:
        raise
    except (OSError, TimeoutError) as error:
        raise of_connection(server, error, seconds=seconds) from error
    return _parsed(server, raw, peer or b"")


async def _all_of(server: str, reader: asyncio.StreamReader) -> bytes:
    raw = bytearray()
    while part := await reader.read(READ_BYTES):
        raw += part
        if len(raw) > JOIN_ANSWER.value:
            JOIN_ANSWER.reached()
            raise JoinFailed(f"cannot use {server}: its answer to {CACERTS} does not end")
    return bytes(raw)


def _parsed(server: str, raw: bytes, certificate: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status = _STATUS.match(head)
    if status is None:
        if not raw:
            raise JoinFailed(f"cannot reach {server}: it closed the connection", may_pass=True)
        raise JoinFailed(f"cannot use {server}: it does not speak HTTP")
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    headers = {name.strip().lower(): text.strip() for name, _, text in lines}
    length = headers.get(b"content-length", b"")
    if length.isdigit() and len(body) < int(length):
        raise JoinFailed(f"cannot reach {server}: its answer broke off", may_pass=True)
    return Answer(int(status[1]), body, _date(headers.get(b"date", b"")), certificate)


def _date(text: bytes) -> datetime | None:
    try:
        date = parsedate_to_datetime(text.decode(errors="replace"))
    except ValueError:
        return None
    return date if date.tzinfo is not None else None


def _body(server: str, answer: Answer) -> bytes:
    """Return the body of a successful answer. Raises JoinFailed."""
    if answer.status == 200:
        return answer.body
    if answer.status == 429 or answer.status >= 500:
        raise JoinFailed(f"cannot use {server} yet: it answers {answer.status}", may_pass=True)
    raise JoinFailed(
        f"cannot use {server}: it answers {answer.status} to {CACERTS}, so it is no server that agents can join"
    )


def _pinned(offered: Sequence[bytes], ca_hash: str) -> bytes:
    """Return the certificate among PEM blocks whose DER has the hash; empty if none has."""
    for block in offered:
        try:
            der = ssl.PEM_cert_to_DER_cert(block.decode("ascii"))
        except ValueError:
            continue
        if certificate_hash(der) == ca_hash:
            return block + b"\n"
    return b""


def has_hash(bundle: bytes, ca_hash: str | None) -> bool:
    """Return whether a bundle has the certificate that a token names; a short token names none."""
    return ca_hash is None or bool(_pinned(_CERTIFICATE.findall(bundle), ca_hash))


def _wrong_hash(server: str, ca_hash: str, *, is_file: bool) -> str:
    if is_file:
        return "cannot use --ca-file: none of its certificates has the hash that the token names"
    return (
        f"cannot trust {server}: none of its CA certificates has the hash that the token names "
        f"({ca_hash[:12]}…): the token is of another cluster, or the answer came from something that pretends "
        "to be the server; nothing secret was sent"
    )


def _untrusted(
    server: str,
    error: ssl.SSLCertVerificationError,
    shown: Answer,
    trusted: bytes,
    now: datetime,
) -> JoinFailed:
    """Return why the server's certificate proves nothing although its CA is known."""
    # Loaded here, as an agent that is told this mostly ends, and a resting one must not hold it.
    from cryptography import x509

    from kubelite.api.auth.certificates import UNREADABLE, alternative_names

    try:
        leaf = x509.load_der_x509_certificate(shown.certificate)
        if error.verify_code in (NOT_YET_VALID, EXPIRED):
            issuers = [
                authority
                for authority in x509.load_pem_x509_certificates(trusted)
                if authority.subject == leaf.issuer
            ]
            return _out_of_date(server, [leaf, *issuers], shown, now)
        if error.verify_code in (WRONG_NAME, WRONG_ADDRESS):
            names, addresses = alternative_names(leaf)
            known = [*addresses, *names][:NAMES_SHOWN]
            return JoinFailed(
                f"cannot trust {server}: its certificate is for {', '.join(known) or 'no name'}; join it by one of "
                "these, or start the server with --tls-san"
            )
    except UNREADABLE as unreadable:
        return JoinFailed(f"cannot trust {server}: its certificate is malformed: {unreadable}")
    return JoinFailed(
        f"cannot trust {server}: its certificate is not signed by the cluster's CA, so something between this "
        "machine and the server may pretend to be it; nothing secret was sent"
    )


def _out_of_date(
    server: str, certificates: "Sequence[x509.Certificate]", shown: Answer, now: datetime
) -> JoinFailed:
    begin = max(certificate.not_valid_before_utc for certificate in certificates)
    end = min(certificate.not_valid_after_utc for certificate in certificates)
    valid = f"its certificate is valid from {begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    here = f"and the clock of this machine says {now:%Y-%m-%d %H:%M}"
    if shown.date is None:
        return JoinFailed(f"cannot trust {server}: {valid}, {here}: check both clocks")
    there = f"{shown.date:%Y-%m-%d %H:%M}"
    if abs(shown.date - now) <= CLOCK_TOLERANCE:
        return JoinFailed(
            f"cannot trust {server}: {valid}, {here}, as the server's: renew the server's certificates"
        )
    return JoinFailed(
        f"cannot trust {server}: {valid}, {here}, the server's {there}: set the clock"
    )


def _unproven() -> ssl.SSLContext:
    """Return a context that accepts any server, for a question that holds no secret and an answer that is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
