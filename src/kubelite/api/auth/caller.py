"""Who calls, what they ask for, and the evidence that they may.

`authenticate` returns a `Caller`, `authorize` an `Allowed`; the verbs demand an `Allowed`, so that a skipped check does
not type-check. Nothing but an authorizer makes an `Allowed`.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

SYSTEM_MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


class Caller(Struct, frozen=True):
    """A proved identity."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Attributes(Struct, frozen=True):
    """What a request asks for; `resource` is empty for a path that is no resource."""

    verb: str  # get, list, watch, create, update, patch, delete, deletecollection, …; or the HTTP verb in lower case
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""  # of a list or watch, as sent: nodes may list their own pods only
    label_selector: str = ""


class Allowed(Struct, frozen=True):
    """Evidence that `caller` may do what `attributes` say."""

    caller: Caller
    attributes: Attributes
    reason: str = ""


class MayCreate(Struct, frozen=True):
    """Evidence that a caller may create: what makes a new object demands it, whatever the verb of the request.

    An update or an apply may find nothing to change and create instead; the right to update or patch is not enough
    for that.
    """

    allowed: Allowed

    def __post_init__(self) -> None:
        verb = self.allowed.attributes.verb
        assert verb == "create", f"the right to {verb} is not the right to create"


class Credentials(Struct, frozen=True):
    """What a request brings to prove who calls."""

    certificate: bytes | None = None  # DER; TLS proved its key only, not who signed it
    bearer_token: str = ""
    remote_address: str = ""


class Authenticator(Protocol):
    """Finds out who calls."""

    async def authenticate(self, credentials: Credentials) -> Caller:
        """Return the caller; raises Unauthorized for credentials that prove nothing."""
        ...


class Authorizer(Protocol):
    """Decides from memory, without waiting."""

    def authorize(self, caller: Caller, attributes: Attributes) -> Allowed:
        """Return the evidence; raises Forbidden, worded as Kubernetes words it."""
        ...
