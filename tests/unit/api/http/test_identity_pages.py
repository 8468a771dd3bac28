from datetime import UTC, datetime

import jwt
from aiohttp import ClientSession
from fakes.server import Server
from fakes.serving import parts_of, serving

from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.tokens import TokenIssuer
from kubelite.api.http.identity_pages import DISCOVERY, KEYS, identity_pages
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness


async def test_issuer_and_keys_are_published() -> None:
    issuer = TokenIssuer(
        issuer="https://issuer.example",
        audiences=[],
        keys=[new_key()],
        lookup=FixedLookup(),
        clock=SetClock(datetime(2026, 9, 1, tzinfo=UTC)),
        randomness=SeededRandomness(1),
    )
    parts = parts_of(Server().verbs, more_pages=identity_pages(issuer, lambda: "192.0.2.1:6443"))
    async with serving(parts) as (_, port), ClientSession(f"http://127.0.0.1:{port}") as session:
        async with session.get(DISCOVERY) as reply:
            document = await reply.json()
        async with session.get(KEYS) as reply:
            assert reply.content_type == "application/jwk-set+json"
            keys = await reply.json(content_type=None)
    assert document["issuer"] == "https://issuer.example"
    assert document["jwks_uri"] == f"https://192.0.2.1:6443{KEYS}"
    assert jwt.PyJWKSet.from_dict(keys)[issuer.keys[0].identifier].algorithm_name == "ES256"
