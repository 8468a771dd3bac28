import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest

from kubelite.api.auth.certificates import new_key
from kubelite.api.auth.oidc import OIDCInvalid, OIDCSettings, OIDCTokens, caller_of
from kubelite.api.auth.tokens import TokenInvalid
from kubelite.clock import SetClock

ISSUER = "https://issuer.example"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
KEY, NEXT_KEY = new_key(), new_key()
SETTINGS = OIDCSettings(
    issuer_url=ISSUER, client_id="kubelite", groups_claim="groups", signing_algorithms=("ES256",)
)


def web_key(key: Any, identifier: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return fields | {"kid": identifier, "alg": "ES256", "use": "sig"}


class Issuer:
    def __init__(self, settings: OIDCSettings = SETTINGS) -> None:
        self.clock, self.time, self.asked = SetClock(NOW), 0.0, 0
        self.keys = [web_key(KEY, "one")]
        self.name = ISSUER
        self.tokens = OIDCTokens(settings, self.fetch, self.clock, lambda: self.time)

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        await asyncio.sleep(0)
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return json.dumps({"issuer": self.name, "jwks_uri": f"{ISSUER}/keys"}).encode()
        if url == f"{ISSUER}/keys":
            return json.dumps({"keys": self.keys}).encode()
        raise OSError(url)

    def token(self, key: Any = KEY, kid: str = "one", alg: str = "ES256", **claims: Any) -> str:
        given = {
            "iss": ISSUER,
            "aud": "kubelite",
            "sub": "anna",
            "exp": NOW.timestamp() + 60,
        } | claims
        return jwt.encode(given, key, algorithm=alg, headers={"kid": kid})

    async def reason(self, token: str) -> str:
        with pytest.raises(TokenInvalid) as refused:
            await self.tokens.prove(token)
        return str(refused.value)


async def test_proves_user_and_groups() -> None:
    issuer = Issuer()
    caller = await issuer.tokens.prove(issuer.token(groups=["team", "system:masters"]))
    assert caller is not None
    assert caller.user == f"{ISSUER}#anna"
    assert caller.groups == ("team",)


async def test_keys_are_fetched_once() -> None:
    issuer = Issuer()
    tokens = [issuer.token(sub=f"user{index}") for index in range(10)]
    await asyncio.gather(*(issuer.tokens.prove(token) for token in tokens))
    assert issuer.asked == 2


async def test_new_keys_are_found_but_not_at_any_rate() -> None:
    issuer = Issuer()
    await issuer.tokens.prove(issuer.token())
    issuer.keys.append(web_key(NEXT_KEY, "two"))
    assert "no matching key" in await issuer.reason(issuer.token(NEXT_KEY, "two"))
    issuer.time = 11.0
    assert await issuer.tokens.prove(issuer.token(NEXT_KEY, "two"))
    asked = issuer.asked
    for _ in range(5):
        await issuer.reason(issuer.token(NEXT_KEY, "three"))
    assert issuer.asked == asked


async def test_what_proves_nothing() -> None:
    issuer = Issuer()
    assert "Audience doesn't match" in await issuer.reason(issuer.token(aud="other"))
    assert "expired" in await issuer.reason(issuer.token(exp=NOW.timestamp() - 11))
    assert "not valid yet" in await issuer.reason(issuer.token(nbf=NOW.timestamp() + 60))
    assert "Signature verification failed" in await issuer.reason(issuer.token(NEXT_KEY))
    assert 'signed with "HS256"' in await issuer.reason(issuer.token(b"x" * 32, alg="HS256"))
    none = jwt.encode({"iss": ISSUER, "aud": "kubelite", "sub": "anna"}, "", algorithm="none")
    assert 'signed with "none"' in await issuer.reason(none)


async def test_other_tokens_are_somebody_elses() -> None:
    issuer = Issuer()
    assert await issuer.tokens.prove("noise") is None
    assert await issuer.tokens.prove(issuer.token(iss="https://other.example")) is None
    assert issuer.asked == 0


async def test_a_token_ends_while_it_is_remembered() -> None:
    issuer = Issuer()
    token = issuer.token()
    assert await issuer.tokens.prove(token)
    issuer.clock.date += timedelta(seconds=80)
    assert "expired" in await issuer.reason(token)


async def test_an_issuer_that_does_not_answer_or_lies() -> None:
    issuer = Issuer()
    issuer.name = "https://other.example"
    assert "calls itself" in await issuer.reason(issuer.token())
    issuer = Issuer(
        OIDCSettings(issuer_url=f"{ISSUER}/x", client_id="kubelite", signing_algorithms=("ES256",))
    )
    assert "cannot be fetched" in await issuer.reason(issuer.token(iss=f"{ISSUER}/x"))


@pytest.mark.parametrize(
    ("changes", "claims", "user"),
    [
        ({"username_prefix": "-"}, {"sub": "anna"}, "anna"),
        ({"username_prefix": "oidc:"}, {"sub": "anna"}, "oidc:anna"),
        ({"username_claim": "email"}, {"email": "a@b.c"}, "a@b.c"),
        ({"username_claim": "email"}, {"email": "a@b.c", "email_verified": False}, None),
        ({"username_claim": "name"}, {"sub": "anna"}, None),
        ({"required_claims": {"hd": "b.c"}}, {"sub": "anna"}, None),
        ({"groups_claim": "groups"}, {"sub": "anna", "groups": [1]}, None),
    ],
)
def test_claims(changes: dict[str, Any], claims: dict[str, Any], user: str | None) -> None:
    settings = OIDCSettings(issuer_url=ISSUER, client_id="x", **changes)
    if user is None:
        with pytest.raises(TokenInvalid):
            caller_of(claims, settings)
    else:
        assert caller_of(claims, settings).user == user


@pytest.mark.parametrize(
    "changes", [{"issuer_url": "http://plain.example"}, {"signing_algorithms": ("HS256",)}]
)
def test_settings_that_cannot_be_used(changes: dict[str, Any]) -> None:
    settings = OIDCSettings(**{"issuer_url": ISSUER, "client_id": "x"} | changes)
    with pytest.raises(OIDCInvalid):
        OIDCTokens(settings, Issuer().fetch, SetClock(NOW), lambda: 0.0)
