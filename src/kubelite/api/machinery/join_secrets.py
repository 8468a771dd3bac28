"""The Secrets of joining: bootstrap tokens with their kind and their use, and the bindings of node names to keys.

A bootstrap token (``bootstrap-token-<id>``) is kubeadm's; kubelite adds a kind, by group, and tokens for one machine.
A binding (``<node>.node-identity``) says which machine, by its public key, has a node's name. When the node is deleted
its name is free; the binding stays as released, so that certificates of the former machine count no longer.
"""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.api.machinery.times import format_time, parse_time

NAMESPACE = "kube-system"
TOKEN_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105 - the name of a type
TOKEN_PREFIX = "bootstrap-token-"  # noqa: S105 - the beginning of a name
TOKEN_USER = "system:bootstrap:"  # noqa: S105 - the beginning of a user's name
KIND_GROUPS = {
    "agent": "system:bootstrappers:kubelite:agent",
    "server": "system:bootstrappers:kubelite:server",
}
GROUPS, EXPIRATION, ONCE = "auth-extra-groups", "expiration", "usage-once"
USED_BY = (
    "used-by-"  # keys: the request, the node and the key of the machine that used a one-time token
)
USED_LIFETIME = timedelta(minutes=10)  # the machine has to fetch its certificate with the token

MACHINE_URI = "urn:kubelite:node:"
IDENTITY_TYPE = "kubelite.io/node-identity"
IDENTITY_SUFFIX = ".node-identity"
NEVER = datetime.min.replace(tzinfo=UTC)
KEY, BOUND, NODE_UID, RELEASED = "public-key-sha256", "bound-at", "node-uid", "released-at"


class TokenUse(Struct, frozen=True):
    """Whether a token is for one machine only, and which one has used it ("": none so far)."""

    once: bool = False
    request: str = ""  # UID of the CertificateSigningRequest
    node: str = ""
    key_hash: str = ""

    def refusal(self, request: str, node: str, key_hash: str) -> str:
        """Return why the token must not let a request in; "" if it may. The machine that used it may ask again."""
        is_same = self.request == request or (self.node, self.key_hash) == (node, key_hash)
        if not self.once or not self.request or is_same:
            return ""
        return f'the token is for one machine, and the node "{self.node}" has used it'


class Binding(Struct, frozen=True):
    """Which machine has a node's name."""

    key_hash: str  # SHA-256 of its public key
    bound_at: datetime
    node_uid: str = ""  # of the Node that it registered; "": none so far
    released_at: datetime | None = (
        None  # the name is free, and certificates for `key_hash` are void
    )


def decoded(data: Mapping[str, str]) -> dict[str, bytes]:
    """Return a Secret's data decoded from base64, without invalid values."""
    values = {}
    for name, text in data.items():
        try:
            values[name] = base64.b64decode(text, validate=True)
        except ValueError:  # a non-ASCII character raises ValueError, not binascii.Error
            continue
    return values


def encoded(data: Mapping[str, str]) -> dict[str, str]:
    """Return texts as a Secret's data."""
    return {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}


def texts(secret: Secret) -> dict[str, str]:
    """Return a Secret's data as texts; bytes that are no UTF-8 are replaced."""
    return {name: value.decode(errors="replace") for name, value in decoded(secret.data).items()}


def kind_of(groups: str) -> str:
    """Return the kind of a token with these ``auth-extra-groups``; "" if it has none of kubelite's kinds."""
    listed = groups.split(",")
    return next((kind for kind, group in KIND_GROUPS.items() if group in listed), "")


def use_of(secret: Secret) -> TokenUse:
    """Return the use of a bootstrap token."""
    data = texts(secret)
    return TokenUse(
        once=data.get(ONCE) == "true",
        request=data.get(USED_BY + "request", ""),
        node=data.get(USED_BY + "node", ""),
        key_hash=data.get(USED_BY + "key", ""),
    )


def marked_used(secret: Secret, use: TokenUse, now: datetime) -> Secret:
    """Return a one-time token as used; it expires soon, or at its own date if that is earlier."""
    expiration = now + USED_LIFETIME
    if text := texts(secret).get(EXPIRATION, ""):
        expiration = min(expiration, _date(text) or now)  # an invalid date counts as expired
    marks = {
        USED_BY + "request": use.request,
        USED_BY + "node": use.node,
        USED_BY + "key": use.key_hash,
        EXPIRATION: format_time(expiration),
    }
    return replace(secret, data={**secret.data, **encoded(marks)})


class Machine(NamedTuple):
    """The machine that a certificate belongs to: its node, and the hash of the key that the node's name is bound to."""

    node: str
    key_hash: str

    @property
    def uri(self) -> str:
        """The form in a certificate that does not name the node otherwise."""
        return f"{MACHINE_URI}{self.node}:{self.key_hash}"


def machine_of_uri(uri: str) -> Machine | None:
    """Return the machine of a URI; None if it is another URI."""
    if not uri.startswith(MACHINE_URI):
        return None
    node, _, key_hash = uri.removeprefix(MACHINE_URI).rpartition(":")
    return Machine(node, key_hash)


def identity_name(node: str) -> str:
    """Return the name of the Secret with a node's binding."""
    return node + IDENTITY_SUFFIX


def binding_of(secret: Secret) -> Binding | None:
    """Return the binding that a Secret holds; None if it holds none."""
    data = texts(secret)
    if secret.type != IDENTITY_TYPE or not data.get(KEY):
        return None
    return Binding(
        key_hash=data[KEY],
        bound_at=_date(data.get(BOUND, "")) or _date(secret.metadata.creationTimestamp) or NEVER,
        node_uid=data.get(NODE_UID, ""),
        released_at=_date(data.get(RELEASED, "")),
    )


def identity_secret(node: str, binding: Binding, present: Secret | None = None) -> Secret:
    """Return the Secret of a binding: `present` with it, or a new one."""
    data = {
        KEY: binding.key_hash,
        BOUND: format_time(binding.bound_at),
        NODE_UID: binding.node_uid,
        RELEASED: format_time(binding.released_at) if binding.released_at else "",
    }
    kept = encoded({name: text for name, text in data.items() if text})
    if present is not None:
        return replace(present, data=kept)
    meta = ObjectMeta(name=identity_name(node), namespace=NAMESPACE)
    return Secret(metadata=meta, type=IDENTITY_TYPE, data=kept)


def _date(text: str) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None
