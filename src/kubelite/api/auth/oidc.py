"""Tokens of an OpenID Connect issuer outside the cluster, checked with its published keys.

Keys are fetched when a token names an unknown one, but at most once in `REFETCH_SECONDS`, so that forged tokens do not
cause a request each. The fetch function is injected.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import jwt
import msgspec
from msgspec import Struct

from kubelite.api.auth.caller import SYSTEM_MASTERS, Caller
from kubelite.api.auth.recent import Recent
from kubelite.api.auth.tokens import TokenInvalid, is_web_token, numeric_date
from kubelite.clock import Clock

log = logging.getLogger(__name__)

# Returns the body of an HTTPS response with status 200; raises OSError. The function bounds time and size.
Fetch = Callable[[str], Awaitable[bytes]]

ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"}
)
REFETCH_SECONDS = 10.0
REMEMBERED = 4096
LEEWAY = timedelta(seconds=10)
NO_PREFIX = "-"
# Exceptions raised by reading a malformed document of an issuer.
UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


class OIDCInvalid(Exception):
    """The OIDC settings are invalid."""


class OIDCSettings(Struct, frozen=True, kw_only=True):
    """The OIDC settings, named as the flags of kube-apiserver."""

    issuer_url: str
    client_id: str
    username_claim: str = "sub"
    username_prefix: str = ""  # "": the issuer, or none for the claim email; "-": none
    groups_claim: str = ""
    groups_prefix: str = ""
    required_claims: Mapping[str, str] = {}
    signing_algorithms: tuple[str, ...] = ("RS256",)


class OIDCTokens:
    """Authenticates tokens of one issuer."""

    def __init__(
        self, settings: OIDCSettings, fetch: Fetch, clock: Clock, time: Callable[[], float]
    ) -> None:
        """`time` is monotonic, in seconds; raises OIDCInvalid."""
        if not settings.issuer_url.startswith("https://"):
            raise OIDCInvalid(
                f'cannot use the OIDC issuer "{settings.issuer_url}": it must be an https URL'
            )
        if unknown := set(settings.signing_algorithms) - ASYMMETRIC:
            raise OIDCInvalid(f"cannot use the signing algorithms {', '.join(sorted(unknown))}")
        self._settings = settings
        self._fetch = fetch
        self._clock = clock
        self._time = time
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at: float | None = None
        self._fetching = asyncio.Lock()
        self._claims: Recent[bytes, dict[str, Any]] = Recent(REMEMBERED)

    async def prove(self, token: str) -> Caller | None:
        """Return the caller; None for another issuer's token; raises TokenInvalid."""
        if not is_web_token(token):
            return None
        digest = hashlib.sha256(token.encode()).digest()
        claims = self._claims.get(digest)
        if claims is None:
            claims = await self._verified(token)
            if claims is None:
                return None
            self._claims.put(digest, claims)
        self._check_dates(claims)
        return caller_of(claims, self._settings)

    async def _verified(self, token: str) -> dict[str, Any] | None:
        try:
            unproved = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        if unproved.get("iss") != self._settings.issuer_url:
            return None
        if header.get("alg") not in self._settings.signing_algorithms:
            raise TokenInvalid(f'oidc: token is signed with "{header.get("alg")}"')
        key = await self._key(str(header.get("kid", "")))
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._settings.client_id,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise TokenInvalid(f"oidc: verify token: {error}") from error
        return claims

    async def _key(self, identifier: str) -> jwt.PyJWK:
        key = self._known(identifier)
        if key is None:
            async with self._fetching:
                key = self._known(identifier)
                if key is None and self._may_fetch():
                    await self._refresh()
                    key = self._known(identifier)
        if key is None:
            raise TokenInvalid("oidc: verify token: failed to verify signature: no matching key")
        return key

    def _known(self, identifier: str) -> jwt.PyJWK | None:
        key = self._keys.get(identifier)
        if key is None and not identifier and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return key

    def _may_fetch(self) -> bool:
        return self._fetched_at is None or self._time() - self._fetched_at >= REFETCH_SECONDS

    async def _refresh(self) -> None:
        self._fetched_at = self._time()
        issuer = self._settings.issuer_url
        try:
            found = msgspec.json.decode(
                await self._fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            )
            if found["issuer"] != issuer:
                raise TokenInvalid(f"oidc: the issuer calls itself {found['issuer']}")
            keys = msgspec.json.decode(await self._fetch(found["jwks_uri"]))["keys"]
            read = _read_keys(keys, self._settings.signing_algorithms)
        except UNUSABLE as error:
            log.warning("cannot fetch keys", extra={"issuer": issuer, "error": str(error)})
            raise TokenInvalid("oidc: the issuer's keys cannot be fetched") from error
        self._keys = read
        self._claims = Recent(
            REMEMBERED
        )  # the issuer may have withdrawn a key that verified cached tokens

    def _check_dates(self, claims: Mapping[str, Any]) -> None:
        now = self._clock.now()
        expiry, start = (numeric_date(claims.get(name)) for name in ("exp", "nbf"))
        if expiry is None or now - LEEWAY > expiry:
            raise TokenInvalid("oidc: verify token: token is expired")
        if start is not None and now + LEEWAY < start:
            raise TokenInvalid("oidc: verify token: token is not valid yet")


def caller_of(claims: Mapping[str, Any], settings: OIDCSettings) -> Caller:
    """Map claims to an identity; raises TokenInvalid."""
    name = claims.get(settings.username_claim)
    if not isinstance(name, str) or not name:
        raise TokenInvalid(
            f'oidc: parse username claims "{settings.username_claim}": claim not present'
        )
    if settings.username_claim == "email" and claims.get("email_verified", True) is not True:
        raise TokenInvalid("oidc: email not verified")
    for claim, value in settings.required_claims.items():
        if claims.get(claim) != value:
            raise TokenInvalid(f"oidc: required claim {claim} value does not match")
    groups = claims.get(settings.groups_claim, []) if settings.groups_claim else []
    groups = [groups] if isinstance(groups, str) else groups
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise TokenInvalid(
            f'oidc: parse groups claim "{settings.groups_claim}": it must be a list of strings'
        )
    named = [settings.groups_prefix + group for group in groups]
    # An external issuer must not grant system:masters.
    kept = tuple(group for group in named if group != SYSTEM_MASTERS)
    return Caller(_prefix(settings) + name, kept)


def _prefix(settings: OIDCSettings) -> str:
    if settings.username_prefix:
        return "" if settings.username_prefix == NO_PREFIX else settings.username_prefix
    return "" if settings.username_claim == "email" else f"{settings.issuer_url}#"


def _read_keys(keys: list[dict[str, Any]], algorithms: tuple[str, ...]) -> dict[str, jwt.PyJWK]:
    """Parse a key set by key ID, without unusable keys."""
    found = {}
    for fields in keys:
        if fields.get("use", "sig") != "sig" or fields.get("kty") == "oct":
            continue
        try:
            key = jwt.PyJWK(fields)
        except (jwt.PyJWTError, *UNUSABLE):
            continue
        if key.algorithm_name in algorithms:
            found[str(fields.get("kid", ""))] = key
    return found
