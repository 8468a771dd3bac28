import base64
from datetime import UTC, datetime

import pytest

from kubelite.api.auth.bootstrap_tokens import TOKEN, BootstrapTokens, new_token
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
GOOD = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
}


def user_of(
    data: dict[str, str],
    token: str = "abcdef.0123456789abcdef",
    kind: str = "bootstrap.kubernetes.io/token",
) -> tuple[str, tuple[str, ...]] | None:
    encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
    secret = Secret(
        metadata=ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system"),
        type=kind,
        data=encoded,
    )
    caller = BootstrapTokens(FixedLookup([secret]), SetClock(NOW)).caller(token)
    return (caller.user, caller.groups) if caller else None


def test_valid() -> None:
    assert user_of(GOOD) == ("system:bootstrap:abcdef", ("system:bootstrappers",))
    extra = {"auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token"}
    assert user_of(GOOD | extra) == (
        "system:bootstrap:abcdef",
        ("system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"),
    )
    assert user_of(GOOD | {"expiration": "2026-09-01T00:00:01Z"}) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"token-secret": "0123456789abcdeX"},
        {"token-secret": ""},
        {"token-id": "other1"},
        {"usage-bootstrap-authentication": "false"},
        {"expiration": "2026-09-01T00:00:00Z"},
        {"expiration": "soon"},
        {"expiration": "2027-01-01T00:00:00"},
        {"auth-extra-groups": "system:masters"},
        {"auth-extra-groups": "system:bootstrappers:ok,system:masters"},
    ],
    ids=str,
)
def test_refused(change: dict[str, str]) -> None:
    assert user_of(GOOD | change) is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        "abcdef",
        "abcdef.",
        "ABCDEF.0123456789abcdef",
        "abcdef.0123456789abcdef0",
        "abcdef.0123456789abcdef\n",
    ],
)
def test_other_forms(token: str) -> None:
    assert user_of(GOOD, token) is None


def test_other_secret_type() -> None:
    assert user_of(GOOD, kind="Opaque") is None


def test_new_tokens_have_the_form() -> None:
    random = SeededRandomness(1)
    assert TOKEN.fullmatch(".".join(new_token(random)))
    assert new_token(random) != new_token(random)
