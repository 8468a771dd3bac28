"""Fills secrets of type kubernetes.io/service-account-token, and deletes them with their account."""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import NotFound
from kubelite.api.kinds.core.config import Secret
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.object_metadata import ObjectMetadata
from kubelite.control.runtime import Context, Key, Watch

TOKENS = "type=kubernetes.io/service-account-token"  # other Secrets are not held in memory
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"


def filled(secret: Secret, account: ServiceAccount | ObjectMetadata, token: str, ca: str) -> Secret:
    """Return the secret with token, authority, namespace and the account's uid added where absent."""
    wanted = {"ca.crt": ca, "namespace": secret.metadata.namespace}
    data = dict(secret.data)
    for key, text in wanted.items():
        data[key] = b64encode(text.encode()).decode()
    if not _text(data.get("token", "")):
        data["token"] = b64encode(token.encode()).decode()
    annotations = {**secret.metadata.annotations, ACCOUNT_UID: account.metadata.uid}
    return replace(secret, data=data, metadata=replace(secret.metadata, annotations=annotations))


def _text(encoded: str) -> str:
    try:
        return b64decode(encoded, validate=True).decode()
    except (Error, ValueError):
        return ""


class TokenSecretsController:
    """Reconciles token secrets."""

    name = "service-account-tokens"
    identity = ""  # that of the controller manager itself, as in Kubernetes
    workers = 2

    def __init__(self, context: Context) -> None:
        self._context = context
        self._secrets = context.mirror(Secret, field_selector=TOKENS)
        self._secrets.add_index("account", account_of)
        self._accounts = context.metadata(ServiceAccount)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch token secrets, and created and deleted accounts."""
        return (
            Watch(Secret, where=lambda _, after: after is not None, field_selector=TOKENS),
            Watch(
                ServiceAccount,
                self._secrets_of,
                where=lambda before, after: not (before and after),
                only_metadata=True,
            ),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Fill the secret, or delete it if its account is gone."""
        secret = self._secrets.get(key.name, key.namespace)
        issuer = self._context.options.token_issuer
        if secret is None or issuer is None:
            return None
        name = secret.metadata.annotations.get(ACCOUNT_NAME, "")
        uid = secret.metadata.annotations.get(ACCOUNT_UID, "")
        account = self._accounts.get(name, key.namespace)
        if account is None or uid not in {"", account.metadata.uid}:
            await self._delete(secret)
            return None
        token = ""
        if not secret.data.get("token"):
            token = issuer.issue_legacy(key.namespace, name, account.metadata.uid, key.name)
        wanted = filled(secret, account, token, self._context.options.cluster_ca)
        if wanted != secret:
            await self._context.client.update(wanted)
        return None

    async def _delete(self, secret: Secret) -> None:
        meta = secret.metadata
        try:
            await self._context.client.delete(Secret, meta.name, meta.namespace, uid=meta.uid)
        except NotFound:
            return

    def _secrets_of(self, account: ServiceAccount) -> Iterable[Key]:
        found = self._secrets.indexed(
            "account", f"{account.metadata.namespace}/{account.metadata.name}"
        )
        return (Key(one.metadata.namespace, one.metadata.name) for one in found)


def account_of(secret: Secret) -> tuple[str, ...]:
    """Index token secrets by their service account."""
    return (f"{secret.metadata.namespace}/{secret.metadata.annotations.get(ACCOUNT_NAME, '')}",)
