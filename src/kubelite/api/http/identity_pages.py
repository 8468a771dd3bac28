"""OpenID Connect discovery document and JWKS, by which third parties verify service account tokens."""

from collections.abc import Callable, Mapping

import msgspec

from kubelite.api.auth.tokens import TokenIssuer
from kubelite.api.http.dispatch import Asked
from kubelite.api.http.pages import ServePage
from kubelite.api.http.respond import Reply

DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"
KEYS_TYPE = "application/jwk-set+json"
CACHE_CONTROL = "public, max-age=3600"


def identity_pages(issuer: TokenIssuer, address: Callable[[], str]) -> Mapping[str, ServePage]:
    """Return the handlers of an issuer whose server listens at `address()` (host:port), by path."""

    async def discovery(_: Asked) -> Reply:
        document = issuer.discovery(f"https://{address()}{KEYS}")
        return Reply(msgspec.json.encode(document), cache_control=CACHE_CONTROL)

    async def keys(_: Asked) -> Reply:
        body = msgspec.json.encode(issuer.key_set())
        return Reply(body, content_type=KEYS_TYPE, cache_control=CACHE_CONTROL)

    return {DISCOVERY: discovery, KEYS: keys}
