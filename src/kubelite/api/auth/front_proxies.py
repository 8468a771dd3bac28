"""Authenticates requests that a trusted proxy passes on: X-Remote-* headers beside its certificate name the caller.

Only a certificate of an authority that is there for proxies, with one of their names, gives the headers a meaning; for
everybody else they mean nothing. The proxy may name anybody, as in Kubernetes, the group system:masters included, so
the key of such an authority is worth as much as that of the cluster's own. The certificate itself names no caller.

Source: apiserver's request header authenticator. Unlike there, a user or uid that is sent twice is refused: a proxy
that adds its header to one of its client's would let the client choose.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import unquote

from cryptography import x509
from msgspec import Struct

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.certificates import public_key_hash
from kubelite.api.auth.x509 import CertificateInvalid, ClientCertificates
from kubelite.clock import Clock

USER, UID, GROUP, EXTRA = "X-Remote-User", "X-Remote-Uid", "X-Remote-Group", "X-Remote-Extra-"
REPLACED = "\ufffd"  # stands for bytes that are not UTF-8
_USER, _UID, _GROUP, _EXTRA = (name.lower() for name in (USER, UID, GROUP, EXTRA))


class HeadersInvalid(Exception):
    """A trusted proxy does not say clearly who calls."""


class ProxyAuthority(Struct, frozen=True):
    """Authorities of proxies' certificates, and the common names that count; without names all do."""

    certificates: tuple[x509.Certificate, ...]
    names: tuple[str, ...] = ()


class AuthorityInvalid(Exception):
    """Authorities that cannot be trusted with naming callers."""


def proxy_authority(
    pem: bytes, names: tuple[str, ...], clients: Sequence[x509.Certificate]
) -> ProxyAuthority:
    """Read authorities of proxies; raises AuthorityInvalid. `clients` are those of the cluster's clients."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise AuthorityInvalid("it has no certificate") from error
    if {public_key_hash(one) for one in clients} & {public_key_hash(one) for one in certificates}:
        raise AuthorityInvalid(
            "it has the authority of the cluster's clients, each of whom could then name any caller"
        )
    return ProxyAuthority(tuple(certificates), names)


class FrontProxies:
    """Maps the requests of trusted proxies to the callers they name."""

    def __init__(self, authorities: Sequence[ProxyAuthority], clock: Clock) -> None:
        self._authorities = [
            (ClientCertificates(one.certificates, clock), frozenset(one.names))
            for one in authorities
        ]

    def caller(self, der: bytes, headers: Mapping[str, str]) -> Caller | None:
        """Return the caller that the headers name, None if they name nobody.

        Raises CertificateInvalid if `der` is no trusted proxy's, HeadersInvalid.
        """
        self._require_proxy(der)
        return named_caller(headers)

    def _require_proxy(self, der: bytes) -> None:
        refusal = CertificateInvalid("x509: certificate signed by unknown authority")
        for certificates, names in self._authorities:
            try:
                name = certificates.caller(der).user
            except CertificateInvalid as error:
                refusal = error
                continue
            if not names or name in names:
                return
            refusal = CertificateInvalid(f"x509: subject with cn={name} is not in the allowed list")
        raise refusal


def named_caller(headers: Mapping[str, str]) -> Caller | None:
    """Return the caller that X-Remote-* headers name; None without a user. Raises HeadersInvalid.

    `headers` may hold a name several times and compares names in lower case.
    """
    users: list[str] = []
    uids: list[str] = []
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower == _USER:
            users.append(_text(value))
        elif lower == _UID:
            uids.append(_text(value))
        elif lower == _GROUP:
            if value:
                groups.append(_text(value))
        elif lower.startswith(_EXTRA):
            key = unquote(_text(lower.removeprefix(_EXTRA)))
            extra.setdefault(key, []).append(_text(value))
    for shown, given in ((USER, users), (UID, uids)):
        if len(given) > 1:
            raise HeadersInvalid(f"the header {shown} was sent {len(given)} times")
    if not users or not users[0]:
        return None
    return Caller(
        users[0],
        tuple(groups),
        uids[0] if uids else "",
        {key: tuple(values) for key, values in extra.items()},
    )


def _text(value: str) -> str:
    """Return a text that can be logged and compared; raises HeadersInvalid for one that was not UTF-8.

    The parser may have replaced what was none, and two callers must not become one.
    """
    if not value.isascii() and (
        REPLACED in value or any("\ud800" <= one <= "\udfff" for one in value)
    ):
        raise HeadersInvalid("a header is not valid UTF-8")
    return value
