"""Publishes the cluster CA in a ConfigMap of every namespace, for pods that call the API."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from kubelite.api.errors import AlreadyExists, Forbidden
from kubelite.api.kinds.core.config import ConfigMap
from kubelite.api.kinds.core.namespaces import Namespace
from kubelite.api.kinds.meta import ObjectMeta
from kubelite.control.batches import NAMESPACE_TERMINATING
from kubelite.control.runtime import Context, Key, Watch

NAME = "kube-root-ca.crt"
OURS = f"metadata.name={NAME}"  # all other ConfigMaps are not held in memory
DESCRIPTION = "kubernetes.io/description"
ABOUT = "The certificate authority that signs the API server's certificate inside this cluster."


class RootCAPublisher:
    """Reconciles namespaces."""

    name = "root-ca-cert-publisher"
    workers = 2

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._namespaces = context.mirror(Namespace)
        self._maps = context.mirror(ConfigMap, field_selector=OURS)
        self._data = {"ca.crt": context.options.cluster_ca}

    def watches(self) -> Sequence[Watch[Any]]:
        """Watch namespaces, and this controller's ConfigMaps in them."""
        return (
            Watch(Namespace),
            Watch(ConfigMap, _namespace_of, field_selector=OURS),
        )

    async def reconcile(self, key: Key) -> float | None:
        """Create the ConfigMap or correct its data."""
        namespace = self._namespaces.get(key.name)
        if namespace is None or namespace.metadata.deletionTimestamp is not None:
            return None
        current = self._maps.get(NAME, key.name)
        try:
            if current is None:
                meta = ObjectMeta(name=NAME, namespace=key.name, annotations={DESCRIPTION: ABOUT})
                await self._client.create(ConfigMap(metadata=meta, data=self._data))
            elif current.data != self._data:
                await self._client.update(replace(current, data=self._data))
        except AlreadyExists:
            return None
        except Forbidden as error:
            if NAMESPACE_TERMINATING not in error.message:
                raise
        return None


def _namespace_of(one: ConfigMap) -> tuple[Key, ...]:
    return (Key("", one.metadata.namespace),)
