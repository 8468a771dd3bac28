"""Acting as somebody else, by the Impersonate headers, for whoever may."""

from collections.abc import Iterable
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from kubelite.api.auth.caller import (
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    Attributes,
    Authorizer,
    Caller,
)
from kubelite.api.errors import InternalError

USER = "Impersonate-User"
GROUP = "Impersonate-Group"
UID = "Impersonate-Uid"
EXTRA = "impersonate-extra-"
AUTHENTICATION = "authentication.k8s.io"
SERVICE_ACCOUNT = "system:serviceaccount:"
SERVICE_ACCOUNTS = "system:serviceaccounts"


def impersonated(
    caller: Caller, headers: CIMultiDictProxy[str], authorizer: Authorizer, path: str
) -> Caller:
    """Return whom `caller` acts as: itself without such headers.

    Raises Forbidden for a user, group, uid or extra value that the caller may not take, and InternalError, as
    Kubernetes does, for headers that name no user.
    """
    user = headers.get(USER, "")
    groups = tuple(headers.getall(GROUP, ()))
    uid = headers.get(UID, "")
    extra = _extra(headers.items())
    if not user:
        if groups or uid or extra:
            raise InternalError(
                f'Internal Server Error: "{path}": requested groups, uid or extra without impersonating a user'
            )
        return caller
    for attributes in _demands(user, groups, uid, extra):
        authorizer.authorize(caller, attributes)
    return Caller(user=user, groups=_all_groups(user, groups), uid=uid, extra=extra)


def _extra(headers: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered.startswith(EXTRA):
            key = unquote(lowered.removeprefix(EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    return extra


def _demands(
    user: str, groups: tuple[str, ...], uid: str, extra: dict[str, tuple[str, ...]]
) -> Iterable[Attributes]:
    namespace, _, account = user.removeprefix(SERVICE_ACCOUNT).partition(":")
    if user.startswith(SERVICE_ACCOUNT) and namespace and account:
        yield _demand("serviceaccounts", account, namespace=namespace)
    else:
        yield _demand("users", user)
    for group in groups:
        yield _demand("groups", group)
    if uid:
        yield _demand("uids", uid, group=AUTHENTICATION)
    for key, values in extra.items():
        for value in values:
            yield _demand("userextras", value, group=AUTHENTICATION, subresource=key)


def _demand(
    resource: str, name: str, *, group: str = "", namespace: str = "", subresource: str = ""
) -> Attributes:
    return Attributes(
        verb="impersonate",
        group=group,
        version="v1",
        resource=resource,
        subresource=subresource,
        namespace=namespace,
        name=name,
    )


def _all_groups(user: str, groups: tuple[str, ...]) -> tuple[str, ...]:
    if not groups and user.startswith(SERVICE_ACCOUNT):
        namespace = user.removeprefix(SERVICE_ACCOUNT).partition(":")[0]
        groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")
    if user == ANONYMOUS:
        return groups if UNAUTHENTICATED in groups else (*groups, UNAUTHENTICATED)
    if AUTHENTICATED in groups or UNAUTHENTICATED in groups:
        return groups
    return (*groups, AUTHENTICATED)
