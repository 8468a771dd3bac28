"""Creates the default service account of every namespace."""

from collections.abc import Sequence
from typing import Any

from kubelite.api.errors import AlreadyExists, Forbidden
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.core.service_accounts import ServiceAccount
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.batches import NAMESPACE_TERMINATING
from kubelite.control.runtime import Context, Key, Watch

NAME = "default"


class ServiceAccountController:
    """Reconciles namespaces."""

    name = "service-account-controller"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._namespaces = context.mirror(Namespace)
        self._accounts = context.metadata(ServiceAccount)

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch namespaces, and deleted default accounts."""
        return (
            Watch(Namespace),
            Watch(
                ServiceAccount,
                lambda account: (Key("", account.metadata.namespace),),
                where=lambda before, after: after is None and before is not None,
                only_metadata=True,
            ),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Create the account unless it exists."""
        namespace = self._namespaces.get(key.name)
        if namespace is None or namespace.metadata.deletionTimestamp is not None:
            return None
        if self._accounts.get(NAME, key.name) is None:
            try:
                await self._client.create(
                    ServiceAccount(metadata=ObjectMeta(name=NAME, namespace=key.name))
                )
            except AlreadyExists:
                return None
            except Forbidden as error:
                if NAMESPACE_TERMINATING not in error.message:
                    raise
        return None
