"""Bootstrap tokens (``<id>.<secret>``), kept as Secrets in kube-system, with which a machine joins the cluster."""

import hmac
import re
from collections.abc import Mapping
from datetime import datetime

from kubelite.api.auth.caller import Caller
from kubelite.api.auth.lookup import Lookup
from kubelite.api.kinds.core.config import Secret
from kubelite.api.machinery.join_secrets import (
    NAMESPACE,
    TOKEN_PREFIX,
    TOKEN_TYPE,
    TOKEN_USER,
    decoded,
)
from kubelite.clock import Clock
from kubelite.randomness import Randomness

TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})", re.ASCII)
GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]", re.ASCII)
BOOTSTRAPPERS = "system:bootstrappers"
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
FAIR_BYTES = 256 // len(ALPHABET) * len(ALPHABET)  # larger bytes would bias the letters


class BootstrapTokens:
    """Checks bootstrap tokens against their Secrets."""

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self._lookup = lookup
        self._clock = clock

    def caller(self, token: str) -> Caller | None:
        """Return the caller; None for an invalid token."""
        parsed = TOKEN.fullmatch(token)
        if parsed is None:
            return None
        identifier, secret_part = parsed.groups()
        secret = self._lookup.get(Secret, TOKEN_PREFIX + identifier, NAMESPACE)
        if secret is None:
            return None
        return caller_of(secret, identifier, secret_part, self._clock.now())


def caller_of(secret: Secret, identifier: str, secret_part: str, now: datetime) -> Caller | None:
    """Return the caller if the Secret makes the token valid at `now`, else None."""
    data = decoded(secret.data)
    if secret.type != TOKEN_TYPE or secret.metadata.deletionTimestamp is not None:
        return None
    if not hmac.compare_digest(data.get("token-secret", b""), secret_part.encode()):
        return None
    if data.get("token-id") != identifier.encode() or has_expired(data, now):
        return None
    if data.get("usage-bootstrap-authentication") != b"true":
        return None
    extra = [
        group
        for group in data.get("auth-extra-groups", b"").decode(errors="replace").split(",")
        if group
    ]
    if not all(GROUP.fullmatch(group) for group in extra):
        return None
    return Caller(TOKEN_USER + identifier, (BOOTSTRAPPERS, *sorted(set(extra))))


def has_expired(data: Mapping[str, bytes], now: datetime) -> bool:
    """Return whether the token has expired; an invalid date counts as expired (fail closed)."""
    expiration = data.get("expiration", b"").decode(errors="replace")
    if not expiration:
        return False
    try:
        date = datetime.fromisoformat(expiration)
    except ValueError:
        return True
    return date.tzinfo is None or now >= date


def new_token(randomness: Randomness) -> tuple[str, str]:
    """Return a new token's identifier and secret part."""
    return _letters(randomness, 6), _letters(randomness, 16)


def _letters(randomness: Randomness, length: int) -> str:
    letters = ""
    while len(letters) < length:
        for byte in randomness.token_bytes(length):
            if byte < FAIR_BYTES:
                letters += ALPHABET[byte % len(ALPHABET)]
    return letters[:length]
