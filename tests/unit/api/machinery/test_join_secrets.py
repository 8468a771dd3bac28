from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import (
    NEVER,
    Binding,
    TokenUse,
    binding_of,
    encoded,
    identity_secret,
    kind_of,
    marked_used,
    texts,
    use_of,
)

NOW = datetime(2026, 9, 1, tzinfo=UTC)
USED = TokenUse(once=True, request="r1", node="one", key_hash="k1")


@pytest.mark.parametrize(
    ("use", "request_uid", "node", "key_hash", "is_refused"),
    [
        (TokenUse(), "r1", "one", "k1", False),
        (TokenUse(once=True), "r1", "one", "k1", False),
        (USED, "r1", "one", "k1", False),
        (USED, "r2", "one", "k1", False),  # the same machine asks again
        (USED, "r2", "one", "k2", True),
        (USED, "r2", "two", "k1", True),
        (TokenUse(once=False, request="r1", node="one", key_hash="k1"), "r2", "two", "k2", False),
    ],
)
def test_a_one_time_token_is_for_one_machine(
    use: TokenUse, request_uid: str, node: str, key_hash: str, is_refused: bool
) -> None:
    assert bool(use.refusal(request_uid, node, key_hash)) is is_refused


@pytest.mark.parametrize(
    ("expiration", "after"),
    [
        ("", NOW + timedelta(minutes=10)),
        ("2026-09-02T00:00:00Z", NOW + timedelta(minutes=10)),
        ("2026-09-01T00:03:00Z", NOW + timedelta(minutes=3)),
        ("soon", NOW),
    ],
)
def test_a_used_token_expires_soon_and_never_later_than_before(
    expiration: str, after: datetime
) -> None:
    data = encoded({"usage-once": "true", "expiration": expiration, "other": "stays"})
    secret = marked_used(Secret(data=data), USED, NOW)
    assert use_of(secret) == USED
    assert texts(secret)["expiration"] == after.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert texts(secret)["other"] == "stays"


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ("system:bootstrappers:kubelite:agent", "agent"),
        ("a,system:bootstrappers:kubelite:server", "server"),
        ("system:bootstrappers:kubelite:agents", ""),
        ("", ""),
    ],
)
def test_kinds(groups: str, kind: str) -> None:
    assert kind_of(groups) == kind


DATES = st.integers(0, 2**37).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(st.text("0123456789abcdef", min_size=1), DATES, st.text("ab-"), st.none() | DATES)
def test_a_binding_reads_as_it_was_written(
    key_hash: str, bound: datetime, uid: str, released: datetime | None
) -> None:
    binding = Binding(key_hash, bound, uid, released)
    secret = identity_secret("one", binding)
    assert binding_of(secret) == binding
    assert (secret.metadata.name, secret.type) == ("one.node-identity", "kubelite.io/node-identity")
    again = Binding("k", bound)
    assert binding_of(identity_secret("one", again, secret)) == again


@given(st.dictionaries(st.sampled_from(["public-key-sha256", "bound-at"]), st.text()))
def test_what_others_wrote_is_a_binding_or_none(data: dict[str, str]) -> None:
    meta = ObjectMeta(name="one.node-identity", namespace="kube-system")
    binding = binding_of(Secret(metadata=meta, type="kubelite.io/node-identity", data=data))
    assert binding is None or binding.bound_at >= NEVER
