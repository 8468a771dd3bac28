"""Decides whether a pod may use an image that is on the node already, or has to prove by a pull that it may. Pure.

As the kubelet's policies of verification (imagePullCredentialsVerificationPolicy).
"""

from collections.abc import Sequence

from msgspec import Struct

from kubelite.node.images.logins import AccountSource, Login
from kubelite.node.images.names import find_name
from kubelite.node.images.records import Access, AccountAccess, PulledRecord, SecretAccess

NEVER, PRELOADED, ALLOWLISTED, ALWAYS = POLICIES = (
    "NeverVerify",
    "NeverVerifyPreloadedImages",
    "NeverVerifyAllowlistedImages",
    "AlwaysVerify",
)
NOTED_SECRETS_MAX = 100  # as upstream: matches beyond are not added to a record


class Verification(Struct, frozen=True):
    """The policy of one node."""

    policy: str = PRELOADED
    allowlist: tuple[str, ...] = ()  # repositories, or prefixes that end with /*

    def is_required(self, image: str, *, was_pulled: bool) -> bool:
        """Return whether a pod's logins count for an image; `was_pulled` by this node."""
        if self.policy == PRELOADED:
            return was_pulled
        if self.policy == ALLOWLISTED:
            return not self._is_listed(image)
        return self.policy == ALWAYS

    def _is_listed(self, image: str) -> bool:
        repository = repository_of(image)
        return any(
            repository.startswith(one[:-1]) if one.endswith("/*") else repository == one
            for one in self.allowlist
        )


def repository_of(image: str) -> str:
    """Return the name of an image as written, without tag and digest."""
    name = find_name(image)
    return image if name is None else name.repository


def pattern_problem(pattern: str) -> str:
    """Return why a text cannot be in the allowlist; "" if it can."""
    if pattern != pattern.strip():
        return "leading/trailing spaces are not allowed"
    bare = pattern[:-1] if pattern.endswith("/*") else pattern
    if "*" in bare:
        return "not a valid wildcard pattern, only patterns ending with '/*' are allowed"
    if bare == "/":
        return "at least registry hostname is required"
    name = find_name(bare.rstrip("/"))
    if name is None:
        return "must be the name of an image"
    return "neither tag nor digest is accepted" if name.tag or name.digest else ""


class Finding(Struct, frozen=True):
    """What a record says of a pod's logins."""

    is_allowed: bool
    new: Access | None = (
        None  # to add to the record: the same login from another Secret, or a newer one of it
    )


def access_known(record: PulledRecord | None, repository: str) -> bool | None:
    """Return whether all pods, or none, may use an image; None: it depends on the pod's logins."""
    access = record.credential_mapping.get(repository) if record is not None else None
    if access is None:
        return False
    if access.node_pods_accessible:
        return True
    return None if access.kubernetes_secrets or access.kubernetes_service_accounts else False


def find_access(record: PulledRecord, repository: str, logins: Sequence[Login]) -> Finding:
    """Return whether one of a pod's logins has pulled an image before."""
    access = record.credential_mapping[repository]
    known = access.kubernetes_secrets
    may_note = len(known) < NOTED_SECRETS_MAX
    for login in logins:
        secret = access_of(login).kubernetes_secrets
        for one in secret:
            by_hash = any(one.credential_hash == other.credential_hash for other in known)
            by_name = any(_coordinates(one) == _coordinates(other) for other in known)
            if by_hash:
                return Finding(True, None if by_name or not may_note else Access(secret))
            # As upstream, a Secret that has pulled the image may use it after its content has changed.
            if by_name and may_note:
                return Finding(True, Access(secret))
    # All logins of a pod that come by its service account are of one, whatever the audiences.
    accounts = {one for login in logins for one in access_of(login).kubernetes_service_accounts}
    return Finding(not accounts.isdisjoint(access.kubernetes_service_accounts))


def access_of(login: Login | None) -> Access:
    """Return the access that a pull with a login proves."""
    if login is None or login.source is None:
        return Access(node_pods_accessible=True)
    source = login.source
    if isinstance(source, AccountSource):
        account = AccountAccess(source.namespace, source.name, source.uid)
        return Access(kubernetes_service_accounts=(account,))
    return Access((SecretAccess(source.uid, source.namespace, source.name, login.hash),))


def _coordinates(secret: SecretAccess) -> tuple[str, str, str]:
    return secret.uid, secret.namespace, secret.name
