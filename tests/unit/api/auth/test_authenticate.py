import hmac
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kubelite.api.auth import static_tokens
from kubelite.api.auth.authenticate import ANYBODY, UnionAuthenticator
from kubelite.api.auth.bootstrap_tokens import BootstrapTokens
from kubelite.api.auth.caller import Credentials
from kubelite.api.auth.certificates import (
    SERVER_AUTH,
    Authority,
    Wanted,
    issue,
    new_authority,
    new_key,
)
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tokens import ServiceAccountTokens
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.errors import Unauthorized
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
RANDOM = SeededRandomness(3)
AUTHORITY, FOREIGN = new_authority("ca", NOW, RANDOM), new_authority("ca", NOW, RANDOM)


def certificate(wanted: Wanted, authority: Authority = AUTHORITY) -> bytes:
    made = issue(authority, new_key().public_key(), wanted, NOW, RANDOM)
    return made.public_bytes(Encoding.DER)


ANNA = certificate(Wanted("anna", ("team", "ops")))


class Door:
    def __init__(self, *, anonymous: bool = True) -> None:
        self.clock = SetClock(NOW)
        lookup = FixedLookup()
        self.authenticator = UnionAuthenticator(
            certificates=ClientCertificates([AUTHORITY.certificate], self.clock),
            service_accounts=ServiceAccountTokens(
                issuer="https://here", audiences=[], keys=[], lookup=lookup, clock=self.clock
            ),
            audiences=["https://here"],
            bootstrap=BootstrapTokens(lookup, self.clock),
            static=StaticTokens('s3cret,ben,7,"dev,ops"\n# note\n\nother,cleo,8'),
            anonymous=anonymous,
        )

    async def user(self, der: bytes | None = None, token: str = "") -> str:
        credentials = Credentials(certificate=der, bearer_token=token)
        return (await self.authenticator.authenticate(credentials)).user


async def test_certificate_names_user_and_groups() -> None:
    caller = await Door().authenticator.authenticate(Credentials(certificate=ANNA))
    assert caller.user == "anna"
    assert caller.groups == ("team", "ops", "system:authenticated")
    assert caller.extra["authentication.kubernetes.io/credential-id"][0].startswith("X509SHA256=")


@pytest.mark.parametrize(
    "der",
    [
        certificate(Wanted("anna"), FOREIGN),
        certificate(Wanted("anna", usages=(SERVER_AUTH,))),
        b"noise",
        b"",
    ],
    ids=["foreign", "for servers", "noise", "empty"],
)
async def test_certificates_that_prove_nothing(der: bytes) -> None:
    with pytest.raises(Unauthorized):
        await Door().user(der)


@pytest.mark.parametrize("days", [-1, 366])
async def test_a_connection_does_not_outlive_its_certificate(days: int) -> None:
    door = Door()
    assert await door.user(ANNA) == "anna"
    door.clock.date += timedelta(days=days)
    with pytest.raises(Unauthorized):
        await door.user(ANNA)


async def test_certificate_comes_before_token() -> None:
    assert await Door().user(ANNA, "s3cret") == "anna"
    assert await Door().user(certificate(Wanted("x"), FOREIGN), "s3cret") == "ben"


async def test_static_tokens() -> None:
    door = Door()
    caller = await door.authenticator.authenticate(Credentials(bearer_token="s3cret"))
    assert (caller.user, caller.uid, caller.groups) == (
        "ben",
        "7",
        ("dev", "ops", "system:authenticated"),
    )
    assert await door.user(token="other") == "cleo"


async def test_unknown_token_is_not_anonymous() -> None:
    with pytest.raises(Unauthorized):
        await Door().user(token="wrong")
    with pytest.raises(Unauthorized):
        await Door().user(token="x" * 100_000)


async def test_nobody_in_particular() -> None:
    assert await Door().authenticator.authenticate(Credentials()) == ANYBODY
    with pytest.raises(Unauthorized):
        await Door(anonymous=False).user()


@pytest.mark.parametrize("content", ["lonely", "a,b", ",user,1", "token,,1"])
def test_token_file_with_a_bad_line(content: str) -> None:
    with pytest.raises(static_tokens.TokenFileInvalid, match="line 1"):
        StaticTokens(content)


async def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append(len(right))
        return hmac.compare_digest(left, right)

    class Spied:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(static_tokens, "hmac", Spied)
    tokens = StaticTokens("a,anna,1\nb,ben,2\nc,cleo,3")
    for token in ("a", "c", "z"):
        tokens.caller(token)
    assert compared == [32] * 9  # every line, whichever matches, and digests only
