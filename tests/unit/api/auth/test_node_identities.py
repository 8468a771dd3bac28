from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from kubelite.api.auth.authenticate import UnionAuthenticator
from kubelite.api.auth.caller import Credentials
from kubelite.api.auth.certificates import (
    Wanted,
    issue,
    new_authority,
    new_key,
    public_key_hash,
)
from kubelite.api.auth.lookup import FixedLookup
from kubelite.api.auth.node_identities import NodeIdentities
from kubelite.api.auth.static_tokens import StaticTokens
from kubelite.api.auth.tokens import ServiceAccountTokens
from kubelite.api.auth.x509 import ClientCertificates
from kubelite.api.errors import Unauthorized
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.join_secrets import Binding, identity_secret
from kubelite.clock import SetClock
from kubelite.randomness import SeededRandomness

NOW = datetime(2026, 9, 1, tzinfo=UTC)
RANDOM = SeededRandomness(1)
AUTHORITY = new_authority("ca", NOW, RANDOM)


def certificate(user: str, *groups: str) -> tuple[bytes, str]:
    """Return the DER of a certificate, and the hash of its key."""
    made = issue(AUTHORITY, new_key().public_key(), Wanted(user, groups), NOW, RANDOM)
    return made.public_bytes(Encoding.DER), public_key_hash(made)


NODE, KEY = certificate("system:node:one", "system:nodes")


class Door:
    def __init__(self, *secrets: Secret, own: str = "") -> None:
        clock, lookup = SetClock(NOW), FixedLookup(secrets)
        self.lookup = lookup
        self.authenticator = UnionAuthenticator(
            certificates=ClientCertificates([AUTHORITY.certificate], clock),
            service_accounts=ServiceAccountTokens(
                issuer="i", audiences=[], keys=[], lookup=lookup, clock=clock
            ),
            audiences=["i"],
            static=StaticTokens("s3cret,ben,7"),
            identities=NodeIdentities(lookup, own),
        )

    async def user(self, der: bytes, token: str = "") -> str:
        credentials = Credentials(certificate=der, bearer_token=token)
        return (await self.authenticator.authenticate(credentials)).user


async def test_a_machine_has_its_name_as_long_as_it_is_bound_to_it() -> None:
    door = Door(identity_secret("one", Binding(KEY, NOW)))
    assert await door.user(NODE) == "system:node:one"
    door.lookup.put(identity_secret("one", Binding(KEY, NOW, "u", NOW)))
    with pytest.raises(Unauthorized, match=r'^Unauthorized: the node "one" was deleted; .* token$'):
        await door.user(NODE)
    door.lookup.put(identity_secret("one", Binding("0" * 64, NOW)))
    with pytest.raises(Unauthorized, match='the node "one" is another machine now'):
        await door.user(NODE)
    door.lookup.remove(Secret, "one.node-identity", "kube-system")
    assert await door.user(NODE) == "system:node:one"


async def test_a_machine_that_is_out_may_still_prove_itself_by_a_token() -> None:
    door = Door(identity_secret("one", Binding("0" * 64, NOW)))
    assert await door.user(NODE, "s3cret") == "ben"


async def test_a_secret_that_is_no_binding_says_nothing() -> None:
    meta = ObjectMeta(name="one.node-identity", namespace="kube-system")
    assert await Door(Secret(metadata=meta, type="Opaque")).user(NODE) == "system:node:one"


async def test_only_nodes_are_asked_about() -> None:
    """A user of a node's name who is not in the group has no rights of a node."""
    binding = identity_secret("one", Binding("0" * 64, NOW))
    der, _ = certificate("system:node:one", "others")
    assert await Door(binding).user(der) == "system:node:one"
    der, _ = certificate("one", "system:nodes")
    assert await Door(binding).user(der) == "one"


async def test_nobody_else_is_the_servers_own_node() -> None:
    with pytest.raises(Unauthorized, match='the node "one" is the server\'s own'):
        await Door(own="one").user(NODE)
    other, _ = certificate("system:node:two", "system:nodes")
    assert await Door(own="one").user(other) == "system:node:two"
