"""User impersonation: parses the Impersonate-* headers and authorizes them."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote

from msgspec import Struct, field

from kubelite.api.auth.caller import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Attributes,
    Authorizer,
    Caller,
)
from kubelite.api.auth.tokens import USER_PREFIX
from kubelite.api.errors import BadRequest, InternalError

PREFIX = "impersonate-"
USER_HEADER, GROUP_HEADER, UID_HEADER = f"{PREFIX}user", f"{PREFIX}group", f"{PREFIX}uid"
EXTRA_PREFIX = f"{PREFIX}extra-"
AUTHENTICATION = "authentication.k8s.io"


class Impersonation(Struct, frozen=True):
    """The identity that a request asks to act as."""

    user: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def requested(headers: Iterable[tuple[str, str]]) -> Impersonation | None:
    """Parse the headers; None if the request does not impersonate.

    Raises InternalError, as Kubernetes, if the user is missing, and BadRequest for a header that is not UTF-8.
    """
    user, uid, groups = "", "", []
    extra: dict[str, list[str]] = {}
    asks = False
    for name, value in headers:
        lower = name.lower()
        if not lower.startswith(PREFIX):
            continue
        _require_text(name, value)
        if lower == USER_HEADER:
            user = user or value
        elif lower == UID_HEADER:
            uid = uid or value
        elif lower == GROUP_HEADER:
            groups.append(value)
        elif lower.startswith(EXTRA_PREFIX):
            extra.setdefault(unquote(lower.removeprefix(EXTRA_PREFIX)), []).append(value)
        else:
            continue
        asks = True
    if not asks or not (user or uid or groups or extra):
        return None
    wanted = Impersonation(
        user, tuple(groups), uid, {key: tuple(values) for key, values in extra.items()}
    )
    if not user:
        raise InternalError(f"requested {wanted} without impersonating a user")
    return wanted


def _require_text(name: str, value: str) -> None:
    """Raise BadRequest for a header that is not UTF-8, since such a name cannot be logged or compared."""
    try:
        f"{name}{value}".encode()
    except UnicodeEncodeError as error:
        shown = name.encode("ascii", "replace").decode()
        raise BadRequest(f"the header {shown} is not valid UTF-8") from error


def impersonated(authorizer: Authorizer, caller: Caller, wanted: Impersonation) -> Caller:
    """Return the identity to act as; raises Forbidden for the first part the caller may not impersonate."""
    for attributes in needed(wanted):
        authorizer.authorize(caller, attributes)
    return caller_as(wanted)


def needed(wanted: Impersonation) -> Iterator[Attributes]:
    """Yield the attributes to authorize for an impersonation."""
    account = _service_account(wanted.user)
    if account:
        yield Attributes("impersonate", "", "v1", "serviceaccounts", "", *account)
    else:
        yield Attributes("impersonate", "", "", "users", name=wanted.user)
    for group in wanted.groups:
        yield Attributes("impersonate", "", "", "groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Attributes("impersonate", AUTHENTICATION, "v1", "userextras", key, "", value)
    if wanted.uid:
        yield Attributes("impersonate", AUTHENTICATION, "v1", "uids", name=wanted.uid)


def caller_as(wanted: Impersonation) -> Caller:
    """Return the identity, with the groups that such a caller always has."""
    groups = list(wanted.groups)
    account = _service_account(wanted.user)
    if account and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{account[0]}"]
    if wanted.user == ANONYMOUS:
        groups += [] if UNAUTHENTICATED in groups else [UNAUTHENTICATED]
    elif not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
        groups.append(AUTHENTICATED)
    return Caller(wanted.user, tuple(groups), wanted.uid, wanted.extra)


def _service_account(user: str) -> tuple[str, str] | None:
    if not user.startswith(USER_PREFIX):
        return None
    namespace, _, name = user.removeprefix(USER_PREFIX).partition(":")
    return (namespace, name) if namespace and name and ":" not in name else None
