"""Callers that a trusted proxy names, and everybody who would like to be taken for such a proxy."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from multidict import CIMultiDict

from kubelite.api.auth.authenticate import UnionAuthenticator
from kubelite.api.auth.caller import Caller, Credentials
from kubelite.api.auth.certificates import (
    SERVER_AUTH,
    Authority,
    Wanted,
    issue,
    new_authority,
    new_key,
)
from kubelite.api.auth.front_proxies import (
    FrontProxies,
    HeadersInvalid,
    ProxyAuthority,
    named_caller,
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
CLUSTER, PROXY, OTHER, FOREIGN = (
    new_authority(name, NOW, RANDOM) for name in ("ca", "proxy-ca", "other-ca", "ca")
)

Headers = Sequence[tuple[str, str]]


def certificate(name: str, authority: Authority, *groups: str, server: bool = False) -> bytes:
    wanted = Wanted(name, groups)
    if server:
        wanted = Wanted(name, groups, usages=(SERVER_AUTH,))
    made = issue(authority, new_key().public_key(), wanted, NOW, RANDOM)
    return made.public_bytes(Encoding.DER)


FRONT = certificate("front-proxy-client", PROXY)
EVE = ("X-Remote-User", "eve")


class Door:
    def __init__(self, *authorities: ProxyAuthority, proxied: bool = True) -> None:
        self.clock = SetClock(NOW)
        own = ProxyAuthority((PROXY.certificate,), ("front-proxy-client",))
        proxies = FrontProxies(authorities or (own,), self.clock) if proxied else None
        self.certificates = ClientCertificates([CLUSTER.certificate], self.clock)
        self.authenticator = UnionAuthenticator(
            certificates=self.certificates,
            proxies=proxies,
            service_accounts=ServiceAccountTokens(
                issuer="https://here",
                audiences=[],
                keys=[],
                lookup=FixedLookup(),
                clock=self.clock,
            ),
            audiences=["https://here"],
            static=StaticTokens("s3cret,ben,7"),
        )

    async def caller(self, der: bytes | None, headers: Headers, token: str = "") -> Caller:
        credentials = Credentials(certificate=der, bearer_token=token, headers=CIMultiDict(headers))
        return await self.authenticator.authenticate(credentials)

    async def user(self, der: bytes | None, headers: Headers, token: str = "") -> str:
        return (await self.caller(der, headers, token)).user


async def test_a_trusted_proxy_names_the_caller() -> None:
    door = Door()
    for _ in range(2):
        caller = await door.caller(
            FRONT,
            [
                ("x-remote-user", "anna"),
                ("X-REMOTE-GROUP", "team"),
                ("X-Remote-Group", "ops, dev"),
                ("X-Remote-Group", ""),
                ("X-Remote-Uid", "7"),
                ("X-Remote-Extra-Scopes", "read"),
                ("x-remote-extra-scopes", "write"),
                ("X-Remote-Extra-Example.org%2fKey", "v"),
                ("Accept", "*/*"),
            ],
        )
        assert caller == Caller(
            "anna",
            ("team", "ops, dev", "system:authenticated"),
            "7",
            {"scopes": ("read", "write"), "example.org/key": ("v",)},
        )


async def test_a_trusted_proxy_may_name_anybody() -> None:
    groups = [("X-Remote-Group", "system:masters")]
    assert (await Door().caller(FRONT, [EVE, *groups])).groups[0] == "system:masters"
    nobody = await Door().caller(FRONT, [("X-Remote-User", "system:anonymous")])
    assert nobody.groups == ()
    outside = ("X-Remote-Group", "system:unauthenticated")
    assert (await Door().caller(FRONT, [EVE, outside])).groups == ("system:unauthenticated",)


@pytest.mark.parametrize(
    ("der", "found"),
    [
        (None, "system:anonymous"),
        (certificate("anna", CLUSTER), "anna"),
        (certificate("front-proxy-client", CLUSTER), "front-proxy-client"),
        (certificate("front-proxy-client", CLUSTER, "system:masters"), "front-proxy-client"),
        (certificate("front-proxy-client", FOREIGN), ""),
        (certificate("anna", PROXY), ""),
        (certificate("Front-Proxy-Client", PROXY), ""),
        (certificate("front-proxy-client", PROXY, server=True), ""),
        (b"noise", ""),
        (b"", ""),
    ],
    ids=[
        "no certificate",
        "a client",
        "a client with the proxy's name",
        "a master with the proxy's name",
        "a foreign authority",
        "another name",
        "another case",
        "for servers",
        "noise",
        "empty",
    ],
)
async def test_to_everybody_else_the_headers_mean_nothing(der: bytes | None, found: str) -> None:
    door = Door()
    for _ in range(2):  # also once the certificate is known
        if found:
            assert await door.user(der, [EVE]) == found
        else:
            with pytest.raises(Unauthorized):
                await door.user(der, [EVE])
        if der is not None:
            assert await door.user(der, [EVE], "s3cret") == (found or "ben")


async def test_without_trusted_proxies_the_headers_mean_nothing() -> None:
    with pytest.raises(Unauthorized):
        await Door(proxied=False).user(FRONT, [EVE])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Remote-User", "")],
        [("X-Remote-Group", "system:masters")],
        [("X_Remote_User", "eve")],
        [("X-Remote-User ", "eve")],
        [("X-Remote-Users", "eve")],
    ],
)
async def test_the_proxys_certificate_itself_names_nobody(headers: Headers) -> None:
    with pytest.raises(Unauthorized):
        await Door().user(FRONT, headers)
    assert await Door().user(FRONT, headers, "s3cret") == "ben"


@pytest.mark.parametrize(
    "headers",
    [
        [EVE, ("X-Remote-User", "anna")],
        [EVE, EVE],
        [EVE, ("x-remote-user", "")],
        [EVE, ("X-Remote-Uid", "1"), ("X-Remote-Uid", "2")],
        [("X-Remote-User", "\udcff")],
        [("X-Remote-User", "a\ufffd")],
        [EVE, ("X-Remote-Group", "\udcff")],
        [EVE, ("X-Remote-Uid", "\udcff")],
        [EVE, ("X-Remote-Extra-a", "\udcff")],
        [EVE, ("X-Remote-Extra-\udcff", "a")],
    ],
)
async def test_what_is_not_clear_is_refused(headers: Headers) -> None:
    with pytest.raises(HeadersInvalid):
        named_caller(CIMultiDict(headers))
    with pytest.raises(Unauthorized):
        await Door().user(FRONT, headers, "s3cret")


async def test_the_proxy_comes_before_a_token() -> None:
    assert await Door().user(FRONT, [EVE], "s3cret") == "eve"


@pytest.mark.parametrize("days", [-1, 366])
async def test_a_proxys_connection_does_not_outlive_its_certificate(days: int) -> None:
    door = Door()
    assert await door.user(FRONT, [EVE]) == "eve"
    door.clock.date += timedelta(days=days)
    with pytest.raises(Unauthorized):
        await door.user(FRONT, [EVE])


async def test_each_authority_has_its_own_names() -> None:
    own = ProxyAuthority((PROXY.certificate,), ("front-proxy-client",))
    named = ProxyAuthority((OTHER.certificate,), ("sso",))
    door = Door(own, named)
    assert await door.user(FRONT, [EVE]) == "eve"
    assert await door.user(certificate("sso", OTHER), [EVE]) == "eve"
    for der in (certificate("sso", PROXY), certificate("front-proxy-client", OTHER)):
        with pytest.raises(Unauthorized):
            await door.user(der, [EVE])
    free = Door(own, ProxyAuthority((OTHER.certificate,)))
    assert await free.user(certificate("anybody", OTHER), [EVE]) == "eve"
    with pytest.raises(Unauthorized):
        await free.user(certificate("anybody", PROXY), [EVE])


async def test_a_known_client_is_not_looked_at_as_a_proxy_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door, client = Door(), certificate("anna", CLUSTER)
    assert await door.user(client, [EVE]) == "anna"
    parsed: list[bytes] = []
    monkeypatch.setattr(FrontProxies, "caller", lambda _self, der, _headers: parsed.append(der))
    assert await door.user(client, [EVE]) == "anna"
    assert not parsed
