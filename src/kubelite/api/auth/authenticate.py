"""Authenticates callers by a trusted proxy's word, by client certificate, by a kind of token, or as anonymous.

The order is that of Kubernetes. A valid certificate decides; else a bearer token, if sent, must be valid; else the
caller is anonymous, and RBAC allows anonymous callers only health and version.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from kubelite.api.auth.bootstrap_tokens import BootstrapTokens
from kubelite.api.auth.caller import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Caller,
    Credentials,
)
from kubelite.api.auth.front_proxies import FrontProxies, HeadersInvalid
from kubelite.api.auth.node_identities import NodeIdentities
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tokens import (
    TOKEN_BYTES_LIMIT,
    Proved,
    ServiceAccountTokens,
    TokenInvalid,
)
from kubelite.api.auth.x509 import CertificateInvalid, ClientCertificates
from kubelite.api.errors import Unauthorized

ANYBODY = Caller(ANONYMOUS, (UNAUTHENTICATED,))


class IdentityReleased(CertificateInvalid):
    """The certificate of a node is valid, but the node's name is no longer its machine's."""


class RemoteTokens(Protocol):
    """Authenticates tokens of an issuer outside the cluster."""

    async def prove(self, token: str) -> Caller | None:
        """Return the caller; None for another issuer's token; raises TokenInvalid."""
        ...


class UnionAuthenticator:
    """Tries each authentication method in turn."""

    def __init__(  # noqa: PLR0913 - a method of authentication each
        self,
        *,
        certificates: ClientCertificates,
        proxies: FrontProxies | None = None,
        service_accounts: ServiceAccountTokens,
        audiences: Sequence[str],
        bootstrap: BootstrapTokens | None = None,
        static: StaticTokens | None = None,
        remote: Sequence[RemoteTokens] = (),
        identities: NodeIdentities | None = None,
        anonymous: bool = True,
    ) -> None:
        """`audiences` are the API server's own, the only ones of tokens that are not a service account's.

        Without `identities` the certificates of nodes are not compared with the bindings of their names.
        """
        self._certificates = certificates
        self._proxies = proxies
        self._service_accounts = service_accounts
        self._audiences = tuple(audiences)
        self._bootstrap = bootstrap
        self._static = static
        self._remote = tuple(remote)
        self._identities = identities
        self._anonymous = anonymous

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the caller; raises Unauthorized for invalid credentials."""
        if credentials.certificate is not None:
            try:
                return authenticated(self._certified(credentials.certificate, credentials.headers))
            except HeadersInvalid:
                raise Unauthorized("Unauthorized") from None
            except IdentityReleased as error:
                if not credentials.bearer_token:
                    raise Unauthorized(f"Unauthorized: {error}") from None
            except CertificateInvalid:
                if not credentials.bearer_token:
                    raise Unauthorized("Unauthorized") from None
        if credentials.bearer_token:
            try:
                proved = await self.prove(credentials.bearer_token)
            except TokenInvalid:
                raise Unauthorized("Unauthorized") from None
            if proved is None:
                raise Unauthorized("Unauthorized")
            return proved.caller
        if not self._anonymous:
            raise Unauthorized("Unauthorized")
        return ANYBODY

    def _certified(self, certificate: bytes, headers: Mapping[str, str]) -> Caller:
        """Return whom a certificate, or a trusted proxy with it, names; raises CertificateInvalid, HeadersInvalid."""
        # A certificate of a client was found to be none of a proxy's already: the two have different authorities.
        if headers and self._proxies is not None and not self._certificates.knows(certificate):
            with suppress(CertificateInvalid):
                caller = self._proxies.caller(certificate, headers)
                if caller is not None:
                    return caller
        return self._holder(certificate)

    def counts(self, certificate: bytes) -> bool:
        """Return whether a client certificate still stands for its holder: False once a node's name was released."""
        try:
            self._holder(certificate)
        except IdentityReleased:
            return False
        except CertificateInvalid:
            return True  # a proxy's, or none at all; each request decides
        return True

    async def prove(self, token: str, audiences: Sequence[str] = ()) -> Proved | None:
        """Return what a token proves for `audiences` (by default the API server's); None if no method knows it.

        Raises TokenInvalid.
        """
        if len(token) > TOKEN_BYTES_LIMIT:
            return None
        if proved := self._service_accounts.prove(token, audiences):
            return Proved(authenticated(proved.caller), proved.audiences)
        caller = self._local(token)
        for remote in self._remote if caller is None else ():
            if caller := await remote.prove(token):
                break
        if caller is None:
            return None
        accepted = tuple(audiences) or self._audiences
        matching = tuple(audience for audience in accepted if audience in self._audiences)
        return Proved(authenticated(caller), matching) if matching else None

    def _holder(self, der: bytes) -> Caller:
        """Return the caller of a client certificate; raises CertificateInvalid."""
        read = self._certificates.read(der)
        if read.machine is not None and self._identities is not None:
            refusal = self._identities.refusal(read.machine)
            if refusal:
                raise IdentityReleased(refusal)
        return read.caller

    def _local(self, token: str) -> Caller | None:
        if self._static and (caller := self._static.caller(token)):
            return caller
        return self._bootstrap.caller(token) if self._bootstrap else None


def authenticated(caller: Caller) -> Caller:
    """Return the caller with the group system:authenticated, unless it is in that or system:unauthenticated already.

    Whoever is named system:anonymous gets no group.
    """
    if caller.user == ANONYMOUS:
        return caller
    if AUTHENTICATED in caller.groups or UNAUTHENTICATED in caller.groups:
        return caller
    return replace(caller, groups=(*caller.groups, AUTHENTICATED))
