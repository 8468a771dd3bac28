"""Webhooks of a cluster in a test; what calls them is imported with the first call."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kubelite.api.auth.lookup import Lookup
from kubelite.randomness import Randomness

if TYPE_CHECKING:
    from kubelite.api.http.webhooks import Webhooks


class LateWebhooks:
    """Calls webhooks as a server does."""

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._lookup: Lookup | None = None
        self._webhooks: Webhooks | None = None

    def over(self, lookup: Lookup) -> "LateWebhooks":
        """Find the endpoints of Services with `lookup`."""
        self._lookup = lookup
        return self

    def uid(self) -> str:
        """Return a new identifier for a review."""
        return self._randomness.uid()

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        """Post a review to the webhook of a WebhookClientConfig; return its answer. Raises ReviewFailed."""
        if self._webhooks is None:
            from kubelite.api.http.tunnels import Tunnels
            from kubelite.api.http.webhooks import Webhooks

            assert self._lookup is not None, "it has its lookup from the control plane"
            self._webhooks = Webhooks(self._lookup, self._randomness, Tunnels())
        return await self._webhooks.post(client_config, body, seconds)

    async def close(self) -> None:
        """Close the connections."""
        if self._webhooks is not None:
            await self._webhooks.close()
