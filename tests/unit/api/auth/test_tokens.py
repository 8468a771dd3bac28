import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from msgspec.structs import replace

from kubelite.api.auth.certificates import key_pem, new_key
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.tokens import ServiceAccountTokens, TokenInvalid, TokenIssuer
from kubelite.api.errors import APIError, BadRequest, Conflict, Invalid, NotFound
from kubelite.api.kinds.authentication import (
    BoundObjectReference,
    TokenRequest,
    TokenRequestSpec,
)
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.nodes import Node
from kubelite.api.kinds.core.pods import Pod, PodSpec
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.kinds.model import Kind
from kubelite.api.machinery.times import format_time
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

ISSUER = "https://kubernetes.default.svc.cluster.local"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
KEY, OLD_KEY, FOREIGN_KEY = new_key(), new_key(), new_key()
ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="web", namespace="shop", uid="sa-1"))
POD = Pod(
    metadata=ObjectMeta(name="web-0", namespace="shop", uid="pod-1"),
    spec=PodSpec(serviceAccountName="web", nodeName="one"),
)
NODE = Node(metadata=ObjectMeta(name="one", uid="node-1"))
SECRET = Secret(
    metadata=ObjectMeta(name="web-token", namespace="shop", uid="secret-1"), data={"token": ""}
)


class Cluster:
    def __init__(self) -> None:
        self.clock = SetClock(NOW)
        self.lookup = FixedLookup([ACCOUNT, POD, NODE, SECRET])
        self.issuer = TokenIssuer(
            issuer=ISSUER,
            audiences=[],
            keys=[KEY],
            lookup=self.lookup,
            clock=self.clock,
            randomness=SeededRandomness(1),
        )
        self.tokens = ServiceAccountTokens(
            issuer=ISSUER,
            audiences=[],
            keys=[KEY.public_key(), OLD_KEY.public_key()],
            lookup=self.lookup,
            clock=self.clock,
        )

    def token(self, kind: str = "", name: str = "", **spec: Any) -> str:
        ref = BoundObjectReference(apiVersion="v1", kind=kind, name=name) if kind else None
        body = TokenRequest(spec=TokenRequestSpec(boundObjectRef=ref, **spec))
        return self.issuer.request("shop", "web", body).status.token

    def keep_legacy(self) -> str:
        token = self.issuer.issue_legacy("shop", "web", "sa-1", "web-token")
        data = {"token": base64.b64encode(token.encode()).decode()}
        self.lookup.put(replace(SECRET, data=data))
        return token

    def reason(self, token: str) -> str:
        with pytest.raises(TokenInvalid) as refused:
            self.tokens.prove(token)
        return str(refused.value)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_proves_the_account(cluster: Cluster) -> None:
    proved = cluster.tokens.prove(cluster.token("Pod", "web-0"))
    assert proved is not None
    assert proved.audiences == (ISSUER,)
    caller = proved.caller
    assert caller.user == "system:serviceaccount:shop:web"
    assert caller.groups == ("system:serviceaccounts", "system:serviceaccounts:shop")
    assert caller.uid == "sa-1"
    prefix = "authentication.kubernetes.io/"
    assert caller.extra.pop(f"{prefix}credential-id")[0].startswith("JTI=")  # type: ignore[attr-defined]  # a dict
    assert caller.extra == {
        f"{prefix}pod-name": ("web-0",),
        f"{prefix}pod-uid": ("pod-1",),
        f"{prefix}node-name": ("one",),
        f"{prefix}node-uid": ("node-1",),
    }


@pytest.mark.parametrize(
    ("bound", "kind", "reason"),
    [
        ("Pod", Pod, "service account token has been invalidated"),
        ("Secret", Secret, "service account token has been invalidated"),
        ("Node", Node, "service account token has been invalidated"),
        ("", ServiceAccount, 'serviceaccounts "web" not found'),
    ],
)
def test_ends_with_what_it_is_bound_to(
    cluster: Cluster, bound: str, kind: type[Kind], reason: str
) -> None:
    name = {"Pod": "web-0", "Secret": "web-token", "Node": "one", "": "web"}[bound]
    token = cluster.token(bound, name)
    assert cluster.tokens.prove(token)
    item: Any = cluster.lookup.get(kind, name, "" if bound == "Node" else "shop")
    cluster.lookup.remove(kind, name, item.metadata.namespace)
    assert cluster.reason(token) == reason
    cluster.lookup.put(replace(item, metadata=replace(item.metadata, uid="made-again")))
    assert "does not match claim" in cluster.reason(token)


@pytest.mark.parametrize(
    ("bound", "item"), [("Pod", POD), ("Secret", SECRET), ("Node", NODE), ("", ACCOUNT)]
)
def test_ends_a_minute_after_any_deletion_began(cluster: Cluster, bound: str, item: Any) -> None:
    token = cluster.token(bound, item.metadata.name)
    going = replace(item.metadata, deletionTimestamp=format_time(NOW))
    cluster.lookup.put(replace(item, metadata=going))
    assert cluster.tokens.prove(token)
    cluster.clock.date += timedelta(seconds=61)
    assert cluster.reason(token) == "service account token has been invalidated"


def test_of_a_pod_does_not_end_with_its_node(cluster: Cluster) -> None:
    token = cluster.token("Pod", "web-0")
    cluster.lookup.remove(Node, "one")
    assert cluster.tokens.prove(token)


@pytest.mark.parametrize("kind", [Pod, Secret])
def test_is_bound_to_objects_of_its_namespace_alone(cluster: Cluster, kind: type[Kind]) -> None:
    for item in (POD, SECRET):
        cluster.lookup.remove(type(item), item.metadata.name, "shop")
        cluster.lookup.put(replace(item, metadata=replace(item.metadata, namespace="other")))
    with pytest.raises(NotFound):
        cluster.token(kind.__name__, "web-0" if kind is Pod else "web-token")


def test_ends_a_minute_after_deletion_began(cluster: Cluster) -> None:
    token = cluster.token("Pod", "web-0")
    cluster.lookup.put(
        replace(POD, metadata=replace(POD.metadata, deletionTimestamp=format_time(NOW)))
    )
    assert cluster.tokens.prove(token)
    cluster.clock.date += timedelta(seconds=61)
    assert cluster.reason(token) == "service account token has been invalidated"


def test_expires(cluster: Cluster) -> None:
    token = cluster.token(expirationSeconds=600)
    cluster.clock.date = NOW + timedelta(seconds=660)
    assert cluster.tokens.prove(token)
    cluster.clock.date = NOW + timedelta(seconds=661)
    assert cluster.reason(token) == "service account token has expired"
    cluster.clock.date = NOW - timedelta(seconds=61)
    assert cluster.reason(token) == "service account token is not valid yet"


def test_reread_token_of_a_pod_is_honoured_for_a_year(cluster: Cluster) -> None:
    token = cluster.token("Pod", "web-0", expirationSeconds=3607)
    cluster.clock.date += timedelta(days=364)
    assert cluster.tokens.prove(token)
    unbound = cluster.token(expirationSeconds=3607)
    cluster.clock.date += timedelta(days=1)
    assert cluster.reason(unbound) == "service account token has expired"


@pytest.mark.parametrize("audiences", [None, 5, {}, [], [None, 5]])
def test_audiences_that_are_none_are_refused(cluster: Cluster, audiences: Any) -> None:
    whole = cluster.token()
    claims = jwt.decode(whole, options={"verify_signature": False})
    header = {"kid": jwt.get_unverified_header(whole)["kid"]}
    token = jwt.encode({**claims, "aud": audiences}, KEY, "ES256", header)
    assert cluster.reason(token).startswith("token audiences [")


def test_is_good_for_its_audience_only(cluster: Cluster) -> None:
    token = cluster.token(audiences=["vault"])
    assert cluster.reason(token).startswith('token audiences ["vault"] is invalid')
    proved = cluster.tokens.prove(token, ["vault", "other"])
    assert proved is not None
    assert proved.audiences == ("vault",)


def forged(claims: dict[str, Any], header: dict[str, Any], key: Any = None) -> str:
    if key is not None:
        return jwt.encode(claims, key, algorithm=header["alg"], headers=header)
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in (header, claims)
    ]
    return f"{parts[0]}.{parts[1]}."


def test_forgeries_are_refused(cluster: Cluster) -> None:
    good = cluster.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    identifier = jwt.get_unverified_header(good)["kid"]
    public = KEY.public_key()
    pem = key_pem(KEY)
    assert public is not None
    tries = [
        forged(claims, {"alg": "none", "kid": identifier}),
        forged(claims, {"alg": "None", "kid": identifier}),
        forged(claims, {"alg": "HS256", "kid": identifier}, b"\x00" * 32),
        forged(claims, {"alg": "HS512", "kid": identifier}, pem[30:100]),
        forged(claims, {"alg": "ES256", "kid": identifier}, FOREIGN_KEY),
        forged(claims, {"alg": "ES256", "kid": "other"}, FOREIGN_KEY),
        forged(claims, {"alg": "ES256"}, KEY),
        good.rpartition(".")[0] + ".",
        good.rpartition(".")[0] + "." + "A" * 86,
    ]
    for token in tries:
        assert cluster.reason(token).startswith("invalid bearer token")


def test_changed_claims_are_refused(cluster: Cluster) -> None:
    header, body, signature = cluster.token().split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["kubernetes.io"]["namespace"] = "kube-system"
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert cluster.reason(f"{header}.{changed}.{signature}").startswith("invalid bearer token")


@pytest.mark.parametrize("noise", ["", "a.b.c", "x" * 20_000, "..", "\u00e9.\u00e9.\u00e9", "a.b"])
def test_noise_is_somebody_elses(cluster: Cluster, noise: str) -> None:
    assert cluster.tokens.prove(noise) is None


def test_deeply_nested_token_is_noise(cluster: Cluster) -> None:
    nested = base64.urlsafe_b64encode(b"[" * 5_000).decode()
    assert cluster.tokens.prove(f"{nested}.{nested}.x") is None


def test_token_of_an_older_key_is_good(cluster: Cluster) -> None:
    old = TokenIssuer(
        issuer=ISSUER,
        audiences=[],
        keys=[OLD_KEY],
        lookup=cluster.lookup,
        clock=cluster.clock,
        randomness=SeededRandomness(1),
    )
    assert cluster.tokens.prove(old.request("shop", "web", TokenRequest()).status.token)


def test_permanent_token_ends_with_its_secret(cluster: Cluster) -> None:
    token = cluster.keep_legacy()
    proved = cluster.tokens.prove(token)
    assert proved is not None
    assert proved.caller.user == "system:serviceaccount:shop:web"
    cluster.lookup.remove(Secret, "web-token", "shop")
    assert cluster.reason(token) == "service account token has been invalidated"


def test_permanent_token_is_the_one_its_secret_holds_now(cluster: Cluster) -> None:
    former = cluster.keep_legacy()
    assert cluster.tokens.prove(former)
    current = cluster.keep_legacy()
    assert current != former
    assert cluster.tokens.prove(current)
    assert cluster.reason(former) == "Token does not match server's copy"
    cluster.lookup.put(replace(SECRET, data={}))
    assert cluster.reason(current) == "Token does not match server's copy"


def bound_to(api_version: str, kind: str, name: str, uid: str = "") -> TokenRequest:
    ref = BoundObjectReference(apiVersion=api_version, kind=kind, name=name, uid=uid)
    return TokenRequest(spec=TokenRequestSpec(boundObjectRef=ref))


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        (
            TokenRequest(spec=TokenRequestSpec(expirationSeconds=599)),
            Invalid,
            "may not specify a duration less than 10 minutes",
        ),
        (
            TokenRequest(spec=TokenRequestSpec(expirationSeconds=2**32 + 1)),
            Invalid,
            "larger than 2^32 seconds",
        ),
        (
            TokenRequest(metadata=ObjectMeta(name="other")),
            Invalid,
            "must match the service account name if specified",
        ),
        (
            TokenRequest(metadata=ObjectMeta(uid="other")),
            Conflict,
            "does not match the UID of the service account",
        ),
        (bound_to("v1", "Pod", "gone"), NotFound, 'pods "gone" not found'),
        (
            bound_to("v1", "Pod", "web-0", "x"),
            Conflict,
            "the UID in the bound object reference (x)",
        ),
        (
            bound_to("apps/v1", "Deployment", "web"),
            BadRequest,
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
    ],
)
def test_requests_that_cannot_be_answered(
    cluster: Cluster, body: TokenRequest, error: type[APIError], message: str
) -> None:
    with pytest.raises(error) as refused:
        cluster.issuer.request("shop", "web", body)
    assert message in refused.value.message


def test_pod_of_another_account_cannot_be_bound(cluster: Cluster) -> None:
    cluster.lookup.put(
        ServiceAccount(metadata=ObjectMeta(name="other", namespace="shop", uid="sa-2"))
    )
    ref = BoundObjectReference(apiVersion="v1", kind="Pod", name="web-0")
    with pytest.raises(BadRequest, match="different serviceaccount name"):
        cluster.issuer.request(
            "shop", "other", TokenRequest(spec=TokenRequestSpec(boundObjectRef=ref))
        )


def test_answer_says_what_was_given(cluster: Cluster) -> None:
    answer = cluster.issuer.request("shop", "web", TokenRequest())
    assert answer.metadata.name == "web"
    assert answer.metadata.namespace == "shop"
    assert answer.spec.audiences == [ISSUER]
    assert answer.status.expirationTimestamp == "2026-09-01T01:00:00Z"


def test_published_keys_check_tokens(cluster: Cluster) -> None:
    token = cluster.token()
    keys = jwt.PyJWKSet.from_dict(cluster.issuer.key_set())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token,
        key,
        audience=ISSUER,
        issuer=ISSUER,
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims["sub"] == "system:serviceaccount:shop:web"
    document = cluster.issuer.discovery("https://127.0.0.1:6443/openid/v1/jwks")
    assert document["issuer"] == ISSUER
    assert document["id_token_signing_alg_values_supported"] == ["ES256"]
