"""Deletes bootstrap tokens when they expire."""

from base64 import b64decode
from binascii import Error
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import Secret
from kubelite.api.machinery.times import parse_time
from kubelite.control.runtime import Context, Key, Watch

# Other Secrets are not held in memory.
TOKENS = "type=bootstrap.kubernetes.io/token,metadata.namespace=kube-system"


def expires_at(secret: Secret) -> datetime | None:
    """Return when a token expires; None if it never does or its date is malformed."""
    text = secret.data.get("expiration", "")
    if not text:
        return None
    try:
        return parse_time(b64decode(text, validate=True).decode())
    except (Error, ValueError):
        return None


class TokenCleaner:
    """Reconciles bootstrap token secrets."""

    name = "token-cleaner"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._secrets = context.mirror(Secret, field_selector=TOKENS)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch bootstrap tokens."""
        return (Watch(Secret, where=lambda _, after: after is not None, field_selector=TOKENS),)

    async def reconcile(self, key: Key) -> float | None:
        """Delete the token once it has expired; else return the seconds until then."""
        secret = self._secrets.get(key.name, key.namespace)
        if secret is None:
            return None
        deadline = expires_at(secret)
        if deadline is None:
            return None
        left_seconds = (deadline - self._context.clock.now()).total_seconds()
        if left_seconds > 0:
            return left_seconds
        try:
            await self._context.client.delete(
                Secret, key.name, key.namespace, uid=secret.metadata.uid
            )
        except NotFound:
            return None
        return None
