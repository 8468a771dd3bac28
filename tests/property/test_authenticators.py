"""Whatever a client sends, authentication finds out who calls, or refuses: it raises nothing else."""

import asyncio
import base64
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from kubelite.api.auth.audit import Auditor
from kubelite.api.auth.audit_log import Bounds, LineLog
from kubelite.api.auth.audit_policy import AuditPolicy
from kubelite.api.auth.authenticate import UnionAuthenticator
from kubelite.api.auth.bootstrap_tokens import BootstrapTokens
from kubelite.api.auth.caller import Attributes, Caller, Credentials
from kubelite.api.auth.certificates import Wanted, issue, new_authority, new_key, signing_request
from kubelite.api.auth.front_proxies import HeadersInvalid, named_caller
from kubelite.api.auth.impersonate import Impersonation, requested
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.oidc import OIDCSettings, OIDCTokens
from kubelite.api.auth.signing import RequestInvalid, read_request
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tokens import (
    Proved,
    ServiceAccountTokens,
    TokenInvalid,
    TokenIssuer,
    key_identifier,
    numeric_date,
)
from kubelite.api.auth.x509 import CertificateInvalid, ClientCertificates
from kubelite.api.errors import BadRequest, InternalError, Unauthorized
from kubelite.api.kinds.authentication import TokenRequest
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
HERE, OUTSIDE = "https://here", "https://issuer.example"
KEY, OUTSIDE_KEY, RANDOM, CLOCK = new_key(), new_key(), SeededRandomness(1), SetClock(NOW)
AUTHORITY = new_authority("ca", NOW, RANDOM)
ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="web", namespace="shop", uid="sa-1"))
LOOKUP = FixedLookup(
    [
        ACCOUNT,
        Secret(
            metadata=ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system"),
            type="bootstrap.kubernetes.io/token",
            data={"token-id": "é", "token-secret": "!", "expiration": "\ud800"},
        ),
    ]
)
SERVICE_ACCOUNTS = ServiceAccountTokens(
    issuer=HERE, audiences=[], keys=[KEY.public_key()], lookup=LOOKUP, clock=CLOCK
)
BOOTSTRAP, STATIC = BootstrapTokens(LOOKUP, CLOCK), StaticTokens("s3cret,ben,7\nübung,eva,8")
CERTIFICATES = ClientCertificates([AUTHORITY.certificate], CLOCK)
SEEN = issue(AUTHORITY, KEY.public_key(), Wanted("anna", ("team",)), NOW, RANDOM)
GOOD_CERTIFICATE = SEEN.public_bytes(Encoding.DER)
GOOD_REQUEST = signing_request(KEY, Wanted("anna", ("team",), ("a.example",), ("192.0.2.1",)))
GOOD_TOKEN = TokenIssuer(
    issuer=HERE, audiences=[], keys=[KEY], lookup=LOOKUP, clock=CLOCK, randomness=RANDOM
).request("shop", "web", TokenRequest()).status.token  # fmt: skip


def oidc(documents: bytes = b"") -> OIDCTokens:
    """Return an authenticator whose issuer answers with `documents`, or with what is right."""
    web_key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(OUTSIDE_KEY.public_key()))
    keys = json.dumps({"keys": [{**web_key, "kid": "one", "alg": "ES256"}]}).encode()
    found = json.dumps({"issuer": OUTSIDE, "jwks_uri": f"{OUTSIDE}/keys"}).encode()

    async def fetch(url: str) -> bytes:
        return documents or (keys if url.endswith("/keys") else found)

    settings = OIDCSettings(
        issuer_url=OUTSIDE,
        client_id="kubelite",
        groups_claim="groups",
        signing_algorithms=("ES256",),
    )
    return OIDCTokens(settings, fetch, CLOCK, lambda: 100.0)


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


# As the HTTP parser hands them over: what is no UTF-8 becomes lone surrogates.
header_texts = st.binary(max_size=80).map(lambda raw: raw.decode(errors="surrogateescape"))
any_texts = st.text(st.characters(), max_size=80)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**30, -(10**30), 1e308, float("inf"), HERE, OUTSIDE, "one"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)
claims = st.dictionaries(
    st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "groups", "kubernetes.io"])
    | st.text(max_size=5),
    values,
)
heads = st.dictionaries(
    st.sampled_from(["alg", "kid", "typ", "crit", "b64", "zip"]), values, max_size=4
)
made_up = st.tuples(heads, claims | values, st.binary(max_size=80)).map(
    lambda parts: ".".join(
        [part(json.dumps(parts[0]).encode()), part(json.dumps(parts[1]).encode()), part(parts[2])]
    )
)


def changed(whole: bytes) -> st.SearchStrategy[bytes]:
    """Return `whole` with some bytes replaced, and perhaps cut off."""
    places = st.dictionaries(st.integers(0, len(whole) - 1), st.integers(0, 255), max_size=4)

    def apply(change: tuple[dict[int, int], int]) -> bytes:
        content = bytearray(whole)
        for at, byte in change[0].items():
            content[at] = byte
        return bytes(content[: len(whole) - change[1]])

    return st.tuples(places, st.just(0) | st.integers(0, len(whole))).map(apply)


signed_here = claims.map(
    lambda content: jwt.encode(
        {**content, "iss": HERE}, KEY, "ES256", {"kid": key_identifier(KEY.public_key())}
    )
)
signed_outside = claims.map(
    lambda content: jwt.encode({**content, "iss": OUTSIDE}, OUTSIDE_KEY, "ES256", {"kid": "one"})
)
changed_tokens = changed(GOOD_TOKEN.encode()).map(lambda raw: raw.decode(errors="surrogateescape"))
tokens = (
    header_texts
    | any_texts
    | made_up
    | signed_here
    | signed_outside
    | changed_tokens
    | st.just("a.b.c")
    | st.from_regex(r"\A[a-z0-9]{6}\.[a-z0-9]{16}\Z")
    | st.just("abcdef.0123456789abcdef")
)


@given(tokens)
def test_each_kind_of_token_is_proved_or_not(token: str) -> None:
    assert isinstance(BOOTSTRAP.caller(token), Caller | None)
    assert isinstance(STATIC.caller(token), Caller | None)
    with suppress(TokenInvalid):
        assert isinstance(SERVICE_ACCOUNTS.prove(token), Proved | None)
    with suppress(TokenInvalid):
        assert isinstance(asyncio.run(oidc().prove(token)), Caller | None)


@given(
    st.binary(min_size=1, max_size=60) | values.map(lambda found: json.dumps(found).encode()),
    st.booleans(),
)
def test_an_issuer_may_answer_anything(document: bytes, wrapped: bool) -> None:
    token = jwt.encode({"iss": OUTSIDE, "aud": "kubelite"}, OUTSIDE_KEY, "ES256", {"kid": "one"})
    if wrapped:
        document = b'{"issuer":"%s","jwks_uri":"x","keys":%s}' % (OUTSIDE.encode(), document)
    try:
        asyncio.run(oidc(document).prove(token))
    except TokenInvalid:
        return
    raise AssertionError("nothing was proved")


@given(st.binary(max_size=200) | changed(GOOD_CERTIFICATE))
def test_certificates(shown: bytes) -> None:
    with suppress(CertificateInvalid):
        assert isinstance(CERTIFICATES.caller(shown), Caller)


@given(
    st.none() | st.binary(max_size=40) | changed(GOOD_CERTIFICATE),
    tokens,
    st.booleans(),
)
def test_the_door_opens_or_says_401(shown: bytes | None, token: str, anonymous: bool) -> None:
    door = UnionAuthenticator(
        certificates=CERTIFICATES,
        service_accounts=SERVICE_ACCOUNTS,
        audiences=[HERE],
        bootstrap=BOOTSTRAP,
        static=STATIC,
        remote=[oidc()],
        anonymous=anonymous,
    )
    try:
        caller = asyncio.run(door.authenticate(Credentials(shown, token)))
    except Unauthorized:
        return
    assert caller.user
    msgspec.json.encode(caller)  # who calls can be shown


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["X-Remote-User", "x-remote-group", "X-Remote-Uid", "Accept"])
            | header_texts.map(lambda name: f"X-Remote-Extra-{name}"),
            header_texts,
        ),
        max_size=5,
    )
)
def test_what_a_proxy_says(headers: list[tuple[str, str]]) -> None:
    try:
        caller = named_caller(CIMultiDict(headers))
    except HeadersInvalid:
        return
    assert caller is None or caller.user
    msgspec.json.encode(caller)  # who calls can be shown


@given(st.binary(max_size=200) | changed(GOOD_REQUEST))
def test_signing_requests(pem: bytes) -> None:
    with suppress(RequestInvalid):
        read_request(pem)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Impersonate-User", "impersonate-group", "Impersonate-Uid", "Accept"])
            | header_texts.map(lambda name: f"Impersonate-Extra-{name}"),
            header_texts,
        ),
        max_size=5,
    )
)
def test_impersonation(headers: list[tuple[str, str]]) -> None:
    try:
        wanted = requested(headers)
    except (BadRequest, InternalError) as error:
        msgspec.json.encode(error.status())
        return
    assert isinstance(wanted, Impersonation | None)
    msgspec.json.encode(wanted)


@given(uri=header_texts, agent=header_texts, identifier=header_texts, source=header_texts)
def test_every_request_can_be_audited(
    tmp_path_factory: Any, uri: str, agent: str, identifier: str, source: str
) -> None:
    lines = LineLog(
        tmp_path_factory.getbasetemp() / "audit.log",
        Bounds(size_bytes=1, age_days=1, backups=1),
        CLOCK,
    )
    policy = AuditPolicy.read("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [level: Metadata]")
    record = Auditor(policy, lines, CLOCK, RANDOM).begin(
        Caller("anna"),
        Attributes("get", "", "v1", "pods", name=uri),
        uri=uri,
        user_agent=agent,
        identifier=identifier,
        source=source,
    )
    assert record is not None
    msgspec.json.decode(record.common + b"}")


@given(scalars)
def test_dates_of_claims_lie_in_the_calendar(value: Any) -> None:
    date = numeric_date(value)
    if date is not None:
        assert date - timedelta(minutes=1) < date < date + timedelta(minutes=1)
