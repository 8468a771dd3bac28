"""What the registry needs to call webhooks; HTTP lives above it."""

from collections.abc import Mapping
from typing import Any, Protocol

# Upstream takes an answer that is no JSON for YAML, and so for a text.
NO_OBJECT = (
    "couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct "
    '{ APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)


class ReviewFailed(Exception):
    """A webhook gave no answer that can be read; `code` is the HTTP status to account for it."""

    def __init__(self, message: str, code: int = 503) -> None:
        super().__init__(message)
        self.code = code


class Hooks(Protocol):
    """Calls webhooks."""

    def uid(self) -> str:
        """Return a new identifier for a review."""
        ...

    async def post(self, client_config: Mapping[str, Any], body: bytes, seconds: float) -> bytes:
        """Post a review to the webhook of a WebhookClientConfig; return its answer. Raises ReviewFailed."""
        ...
