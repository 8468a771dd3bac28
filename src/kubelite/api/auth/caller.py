"""The caller, the attributes of a request, and the evidence of authorization.

`authenticate` returns a `Caller`, `authorize` an `Allowed`. The verbs require an `Allowed`, so a skipped check does not
type-check. Only an authorizer makes an `Allowed`.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field
from msgspec.structs import astuple

from kubelite.limits import DECISION_KEY

SYSTEM_MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


class Caller(Struct, frozen=True):
    """An authenticated identity."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Attributes(Struct, frozen=True):
    """The attributes of a request; `resource` is "" for a non-resource path."""

    verb: str  # get, list, watch, create, update, patch, delete, deletecollection, …; or the HTTP verb in lower case
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = (
        ""  # of a list or watch, as sent, since nodes may list only their own pods
    )
    label_selector: str = ""


def is_usual(caller: Caller, attributes: Attributes) -> bool:
    """Return whether a request is small enough for the key of a cache; a path or an access review may be any text."""
    asked_about = sum(map(len, astuple(attributes)))
    length = len(caller.user) + sum(map(len, caller.groups)) + asked_about
    if length <= DECISION_KEY.value:
        return True
    DECISION_KEY.reached()
    return False


class Allowed(Struct, frozen=True):
    """Evidence that `caller` may do what `attributes` describe.

    `annotations` are those of the request's audit event, to which admission adds; None: the request is not audited.
    """

    caller: Caller
    attributes: Attributes
    reason: str = ""
    annotations: dict[str, str] | None = None


class MayCreate(Struct, frozen=True):
    """Evidence that a caller may create; every creation requires it, whatever the verb of the request.

    An update or an apply of an absent object creates it, which the right to update or patch does not allow.
    """

    allowed: Allowed

    def __post_init__(self) -> None:
        verb = self.allowed.attributes.verb
        assert verb == "create", f"the right to {verb} is not the right to create"


class Credentials(Struct, frozen=True):
    """The credentials of a request."""

    certificate: bytes | None = None  # DER; TLS proved possession of its key, not its issuer
    bearer_token: str = ""
    remote_address: str = ""
    # Of a request that has X-Remote-User beside a certificate: what a trusted proxy says of the caller, else nothing.
    headers: Mapping[str, str] = field(default_factory=dict)


class Authenticator(Protocol):
    """Authenticates requests."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the caller; raises Unauthorized for invalid credentials."""
        ...


class Authorizer(Protocol):
    """Authorizes requests from memory, without waiting."""

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        """Return the evidence; raises Forbidden, worded as Kubernetes words it."""
        ...
